"""MetaImage files (``.mha``, and ``.mhd`` with a data file), verified to the last byte.

Binary data, plain or packed by zlib. Refused, with the reason: text data, data spread over several files, and several
values a voxel.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.files import atomic_path
from duoseg.scans.formats.metaimage_header import (
    LAST_KEY,
    MATRIX,
    OFFSET,
    SPACING,
    TYPES,
    MetaHeader,
    grid_of,
    parse_header,
)
from duoseg.scans.formats.storing import require_shape, smallest_type, stored_blocks
from duoseg.scans.formats.streams import Stream, beside, cut_short, opened, surplus_note
from duoseg.scans.formats.text_header import damaged_header, require_packed, voxel_count, words_of
from duoseg.scans.scan import Grid, Scan

SUFFIXES = (".mha", ".mhd")

_SEVERAL_FILES = re.compile(r"LIST\b|.*%.*d", re.IGNORECASE)
_NAMES = {kind: name for name, kind in reversed(TYPES.items())}
_LEVEL = 4  # of compression; beyond it masks hardly shrink, and maps take long


def can_read(path: Path) -> bool:
    """Return whether the name of ``path`` is that of a MetaImage file."""
    return path.name.lower().endswith(SUFFIXES) and not path.is_dir()


def stem(path: Path) -> str:
    """Return the name of the scan: that of the file without its ending."""
    return path.name[:-4] if can_read(path) else path.name


def exists(path: Path) -> bool:
    """Return whether the file is there."""
    return path.is_file()


def source_files(path: Path) -> list[Path]:
    """Return the file, and the data file that its header names, if any.

    Raises:
        InputError: one of them is missing, or the header cannot be read.
    """
    with opened(path, "MetaImage") as stream:
        return [path, *_data_file(parse_header(stream))]


def read_scan(path: Path) -> Scan:
    """Read voxels and grid. A time axis of one frame is dropped.

    Raises:
        InputError: a file is missing, no MetaImage file, cut short, damaged, not a volume of numbers, or without a
            usable affine.
    """
    with opened(path, "MetaImage") as stream:
        header = parse_header(stream)
        grid, notes = grid_of(header)
        with _data_stream(header, stream) as data:
            voxels = data.read_voxels(header.dtype, voxel_count(path, list(header.sizes)))
            surplus = data.surplus()
    notes += surplus_note(surplus, voxels, grid.shape)
    return Scan(voxels.reshape(grid.shape, order="F"), grid, path, notes)


def read_grid(path: Path) -> Grid:
    """Read the grid alone, from the header.

    Raises:
        InputError: as for ``read_scan``, except for what only the voxels show.
    """
    with opened(path, "MetaImage") as stream:
        return grid_of(parse_header(stream))[0]


def written_files(path: Path) -> list[Path]:
    """Return the file, and that of the voxels where the name is that of a header alone."""
    detached = path.name.lower().endswith(".mhd")
    return [path, path.with_name(f"{path.name[:-4]}.zraw")] if detached else [path]


def mask_suffix(path: Path) -> str:
    """Return the ending of a mask of ``path``: the same."""
    return path.name[-4:].lower()


def map_suffix(path: Path) -> str:
    """Return the ending of a map of real numbers on the grid of ``path``: the same."""
    return mask_suffix(path)


def write_like(path: Path, voxels: np.ndarray, *, like: Path, segments: Mapping[str, int] | None = None) -> None:
    """Write ``voxels`` (X, Y, Z) with the geometry of ``like``, in its own words: matrix, offset, spacing, unit.

    Integers are stored in the smallest type that holds them, everything else as float32, packed by zlib; ``.mhd``
    gets a ``.zraw`` file beside it. MetaImage has no place for ``segments``.

    Raises:
        InputError: ``like`` cannot be read, or its grid has another shape than ``voxels``.
    """
    with opened(like, "MetaImage") as stream:
        template = parse_header(stream)
    grid = grid_of(template)[0]
    require_shape(path, voxels, like, grid.shape)
    if len(template.sizes) > 3:
        write(path, voxels, grid=grid)
        return
    texts = {names[0]: template.first(*names) for names in (MATRIX, OFFSET, SPACING, ("DistanceUnits",))}
    # Single blanks between the numbers, as all readers know.
    _save(path, voxels, {name: " ".join(words_of(text)) for name, text in texts.items() if text is not None})


def write(path: Path, voxels: np.ndarray, *, grid: Grid, segments: Mapping[str, int] | None = None) -> None:
    """Write ``voxels`` (X, Y, Z) on ``grid``, in mm; types as in ``write_like``."""
    affine = np.diag([-1.0, -1.0, 1.0]) @ grid.affine[:3]
    directions = affine[:, :3] / np.array(grid.spacing)
    geometry = {MATRIX[0]: directions.T.ravel(), OFFSET[0]: affine[:, 3], SPACING[0]: np.array(grid.spacing)}
    _save(path, voxels, {name: " ".join(repr(float(part)) for part in parts) for name, parts in geometry.items()})


def _data_file(header: MetaHeader) -> list[Path]:
    name = header.keys[LAST_KEY]
    if name.upper() == "LOCAL":
        return []
    if _SEVERAL_FILES.match(name):
        raise InputError(
            f"{header.path}: its voxels are spread over several files; open it in 3D Slicer and save it as one .mha."
        )
    return [beside(header.path, name)]


@contextmanager
def _data_stream(header: MetaHeader, stream: Stream) -> Iterator[Stream]:
    """Open the data of a header, which ``stream`` has read, at the first voxel."""
    if not header.truth("BinaryData", default=True):
        raise InputError(f"{header.path}: its voxels are written as text; save it with BinaryData = True.")
    for file in _data_file(header):
        with opened(file, packed=False) as detached, _at_voxels(header, detached) as data:
            yield data
        return
    if header.number("HeaderSize") > 0:
        raise damaged_header(header.path, "it has a HeaderSize, but its voxels follow at once")
    with _at_voxels(header, stream) as data:
        yield data


@contextmanager
def _at_voxels(header: MetaHeader, stream: Stream) -> Iterator[Stream]:
    before, packed = header.number("HeaderSize"), header.truth("CompressedData")
    if before < -1 or (before == -1 and (packed or not stream.is_plain)):
        raise damaged_header(header.path, f"HeaderSize is {before}")
    if before == -1:  # the voxels are the last bytes of the file
        nbytes = voxel_count(header.path, list(header.sizes)) * header.dtype.itemsize
        before = stream.room - stream.file.tell() - nbytes
        if before < 0:
            raise cut_short(stream.path, f"{-before} bytes of its voxels are missing")
    stream.skip(before)
    if not packed:
        yield stream
        return
    require_packed(stream, header.number("CompressedDataSize"))
    with stream.unpacked("zlib") as unpacked:
        yield unpacked


def _save(path: Path, voxels: np.ndarray, geometry: Mapping[str, str]) -> None:
    dtype = smallest_type(voxels)
    data = next(iter(written_files(path)[1:]), None)
    pack = zlib.compressobj(_LEVEL)
    packed = [*(pack.compress(block) for block in stored_blocks(voxels, dtype)), pack.flush()]
    keys = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(sum(map(len, packed))),
        **geometry,
        "DimSize": " ".join(map(str, voxels.shape)),
        "ElementType": _NAMES[dtype.str[1:]],
        LAST_KEY: data.name if data else "LOCAL",
    }
    text = "".join(f"{name} = {value}\n" for name, value in keys.items()).encode()
    if data is None:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.write(text)
            file.writelines(packed)
        return
    # The voxels are put in place before the header: whoever finds a header finds its voxels.
    with atomic_path(path) as temporary, atomic_path(data) as for_voxels:
        with for_voxels.open("wb") as file:
            file.writelines(packed)
        temporary.write_bytes(text)
