"""One prepared array in one file: a digest, what else was kept of it, and a compressed blosc2 frame.

The file is ``SHA-256 of the rest | position of the frame | metadata | frame``. The metadata are plain bytes by name and
not blosc2's own, which can hold objects that are rebuilt, functions among them, when the frame is opened. For the same
reason a frame that holds anything but one array is not opened: a cache folder may be shared, or come with a data set.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import blosc2
import numpy as np

from duoseg.files import atomic_path

DIGEST_BYTES = 32  # SHA-256 of the rest of the file, at its start
POSITION_BYTES = 8  # where the frame begins, little-endian
BLOCK_SIDE = 32  # a block is what is decompressed at once
MOST_CHUNK_BYTES = 2**30  # what reading a patch may decompress besides it; patches are a hundred times smaller
MOST_METADATA_BYTES = 2**28

_FRAME_START = b"\x9e\xa8b2frame\x00"
_METALAYERS = 87  # where a frame's header lists what it holds besides chunks
_ONE_ARRAY = b"\x93\xcd"
_NAMES = b"\xde\x00\x01\xa4b2nd"  # one entry, called b2nd: an array and nothing else


def chunk_shape(shape: Sequence[int], patch: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the chunk (about a patch) and the block (at most 32 voxels a side) of the spatial axes."""
    chunk = tuple(min(size, max(side, BLOCK_SIDE)) for size, side in zip(shape, patch, strict=True))
    return chunk, tuple(min(side, BLOCK_SIDE) for side in chunk)


def open_frame(path: Path) -> blosc2.NDArray:
    """Open the array to be read in parts; the digest is not looked at.

    Raises:
        ValueError: the file holds no array, or something besides.
    """
    with path.open("rb") as stream:
        position = _position(stream)
        stream.seek(position)
        _require_one_array(stream.read(_METALAYERS + 32), path)
    # one thread: the readers are themselves parallel; opening takes 0.1 ms, so no handle is kept
    return blosc2.open(str(path), mode="r", offset=position, dparams={"nthreads": 1})


def read_metadata(path: Path) -> dict[str, bytes]:
    """Return what was written beside the array.

    Raises:
        ValueError: the file is not one of these.
    """
    with path.open("rb") as stream:
        size = _position(stream) - DIGEST_BYTES - POSITION_BYTES
        if not 0 <= size <= MOST_METADATA_BYTES:
            raise ValueError(f"{path} announces {size} bytes of metadata")
        return _unpacked(stream.read(size))


def write_frame(path: Path, array: np.ndarray, *, key: str, meta: dict[str, bytes], patch: Sequence[int]) -> None:
    """Write ``(..., X, Y, Z)`` atomically, in chunks of about a patch, with its key and metadata."""
    lead = (1,) * (array.ndim - 3)
    chunk, block = chunk_shape(array.shape[-3:], patch)
    stored = blosc2.empty(
        array.shape,
        array.dtype,
        chunks=lead + chunk,
        blocks=lead + block,
        cparams={"codec": blosc2.Codec.ZSTD, "clevel": 1, "nthreads": 1},
    )
    assert isinstance(stored, blosc2.NDArray)  # the other kinds hold text
    stored[:] = array
    described = _packed({**meta, "key": key.encode()})
    position = DIGEST_BYTES + POSITION_BYTES + len(described)
    parts = position.to_bytes(POSITION_BYTES, "little"), described, stored.to_cframe()
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(digest.digest())
        for part in parts:
            stream.write(part)


def is_intact(path: Path) -> bool:
    """Whether the digest of a file is that of its content; False where it is missing, or not ours to read."""
    if not path.is_file() or not os.access(path, os.R_OK):
        return False
    with path.open("rb") as stream:
        digest = stream.read(DIGEST_BYTES)
        return hashlib.file_digest(stream, "sha256").digest() == digest


def metadata_of(path: Path, key: str) -> dict[str, bytes] | None:
    """Return the metadata of a file that is intact, or None if it is another's.

    A damaged file is asked for no metadata: its frame can make the decoder ask for any amount of memory.
    """
    try:
        meta = read_metadata(path)
    except ValueError:
        return None
    return meta if meta.pop("key", None) == key.encode() else None


def holds_array(path: Path, shape: Sequence[int], dtype: np.dtype) -> bool:
    """Return whether a file that is intact holds an array of that shape and type, in chunks of a sensible size.

    A digest shows that a file was not damaged; it does not show who made it.
    """
    try:
        stored = open_frame(path)
    except (ValueError, RuntimeError):
        return False
    if not isinstance(stored, blosc2.NDArray) or tuple(stored.shape) != tuple(shape) or stored.dtype != dtype:
        return False
    chunk, block = stored.chunks, stored.blocks
    fitting = all(
        0 < inner <= outer <= max(size, BLOCK_SIDE) for inner, outer, size in zip(block, chunk, shape, strict=True)
    )
    return fitting and max(block) <= BLOCK_SIDE and math.prod(chunk) * dtype.itemsize <= MOST_CHUNK_BYTES


def _position(stream: BinaryIO) -> int:
    stream.seek(DIGEST_BYTES)
    return int.from_bytes(stream.read(POSITION_BYTES), "little")


def _require_one_array(header: bytes, path: Path) -> None:
    names = header[_METALAYERS + len(_ONE_ARRAY) + 2 :]
    if not (
        header.startswith(_FRAME_START) and header[_METALAYERS:].startswith(_ONE_ARRAY) and names.startswith(_NAMES)
    ):
        raise ValueError(f"{path} does not hold one array and nothing else")


def _packed(meta: dict[str, bytes]) -> bytes:
    """Lengths by name as one line of JSON, then the values."""
    lengths = json.dumps({name: len(value) for name, value in meta.items()})
    return b"\n".join([lengths.encode(), b"".join(meta.values())])


def _unpacked(packed: bytes) -> dict[str, bytes]:
    lengths, _, values = packed.partition(b"\n")
    try:
        meta, start = {}, 0
        for name, length in json.loads(lengths).items():
            meta[name] = values[start : start + length]
            start += length
    except (AttributeError, TypeError, RecursionError) as fault:
        raise ValueError("the metadata are no lengths by name") from fault
    return meta
