"""NIfTI-1 and NIfTI-2 files (``.nii``, ``.nii.gz``, pairs of ``.hdr`` and ``.img``), verified to the last byte.

The header is parsed by nibabel. The voxels are read here, in one pass (see ``streams``), because a file that is too
short must be named as such. Plain ANALYZE 7.5 is refused, since it has no orientation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from duoseg.errors import InputError
from duoseg.files import atomic_path
from duoseg.scans.formats.nifti_header import (
    ENDINGS,
    ERRORS,
    PAIR,
    drop_unusable_forms,
    files_of,
    grid_of,
    header_of,
    header_suffix,
    offset_of,
    partner,
    read_header,
    stem_of,
    suffix_of,
)
from duoseg.scans.formats.storing import require_shape, smallest_type
from duoseg.scans.formats.streams import Stream, opened, surplus_note
from duoseg.scans.scan import Grid, Scan

SUFFIXES = ENDINGS

QFORM_MM = 0.01
"""How far a qform may put a corner from where it lies; further off, it is left out."""


def can_read(path: Path) -> bool:
    """Return whether the name of ``path`` is that of a NIfTI file; of a pair, the header stands for both."""
    suffix = suffix_of(path)
    return bool(suffix) and not (suffix in PAIR.values() and partner(path)) and not path.is_dir()


def stem(path: Path) -> str:
    """Return the name of the scan: that of the file without its ending."""
    return stem_of(path)


def exists(path: Path) -> bool:
    """Return whether the file is there."""
    return path.is_file()


def source_files(path: Path) -> list[Path]:
    """Return the file, or the two files of a pair, header first.

    Raises:
        InputError: the file, or the other one of the pair, is missing.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    return list(dict.fromkeys(files_of(path)))


def read_scan(path: Path) -> Scan:
    """Read voxels and grid; scale factors are applied.

    Integers without scale factors keep their type. A time axis of one frame is dropped.

    Raises:
        InputError: the file is missing, no NIfTI file, cut short, damaged, not a volume of numbers, or
            without a usable affine.
    """
    source, data = files_of(path)
    with opened(source, "NIfTI", errors=ERRORS) as stream:
        header = read_header(stream, pair=data != source)
        grid, notes = grid_of(source, header)
        if data == source:
            voxels, surplus = _read_voxels(stream, header, begun=header.sizeof_hdr)
        else:
            voxels, surplus = _read_pair(data, header)
    notes += surplus_note(surplus, voxels, grid.shape)
    return Scan(_scaled(source, voxels, header).reshape(grid.shape, order="F"), grid, path, notes)


def read_grid(path: Path) -> Grid:
    """Read the grid alone, from the header.

    Raises:
        InputError: as for ``read_scan``, except for what only the voxels show.
    """
    source, data = files_of(path)
    with opened(source, "NIfTI", errors=ERRORS) as stream:
        return grid_of(source, read_header(stream, pair=data != source))[0]


def written_files(path: Path) -> list[Path]:
    """Return the file, or the two files of a pair, header first."""
    suffix = mask_suffix(path)
    return [path.with_name(stem_of(path) + one) for one in (suffix, PAIR[suffix])] if suffix in PAIR else [path]


def mask_suffix(path: Path) -> str:
    """Return the ending of a mask of ``path``: the same, that of the header for a pair."""
    suffix = suffix_of(path)
    return header_suffix(suffix) if suffix in PAIR.values() else suffix


def map_suffix(path: Path) -> str:
    """Return the ending of a map of real numbers on the grid of ``path``: the same as that of a mask."""
    return mask_suffix(path)


def write_like(path: Path, voxels: np.ndarray, *, like: Path, segments: Mapping[str, int] | None = None) -> None:
    """Write ``voxels`` (X, Y, Z) with the geometry of ``like``: affine, both forms and codes, units.

    A form that says nothing in ``like`` is left out, so that no other reader takes it. Integers are stored in the
    smallest type that holds them, everything else as float32; the template's type, scale factors, display range,
    intent and extensions are not taken over. NIfTI has no place for ``segments``.

    Raises:
        InputError: ``like`` cannot be read, or its grid has another shape than ``voxels``.
    """
    header = header_of(like)
    require_shape(path, voxels, like, read_grid(like).shape)
    header["cal_min"] = header["cal_max"] = 0
    header.set_intent("none")
    drop_unusable_forms(like, header)
    _save(path, voxels, header)


