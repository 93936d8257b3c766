"""Ways to damage a file, blindly or where it hurts most: all take bytes and a source of random numbers."""

from __future__ import annotations

import gzip
import random
import re
import struct
import zlib
from collections.abc import Callable

Mutator = Callable[[bytes, random.Random], bytes]

_NUMBERS = ("0", "-1", "1", "2", "7", "255", "65536", "2147483647", "2147483648", "4294967296", "99999999999999999999")
_REALS = ("nan", "inf", "-inf", "1e-300", "1e308", "1e9", "-0.0", "0.001", "1e-7", "0x10", "1,5", "1_0", "٣", "")
_WORDS = (
    *(
        "none",
        "(",
        ")",
        "(0,0,0)",
        '"',
        "LIST",
        "LOCAL",
        "%d",
        "%05d 1 9 1",
        "../x",
        "/etc/hostname",
        "C:\\x",
        "~",
        ".",
    ),
    *(
        "gzip",
        "bzip2",
        "raw",
        "ascii",
        "hex",
        "zlib",
        "big",
        "little",
        "True",
        "False",
        "Maybe",
        "um",
        "m",
        "RAS",
        "LAS",
    ),
    *(
        "MET_LONG",
        "MET_UCHAR",
        "MET_DOUBLE_ARRAY",
        "uchar",
        "double",
        "block",
        "3D-right-handed",
        "\0",
        "\n",
        "\n\n",
        "é",
    ),
)
_TOKENS = (*(word.encode() for word in (*_NUMBERS, *_REALS, *_WORDS)), b"\xff\xfe", b"\xc3", b"x" * 5000)
_INTEGERS = (0, 1, 2, 3, 4, 5, 7, 8, 16, 64, 127, 128, 255, 256, 32767, 32768, 65535, -1, -2, 2**31 - 1, -(2**31))
_FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-30, 1e-7, 1e-3, 0.5, 3.0, 1e4, 1e7, 1e30, -1e30, float("nan"), float("inf"))

# Where the fields of a NIfTI-1 header that matter lie, and their types.
_NIFTI_1 = (
    *(
        (0, "i"),
        (70, "h"),
        (72, "h"),
        (108, "f"),
        (112, "f"),
        (116, "f"),
        (123, "B"),
        (252, "h"),
        (254, "h"),
        (344, "I"),
    ),
    *((40 + 2 * axis, "h") for axis in range(8)),
    *((76 + 4 * axis, "f") for axis in range(8)),
    *((256 + 4 * at, "f") for at in range(18)),
)
_NIFTI_2 = (
    *((0, "i"), (4, "I"), (12, "h"), (14, "h"), (168, "q"), (176, "d"), (184, "d"), (344, "i"), (348, "i"), (500, "i")),
    *((16 + 8 * axis, "q") for axis in range(8)),
    *((104 + 8 * axis, "d") for axis in range(8)),
    *((352 + 8 * at, "d") for at in range(18)),
)
_VALUE_TYPES = b"AE AS AT CS DA DS DT FD FL IS LO LT OB OW PN SH SL SQ SS ST TM UI UL UN US UT".split()
_ELEMENT = re.compile(b"[\x02-\x70]\x00..(?:" + b"|".join(_VALUE_TYPES) + b")", re.DOTALL)
_LONG_TYPES = (b"OB", b"OW", b"SQ", b"UN", b"UT")


def blindly(content: bytes, rng: random.Random) -> bytes:
    """Return the content with one kind of damage, near its start in half of all cases: headers stand there."""
    span = min(len(content), 600) if rng.random() < 0.5 else len(content)
    return rng.choice(_BLIND)(content, span, rng)


def nifti(content: bytes, rng: random.Random) -> bytes:
    """Return a NIfTI file with extreme numbers in one to three fields of its header."""
    changed = bytearray(content)
    little = b"\x5c\x01" in content[:2] or b"\x1c\x02" in content[:2]
    fields = _NIFTI_2 if 540 in (struct.unpack("<i", content[:4])[0], struct.unpack(">i", content[:4])[0]) else _NIFTI_1
    for _ in range(rng.randint(1, 3)):
        at, kind = rng.choice(fields)
        size = struct.calcsize(kind)
        if kind in "fd":
            value = struct.pack(f"{'<' if little else '>'}{kind}", _as_float(kind, rng.choice(_FLOATS)))
        else:
            value = (rng.choice(_INTEGERS) % 256**size).to_bytes(size, "little" if little else "big")
        changed[at : at + size] = value
    return bytes(changed)


def text_header(content: bytes, rng: random.Random) -> bytes:
    """Return a NRRD or MetaImage file with one or two lines of its header changed."""
    for _ in range(rng.randint(1, 2)):
        content = _line(content, rng)
    return content


