"""MetaImage headers: lines of "Key = Value", the last of which names the data.

Parsed here: there is no kept library for it but ITK's, which reads a header with damaged numbers as other numbers.
The rules, such as which of two keys for one thing counts, are ITK's. AnatomicalOrientation is not read, as in ITK:
it only repeats in letters what the matrix says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duoseg.errors import InputError
from duoseg.scans.formats.geometry import RAS_FROM_LPS, placed, volume_shape
from duoseg.scans.formats.streams import Stream
from duoseg.scans.formats.text_header import damaged_header, header_lines, in_mm, integers, numbers, voxel_count
from duoseg.scans.scan import Grid

LAST_KEY = "ElementDataFile"
"""After its line the header ends, and the voxels follow if it says LOCAL."""

TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # in MetaImage files, on any machine
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
MATRIX = ("TransformMatrix", "Rotation", "Orientation")
OFFSET = ("Offset", "Position", "Origin")
SPACING = ("ElementSpacing", "ElementSize")
_BYTE_ORDER = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_FUNCTION = {"ElementToIntensityFunctionSlope": 1.0, "ElementToIntensityFunctionOffset": 0.0}
_TRUTHS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


@dataclass(frozen=True)
class MetaHeader:
    """The keys of a header.

    Attributes:
        path: the file.
        keys: their text, as written.
        sizes: of all axes.
    """

    path: Path
    keys: Mapping[str, str]
    sizes: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored values, with their byte order; ``InputError`` if it is none of numbers."""
        kind = TYPES.get(self.keys["ElementType"].removesuffix("_ARRAY"))
        if kind is None:
            name = self.keys["ElementType"][:40]
            raise InputError(f"{self.path}: its voxels are of the type {name!r}, not numbers; convert them.")
        return np.dtype(kind).newbyteorder(">" if self.truth(*_BYTE_ORDER) else "<")

    def first(self, *names: str) -> str | None:
        """Return the text of the first of several keys for one thing that is there."""
        return next((self.keys[name] for name in names if name in self.keys), None)

    def truth(self, *names: str, default: bool = False) -> bool:
        """Return the first of several keys as true or false; ``InputError`` if it is neither."""
        text = self.first(*names)
        if text is not None and text.lower() not in _TRUTHS:
            raise damaged_header(self.path, f"{names[0]} is {text[:40]!a}, neither True nor False")
        return default if text is None else _TRUTHS[text.lower()]

    def number(self, name: str) -> int:
        """Return a key as one whole number, 0 where it is missing; ``InputError`` if it is none."""
        found = integers(self.path, name, self.keys.get(name, "0"))
        if len(found) != 1:
            raise damaged_header(self.path, f"{name} is {len(found)} numbers")
        return found[0]


def parse_header(stream: Stream) -> MetaHeader:
    """Read the header with which ``stream`` begins, up to the line that names the data.

    Raises:
        InputError: it is damaged, or describes no single volume of single numbers.
    """
    path, keys = stream.path, dict[str, str]()
    for line in header_lines(stream):
        name, mark, value = line.partition("=" if "=" in line else ":")
        name = name.strip()
        if not line.strip():
            continue
        if not mark:
            raise damaged_header(path, f"a line without a value, {line[:60]!a}")
        if name in keys:
            raise damaged_header(path, f"it has {name[:40]!r} twice")
        keys[name] = value.strip()
        if name == LAST_KEY:
            break
    for name in ("NDims", "DimSize", "ElementType", LAST_KEY):
        if name not in keys:
            raise damaged_header(path, f"it has no {name}")
    sizes = integers(path, "DimSize", keys["DimSize"])
    if integers(path, "NDims", keys["NDims"]) != [len(sizes)]:
        raise damaged_header(path, f"NDims is {keys['NDims'][:20]!r}, but DimSize has {len(sizes)} numbers")
    voxel_count(path, sizes)
    header = MetaHeader(path, keys, tuple(sizes))
    if keys.get("ObjectType", "Image").lower() != "image":
        raise InputError(f"{path}: is of the kind {keys['ObjectType'][:40]!r}, not an image; give the scan itself.")
    channels = header.number("ElementNumberOfChannels") or 1
    if channels != 1:
        raise InputError(f"{path}: holds {channels} values a voxel, not one; save each as a file of its own.")
    return header


def grid_of(header: MetaHeader) -> tuple[Grid, tuple[str, ...]]:
    """Return the grid, and what to note about it; what is missing is taken as ITK takes it.

    Each row of the matrix is the direction of one axis; the columns of ITK's own direction matrix are.

    Raises:
        InputError: the header holds several volumes, none, or no usable affine.
    """
    path, axes, notes = header.path, len(header.sizes), list[str]()
    shape = volume_shape(path, header.sizes)
    matrix, offset, spacing = (header.first(*names) for names in (MATRIX, OFFSET, SPACING))
    if matrix is None:
        notes.append("it has no TransformMatrix: its orientation is unknown, its axes were taken as LPS, as by ITK")
    if offset is None:
        notes.append("it has no Offset: its position is unknown")
    if spacing is None:
        notes.append("it has no ElementSpacing: its voxels were taken as 1 x 1 x 1 mm")
    for name, neutral in _FUNCTION.items():
        if name in header.keys and numbers(path, name, header.keys[name], 1) != [neutral]:
            notes.append(f"its {name} ({header.keys[name][:20]!r}) was not applied to its values, as by ITK")
    rows = np.eye(axes) if matrix is None else _square(path, matrix, axes)
    unit, about_unit = in_mm(header.keys.get("DistanceUnits", ""))
    affine = np.eye(4)
    affine[:3, :3] = rows[:3, :3].T * np.array(numbers(path, SPACING[0], spacing or "1 " * axes, axes))[:3]
    affine[:3, 3] = numbers(path, OFFSET[0], offset or "0 " * axes, axes)[:3]
    grid, about_axes = placed(path, shape, RAS_FROM_LPS @ np.diag([unit, unit, unit, 1.0]) @ affine)
    return grid, (*notes, *about_unit, *about_axes)


def _square(path: Path, text: str, axes: int) -> NDArray[np.float64]:
    matrix = np.array(numbers(path, MATRIX[0], text, axes * axes)).reshape(axes, axes)
    if matrix[:3, 3:].any():
        raise InputError(f"{path}: its axes in space run through time; convert the scan anew from its source.")
    return matrix