def write(path: Path, voxels: np.ndarray, *, grid: Grid, segments: Mapping[str, int] | None = None) -> None:
    """Write ``voxels`` (X, Y, Z) on ``grid``, in mm, with both forms set; types as in ``write_like``.

    The qform cannot hold axes off right angles: it is left out where it would put a corner elsewhere.
    """
    header = nib.Nifti1Header()
    header.set_xyzt_units("mm")
    header.set_data_shape(grid.shape)
    header.set_zooms(grid.spacing)
    header.set_sform(grid.affine, code="scanner")
    if not grid.is_sheared:
        header.set_qform(grid.affine, code="scanner")
        qform = header.get_qform(coded=True)[0]
        if qform is None or grid.difference(Grid(grid.shape, qform)).corner_mm > QFORM_MM:
            header["qform_code"] = 0
    _save(path, voxels, header)


def _save(path: Path, voxels: np.ndarray, header: nib.Nifti1Header) -> None:
    dtype = smallest_type(voxels)
    header.set_data_dtype(dtype)
    header.set_data_shape(voxels.shape)
    header.set_slope_inter(1, 0)
    header.set_data_offset(0)  # nibabel sets it anew
    second = isinstance(header, nib.Nifti2Header)
    stored = np.asarray(voxels, dtype=dtype)
    suffix = mask_suffix(path)
    if suffix not in PAIR:
        with atomic_path(path) as temporary:
            (nib.Nifti2Image if second else nib.Nifti1Image)(stored, None, header).to_filename(temporary)
        return
    pair_class = nib.Nifti2Pair if second else nib.Nifti1Pair
    header = pair_class.header_class(header.binaryblock, header.endianness)
    image = pair_class(stored, None, header)
    target, data = written_files(path)
    # The voxels are put in place before the header: whoever finds a header finds its voxels.
    with atomic_path(target) as for_header, atomic_path(data) as for_voxels:
        image.file_map["header"].filename, image.file_map["image"].filename = str(for_header), str(for_voxels)
        image.to_file_map()


def _read_pair(data: Path, header: nib.Nifti1Header) -> tuple[np.ndarray, int]:
    # Bytes of voxels may look like the start of a compressed file: here the name decides.
    with opened(data, errors=ERRORS, packed=data.name.lower().endswith(".gz")) as stream:
        return _read_voxels(stream, header)


def _read_voxels(stream: Stream, header: nib.Nifti1Header, begun: int = 0) -> tuple[np.ndarray, int]:
    """Return the voxels as stored, flat, and the number of bytes that follow; ``begun`` bytes are read already."""
    dtype = header.get_data_dtype()
    if dtype.kind not in "biuf":
        raise InputError(f"{stream.path}: its voxels are colours or complex numbers, not grey values; convert them.")
    count, offset = math.prod(int(size) for size in header.get_data_shape()), offset_of(stream, header)
    stream.skip(offset - begun)
    voxels = stream.read_voxels(dtype, count, extra=count * (0 if _scaling(stream.path, header) is None else 8))
    return voxels, stream.surplus()


def _scaling(path: Path, header: nib.Nifti1Header) -> tuple[float, float] | None:
    """Return slope and intercept; None where there is nothing to scale."""
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise InputError(f"{path}: its scale factors are not usable ({error}); convert the scan anew.") from error
    return None if slope is None or (slope == 1 and not intercept) else (slope, intercept or 0.0)


def _scaled(path: Path, voxels: np.ndarray, header: nib.Nifti1Header) -> np.ndarray:
    """Apply the scale factors with one rounding."""
    if voxels.dtype.itemsize > 8:
        voxels = voxels.astype(np.float64)
    scaling = _scaling(path, header)
    if scaling is None:
        return voxels
    narrow = np.can_cast(voxels.dtype, np.float32)
    scaled = np.empty(voxels.shape, np.float32 if narrow else np.float64)
    block = 1 << 20  # so that the intermediate float64 values never need the memory of a whole scan
    for start in range(0, voxels.size, block):
        part = slice(start, start + block)
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is found among the voxels
            scaled[part] = voxels[part].astype(np.float64) * scaling[0] + scaling[1]
    return scaled