def dicom(content: bytes, rng: random.Random) -> bytes:
    """Return a DICOM file (explicit, little-endian) with one or two elements changed."""
    for _ in range(rng.randint(1, 2)):
        found = [match.start() for match in _ELEMENT.finditer(content, 132, 6000)]
        content = _element(content, rng.choice(found), rng) if found else content
    return content


def inside_gzip(mutate: Mutator) -> Mutator:
    """Return a mutator of what a gzip file holds; the checksum is right again."""

    def within(content: bytes, rng: random.Random) -> bytes:
        return gzip.compress(mutate(gzip.decompress(content), rng), 1, mtime=0)

    return within


def behind_header(mutate: Mutator, end: bytes, unpack: bool) -> Mutator:
    """Return a mutator of the data that follow a text header, which ends with ``end``; zlib's if to be unpacked."""

    def within(content: bytes, rng: random.Random) -> bytes:
        at = content.index(end) + len(end)
        data = zlib.decompress(content[at:], wbits=47) if unpack else content[at:]
        changed = mutate(data, rng)
        return content[:at] + (zlib.compress(changed) if unpack else changed)

    return within


def _as_float(kind: str, value: float) -> float:
    return value if kind == "d" or abs(value) < 3e38 or value != value else float("inf")


def _line(content: bytes, rng: random.Random) -> bytes:
    end = content.find(b"\n\n")
    head = content[: end if 0 < end < 4000 else 700]
    rest, lines = content[len(head) :], head.split(b"\n")
    at = rng.randrange(len(lines))
    kind = rng.randrange(6)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(rng.randrange(len(lines)), lines[at])
    elif kind == 2:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        name = re.match(rb"[^:=]*[:=]+", lines[at])
        lines[at] = (name[0] if name else b"") + b" " + rng.choice(_TOKENS)
    else:  # one number or word of the value
        words = list(re.finditer(rb"[-+.\w]+", lines[at]))
        if words:
            start, stop = rng.choice(words[1:] or words).span()
            lines[at] = lines[at][:start] + rng.choice(_TOKENS) + lines[at][stop:]
    return b"\n".join(lines) + rest


def _element(content: bytes, at: int, rng: random.Random) -> bytes:
    long = content[at + 4 : at + 6] in _LONG_TYPES
    start = at + (12 if long else 8)
    width, length_at = (4, at + 8) if long else (2, at + 6)
    length = int.from_bytes(content[length_at : length_at + width], "little")
    stop = start + length if length <= len(content) - start else start
    kind = rng.randrange(6)
    if kind == 0:
        return content[:at] + content[stop:]
    if kind == 1:
        return content[:stop] + content[at:stop] + content[stop:]
    if kind == 2:
        wrong = (rng.choice(_INTEGERS) % 256**width).to_bytes(width, "little")
        return content[:length_at] + wrong + content[length_at + width :]
    if kind == 3:
        return content[: at + 4] + rng.choice(_VALUE_TYPES) + content[at + 6 :]
    if kind == 4 and length:
        value = bytearray(content[start:stop] or b"\0")
        value[rng.randrange(len(value))] = rng.choice(b"0123456789.-+eE\\ \0\xff")
    else:
        number = (rng.choice(_INTEGERS) % 2**64).to_bytes(8, "little")[: max(2, length % 9)]
        value = rng.choice([rng.choice(_TOKENS), number, content[start:stop].split(b"\\")[0], b""])
    value = bytes(value) + b" " * (len(value) % 2)
    if len(value) >= 256**width:
        return content
    return content[:length_at] + len(value).to_bytes(width, "little") + value + content[stop:]


def _flip(content: bytes, span: int, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(span)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(content: bytes, span: int, rng: random.Random) -> bytes:
    at, length = rng.randrange(span), rng.choice((1, 1, 2, 4, 8, 64))
    block = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return content[:at] + block + content[at + length :]


def _truncate(content: bytes, span: int, rng: random.Random) -> bytes:
    return content[: rng.randrange(span)]


def _insert(content: bytes, span: int, rng: random.Random) -> bytes:
    at = rng.randrange(span)
    return content[:at] + rng.choice((*_TOKENS, rng.randbytes(rng.randint(1, 40)), bytes(3000))) + content[at:]


def _repeat(content: bytes, span: int, rng: random.Random) -> bytes:
    at, length = rng.randrange(span), rng.randint(1, 200)
    return content[: at + length] * rng.choice((1, 1, 3)) + content[at:]


def _swap(content: bytes, span: int, rng: random.Random) -> bytes:
    one, two = sorted(rng.sample(range(span), 2)) if span > 1 else (0, 0)
    length = min(rng.randint(1, 64), two - one)
    middle = content[one + length : two]
    return content[:one] + content[two : two + length] + middle + content[one : one + length] + content[two + length :]


def _drop(content: bytes, span: int, rng: random.Random) -> bytes:
    at = rng.randrange(span)
    return content[:at] + content[at + rng.randint(1, 64) :]


_BLIND = (_flip, _flip, _overwrite, _overwrite, _truncate, _insert, _repeat, _swap, _drop)
