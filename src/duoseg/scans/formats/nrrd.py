"""NRRD files (``.nrrd``, ``.nhdr`` with a data file, 3D Slicer's ``.seg.nrrd``), verified to the last byte.

Encodings raw, gzip and bzip2. Refused, with the reason: text encodings, data spread over several files, several
values a voxel, and segmentations whose segments overlap.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.files import atomic_path
from duoseg.scans.formats.nrrd_geometry import grid_of
from duoseg.scans.formats.nrrd_header import TYPES, NrrdHeader, escaped, parse_header
from duoseg.scans.formats.slicer import segment_fields
from duoseg.scans.formats.storing import require_shape, smallest_type, stored_blocks
from duoseg.scans.formats.streams import Stream, beside, cut_short, opened, surplus_note
from duoseg.scans.formats.text_header import are_numbers, damaged_header, integers, voxel_count, words_of
from duoseg.scans.scan import Grid, Scan

SUFFIXES = (".seg.nrrd", ".seg.nhdr", ".nrrd", ".nhdr")

_PACKINGS = {"raw": "", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
_SEVERAL_FILES = re.compile(r"LIST\b|.*%.*d.*\s-?\d+\s+-?\d+\s+-?\d+")
_NAMES = {dtype: names for names, dtype in reversed(TYPES.items())}
_IN_SPACE = {"space": "space", "spacedimension": "space dimension", "spaceunits": "space units"}
_NUMBERS_PER_AXIS = ("spacings", "axis mins", "axis maxs")
_CENTERINGS = {"cell", "node", "none", "???"}
_LONGEST_LINE = 1 << 24
_LEVEL = 4  # of compression; beyond it masks hardly shrink, and maps take long


def can_read(path: Path) -> bool:
    """Return whether the name of ``path`` is that of a NRRD file."""
    return path.name.lower().endswith(SUFFIXES) and not path.is_dir()


def stem(path: Path) -> str:
    """Return the name of the scan: that of the file without its ending."""
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]


def exists(path: Path) -> bool:
    """Return whether the file is there."""
    return path.is_file()


def source_files(path: Path) -> list[Path]:
    """Return the file, and the data file that its header names, if any.

    Raises:
        InputError: one of them is missing, or the header cannot be read.
    """
    with opened(path, "NRRD") as stream:
        header = parse_header(stream)
        return [path, *_data_file(header)]


def read_scan(path: Path) -> Scan:
    """Read voxels and grid. An axis of one value a voxel is dropped.

    Raises:
        InputError: a file is missing, no NRRD file, cut short, damaged, not a volume of numbers, or without a
            usable affine.
    """
    with opened(path, "NRRD") as stream:
        header = parse_header(stream)
        grid, notes = grid_of(header)
        with _data_stream(header, stream) as data:
            voxels = data.read_voxels(header.dtype, voxel_count(path, list(header.sizes)))
            surplus = data.surplus()
    notes += surplus_note(surplus, voxels, grid.shape)
    voxels = voxels.reshape(grid.shape, order="F")
    return Scan(voxels, grid, path, notes, cropped=header.is_segmentation, segments=header.segments)


def read_grid(path: Path) -> Grid:
    """Read the grid alone, from the header.

    Raises:
        InputError: as for ``read_scan``, except for what only the voxels show.
    """
    with opened(path, "NRRD") as stream:
        return grid_of(parse_header(stream))[0]


def written_files(path: Path) -> list[Path]:
    """Return the file, and that of the voxels where the name is that of a header alone."""
    detached = path.name.lower().endswith(".nhdr")
    return [path, path.with_name(f"{path.name[:-5]}.raw.gz")] if detached else [path]


def mask_suffix(path: Path) -> str:
    """Return the ending of a mask of ``path``: one that 3D Slicer opens as a segmentation."""
    return ".seg.nrrd"


def map_suffix(path: Path) -> str:
    """Return the ending of a map of real numbers on the grid of ``path``."""
    return ".nrrd"


def write_like(path: Path, voxels: np.ndarray, *, like: Path, segments: Mapping[str, int] | None = None) -> None:
    """Write ``voxels`` (X, Y, Z) with the geometry of ``like``, in its own words: space, units, axes, origin.

    Integers are stored in the smallest type that holds them, everything else as float32, with gzip, in one file.

    Args:
        path: where to.
        voxels: of a mask or a map.
        like: the scan that they belong to.
        segments: class name -> value of a mask; makes 3D Slicer open the file as a segmentation.

    Raises:
        InputError: ``like`` cannot be read, or its grid has another shape than ``voxels``.
    """
    with opened(like, "NRRD") as stream:
        template = parse_header(stream)
    require_shape(path, voxels, like, grid_of(template)[0].shape)
    _save(path, voxels, list(_geometry(template)), segments)


def write(path: Path, voxels: np.ndarray, *, grid: Grid, segments: Mapping[str, int] | None = None) -> None:
    """Write ``voxels`` (X, Y, Z) on ``grid``, in mm and LPS, as ITK and 3D Slicer do; types as in ``write_like``."""
    affine = np.diag([-1.0, -1.0, 1.0]) @ grid.affine[:3]
    vectors = [f"({','.join(repr(float(part)) for part in column)})" for column in affine.T]
    geometry = [
        ("space", "left-posterior-superior"),
        ("space directions", " ".join(vectors[:3])),
        ("space origin", vectors[3]),
    ]
    _save(path, voxels, geometry, segments)


def _data_file(header: NrrdHeader) -> list[Path]:
    name = header.fields.get("datafile")
    if name is None:
        return []
    if _SEVERAL_FILES.match(name):
        raise InputError(
            f"{header.path}: its voxels are spread over several files; open it in 3D Slicer and save it as one .nrrd."
        )
    return [beside(header.path, name)]


@contextmanager
def _data_stream(header: NrrdHeader, stream: Stream) -> Iterator[Stream]:
    """Open the data of a header, which ``stream`` has read, at the first voxel."""
    encoding = header.fields["encoding"].lower()
    if encoding not in _PACKINGS:
        raise InputError(
            f"{header.path}: its encoding {encoding[:40]!r} cannot be read, only raw, gzip and bzip2; "
            "save it in one of these."
        )
    for file in _data_file(header):
        with opened(file, packed=False) as detached, _at_voxels(header, detached, _PACKINGS[encoding]) as data:
            yield data
        return
    with _at_voxels(header, stream, _PACKINGS[encoding]) as data:
        yield data


@contextmanager
def _at_voxels(header: NrrdHeader, stream: Stream, packing: str) -> Iterator[Stream]:
    """Skip lines, then unpack, then skip bytes: the order that the format defines."""
    lines, skipped = _skip(header, "lineskip"), _skip(header, "byteskip")
    if lines < 0 or skipped < -1 or (skipped == -1 and (packing or not stream.is_plain)):
        raise damaged_header(header.path, f"it skips {lines} lines and {skipped} bytes")
    for _ in range(lines):
        if not stream.file.readline(_LONGEST_LINE).endswith(b"\n"):
            raise cut_short(stream.path, f"{lines} lines are to be skipped, it has fewer")
    if packing:
        with stream.unpacked(packing) as unpacked:
            unpacked.skip(skipped)
            yield unpacked
        return
    if skipped == -1:  # the voxels are the last bytes of the file
        rest = stream.room - stream.file.tell()
        skipped = rest - voxel_count(header.path, list(header.sizes)) * header.dtype.itemsize
        if skipped < 0:
            raise cut_short(stream.path, f"{-skipped} bytes of its voxels are missing")
    stream.skip(skipped)
    yield stream


def _skip(header: NrrdHeader, field: str) -> int:
    found = integers(header.path, field, header.fields.get(field, "0"))
    return found[0] if len(found) == 1 else -2


def _geometry(header: NrrdHeader) -> Iterator[tuple[str, str]]:
    """Yield the fields of a header that place its three axes in space, with single separators, as all readers know."""
    fields = header.fields
    yield from ((name, fields[field]) for field, name in _IN_SPACE.items() if field in fields)
    if "spacedirections" in fields:
        for name in ("space directions", "space origin"):
            vectors = re.findall(r"\(([^()]*)\)", fields.get(name.replace(" ", ""), ""))
            if vectors:
                yield name, " ".join(f"({','.join(words_of(vector))})" for vector in vectors)
        return
    for name in _NUMBERS_PER_AXIS:
        text = " ".join(header.per_axis(name.replace(" ", "")))
        if text and are_numbers(text):
            yield name, text
    centerings = header.per_axis("centerings")
    if centerings and _CENTERINGS.issuperset(centerings):
        yield "centerings", " ".join(centerings)
    if units := header.per_axis("units"):
        yield "units", " ".join(f'"{unit}"' for unit in units)


def _save(
    path: Path, voxels: np.ndarray, geometry: Iterable[tuple[str, str]], segments: Mapping[str, int] | None
) -> None:
    dtype = smallest_type(voxels)
    fields = [
        ("type", _NAMES[dtype.str[1:]]),
        ("dimension", "3"),
        *((name, text) for name, text in geometry if name in ("space", "space dimension")),
        ("sizes", " ".join(map(str, voxels.shape))),
        *((name, text) for name, text in geometry if name not in ("space", "space dimension")),
        ("kinds", "domain domain domain"),
        ("endian", "little"),
        ("encoding", "gzip"),
    ]
    lines = ["NRRD0004", *(f"{name}: {text}" for name, text in fields)]
    if segments is not None:
        lines += (f"{key}:={escaped(text)}" for key, text in segment_fields(voxels, segments))
    data = next(iter(written_files(path)[1:]), None)
    if data is None:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.write("\n".join([*lines, "", ""]).encode())
            _pack(file, voxels, dtype)
        return
    # The voxels are put in place before the header: whoever finds a header finds its voxels.
    with atomic_path(path) as temporary, atomic_path(data) as for_voxels:
        with for_voxels.open("wb") as file:
            _pack(file, voxels, dtype)
        temporary.write_text("\n".join([*lines, f"data file: {data.name}", ""]), encoding="utf-8")


def _pack(file: BufferedIOBase, voxels: np.ndarray, dtype: np.dtype) -> None:
    with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed:
        for block in stored_blocks(voxels, dtype):
            packed.write(block)
