"""NRRD headers (https://teem.sourceforge.net/nrrd/format.html): what they say of voxels and grid.

Parsed here: the one library for it, pynrrd, knows fields in lower case only, drops letters beyond ASCII (names of
segments), reads lines of any length, and can be switched by other code in the process to another behaviour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duoseg.errors import InputError
from duoseg.scans.formats.geometry import volume_shape
from duoseg.scans.formats.slicer import segments_of
from duoseg.scans.formats.streams import Stream
from duoseg.scans.formats.text_header import damaged_header, header_lines, integers, numbers, voxel_count

_TYPES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float",
    "f8": "double",
}
TYPES = {name: kind for kind, names in _TYPES.items() for name in names.split("|")}
_PLAIN_KINDS = {"domain", "space", "none", "???"}
_VECTORS = re.compile(r"\(([^()]*)\)|none", re.IGNORECASE)
_REQUIRED = ("dimension", "type", "encoding", "sizes")


@dataclass(frozen=True)
class NrrdHeader:
    """The fields of a header, by names in lower case without blanks.

    Attributes:
        path: the file.
        fields: their text.
        sizes: of all axes.
        axes: which three of them lie in space; the others have the size 1.
        is_segmentation: whether it holds what 3D Slicer writes into segmentations.
        segments: name -> value, where it names them.
    """

    path: Path
    fields: Mapping[str, str]
    sizes: tuple[int, ...]
    axes: tuple[int, int, int]
    is_segmentation: bool
    segments: Mapping[str, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along the axes in space."""
        x, y, z = (self.sizes[axis] for axis in self.axes)
        return x, y, z

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored values, with their byte order; ``InputError`` if it is none of numbers."""
        name, endian = self.fields["type"].lower(), self.fields.get("endian", "").lower()
        kind = TYPES.get(" ".join(name.split()))
        if kind is None:
            raise InputError(f"{self.path}: its voxels are of the type {name[:40]!r}, not numbers; convert them.")
        if kind[1] != "1" and endian not in ("little", "big"):
            raise damaged_header(self.path, "it does not say the byte order (endian: little or big)")
        return np.dtype(kind).newbyteorder(">" if endian == "big" else "<")

    def per_axis(self, field: str) -> list[str]:
        """Return the words of a field that has one for each axis, for the axes in space; [] where it is missing."""
        words = quoted_words(self.fields.get(field, ""))
        return [words[axis] for axis in self.axes] if len(words) == len(self.sizes) else []


def parse_header(stream: Stream) -> NrrdHeader:
    """Read the header with which ``stream`` begins, up to the empty line after it, or the end of the file.

    Raises:
        InputError: it is damaged, or describes no single volume.
    """
    path, fields, keys = stream.path, dict[str, str](), dict[str, str]()
    lines = header_lines(stream)
    if not re.fullmatch(r"NRRD000[1-5]", next(lines, "")):
        raise damaged_header(path, "it does not begin with NRRD0001 to NRRD0005")
    for line in lines:
        if not line:
            break
        name, mark, value = line.partition(":")
        if line.startswith("#"):
            continue
        if not mark:
            raise damaged_header(path, f"a line without a colon, {line[:60]!a}")
        if value.startswith("="):
            keys[name] = _unescaped(value[1:])
            continue
        name = re.sub(r"\s", "", name.lower())
        if name in fields:
            raise damaged_header(path, f"it has the field {name[:40]!r} twice")
        fields[name] = value.strip()
        if name == "datafile" and value.split()[:1] == ["LIST"]:
            break
    for name in _REQUIRED:
        if name not in fields:
            raise damaged_header(path, f"it has no field {name!r}")
    sizes = integers(path, "sizes", fields["sizes"])
    if integers(path, "dimension", fields["dimension"]) != [len(sizes)]:
        raise damaged_header(path, f"its dimension is {fields['dimension'][:20]!r}, but it has {len(sizes)} sizes")
    voxel_count(path, sizes)
    segmentation = any(key.startswith(("Segmentation_", "Segment0_")) for key in keys)
    axes = _axes_in_space(path, fields, sizes, segmentation)
    return NrrdHeader(path, fields, tuple(sizes), axes, segmentation, segments_of(keys))


def _axes_in_space(path: Path, fields: Mapping[str, str], sizes: list[int], segmentation: bool) -> tuple[int, int, int]:
    """Return the three axes along which the volume extends; every other axis must have the size 1."""
    kinds = [kind.lower() for kind in fields.get("kinds", "").split()]
    if "spacedirections" in fields:
        vectors = vectors_of(path, fields["spacedirections"])
        if len(vectors) != len(sizes):
            raise damaged_header(path, f"it has {len(vectors)} space directions for {len(sizes)} axes")
        axes = [axis for axis, vector in enumerate(vectors) if vector is not None]
    else:
        axes = [axis for axis in range(len(sizes)) if len(kinds) != len(sizes) or kinds[axis] in _PLAIN_KINDS]
    values = voxel_count(path, [size for axis, size in enumerate(sizes) if axis not in axes] or [1])
    if values > 1 and segmentation:
        raise InputError(
            f"{path}: holds {values} layers of overlapping segments, not one class a voxel; in 3D Slicer, export it "
            "as a labelmap (module Segmentations, Export to files), or merge its segments."
        )
    if values > 1:
        raise InputError(f"{path}: holds {values} values a voxel, not one; save each as a file of its own.")
    volume_shape(path, [sizes[axis] for axis in axes])
    return axes[0], axes[1], axes[2]


def vectors_of(path: Path, text: str) -> list[NDArray[np.float64] | None]:
    """Return vectors of three numbers, and None for each "none"."""
    if _VECTORS.sub("", text).strip():
        raise damaged_header(path, f"{text[:60]!a} are no vectors")
    return [
        None if match[1] is None else np.array(numbers(path, "a vector", match[1], 3))
        for match in _VECTORS.finditer(text)
    ]


def quoted_words(text: str) -> list[str]:
    """Return words that are separated by blanks, and may be in quotation marks."""
    return [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|([^\s"]+)', text)]


def escaped(text: str) -> str:
    """Return a value as NRRD wants it: on one line."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _unescaped(value: str) -> str:
    """Return what a value means that the format keeps on one line."""
    return re.sub(r"\\([\\n])", lambda match: "\n" if match[1] == "n" else "\\", value)
