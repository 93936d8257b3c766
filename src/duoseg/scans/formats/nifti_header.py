"""NIfTI headers: which files a scan lies in, what its header says of the grid, and what it may not say."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.nifti1 import data_type_codes
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from duoseg.errors import InputError
from duoseg.scans.formats.geometry import placed, volume_shape
from duoseg.scans.formats.streams import Stream, cut_short, opened
from duoseg.scans.scan import Grid

PAIR = {".hdr": ".img", ".hdr.gz": ".img.gz"}
"""Endings of headers, and of the files of voxels that belong to them."""

ENDINGS = (".nii.gz", *(gz for pair in PAIR.items() for gz in pair if gz.endswith(".gz")), ".nii", ".hdr", ".img")
ERRORS = (HeaderDataError, WrapStructError)
"""What nibabel raises for headers that it cannot make sense of."""

FORM_DIFFERENCE_MM = 0.1
"""From here on it is noted that sform and qform disagree, at any corner."""

Form = NDArray[np.float64] | None
_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # by the code of the unit: unknown, metre, mm, micron
_MOST_AXES = 7
_FAR = 1e12  # beyond it a qform is no position
_SILENT = logging.Logger("nibabel's remarks", level=logging.CRITICAL + 1)


def suffix_of(path: Path) -> str:
    """Return the ending of a NIfTI file's name, in lower case; "" where it has none."""
    return next((suffix for suffix in ENDINGS if path.name.lower().endswith(suffix)), "")


def stem_of(path: Path) -> str:
    """Return the name of a NIfTI file without its ending."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def files_of(path: Path) -> tuple[Path, Path]:
    """Return the file of the header and that of the voxels; they differ for a pair, of which ``path`` is either.

    Raises:
        InputError: the other file of a pair is missing.
    """
    suffix = suffix_of(path)
    if suffix in ("", ".nii", ".nii.gz"):
        return path, path
    is_header = suffix in PAIR
    other = partner(path)
    if other is None:
        wanted = f"{stem_of(path)}{PAIR[suffix] if is_header else header_suffix(suffix)}"
        what = "voxels" if is_header else "header"
        raise InputError(f"{path}: the file {wanted} with its {what} is missing; put it beside this one.")
    return (path, other) if is_header else (other, path)


def partner(path: Path) -> Path | None:
    """Return the other file of the pair that ``path`` is half of; None where it is missing."""
    suffix = suffix_of(path)
    written = path.name[len(path.name) - len(suffix) :]
    others = PAIR.values() if suffix in PAIR else PAIR.keys()
    for other in sorted(others, key=lambda ending: ending.endswith(".gz") != suffix.endswith(".gz")):
        found = path.with_name(stem_of(path) + (other.upper() if written.isupper() else other))
        if found.is_file():
            return found
    return None


def header_suffix(suffix: str) -> str:
    """Return the ending of the header that belongs to voxels with this ending (".img")."""
    return next(header for header, voxels in PAIR.items() if voxels == suffix)


def header_of(path: Path) -> nib.Nifti1Header:
    """Read the header of a file, or of the pair that it is half of.

    Raises:
        InputError: there is none, or it is damaged.
    """
    source = files_of(path)[0]
    with opened(source, "NIfTI", errors=ERRORS) as stream:
        return read_header(stream, pair=source != files_of(path)[1])


def read_header(stream: Stream, *, pair: bool) -> nib.Nifti1Header:
    """Read the header with which ``stream`` begins; ``pair`` says whether the voxels lie in another file.

    Raises:
        InputError: the header is cut short, or says that the voxels lie elsewhere.
        HeaderDataError, ValueError: it contradicts itself.
    """
    size_field = stream.read_exactly(4, "its header")
    second = 540 in {int.from_bytes(size_field, "little"), int.from_bytes(size_field, "big")}
    header_class = nib.Nifti2Header if second else nib.Nifti1Header
    rest = stream.read_exactly(header_class.sizeof_hdr - 4, "the rest of its header")
    header = header_class(size_field + rest, check=False)
    if not 1 <= int(header["dim"][0]) <= _MOST_AXES:
        raise InputError(
            f"{stream.path}: its header is damaged: it announces no number of axes from 1 to {_MOST_AXES}; "
            "copy or download the file again."
        )
    code = int(header["datatype"])
    if code in data_type_codes.code and not header.get_data_dtype().itemsize:
        kind = data_type_codes.label[code]  # "float128" on most processors, "binary", ...
        raise InputError(f"{stream.path}: its voxels are of the type {kind}, which cannot be read; convert them.")
    codes = {form: int(header[form]) for form in ("sform_code", "qform_code")}
    axes = slice(1, 1 + min(3, int(header["dim"][0])))
    sides = header["pixdim"][axes].copy()
    header.check_fix(logger=_SILENT)
    header["pixdim"][axes] *= sides != 0  # which it has made 1; where they are needed they are refused
    for form, code in codes.items():
        if code != int(header[form]):
            raise InputError(f"{stream.path}: its {form} is {code}, which NIfTI does not define; set a valid one.")
    if bytes(header["magic"].item()).startswith(b"ni") != pair:
        where, ending = ("in the same file", ".nii") if pair else ("in another file", ".hdr")
        name = f"{stem_of(stream.path)}{ending}"
        raise InputError(f"{stream.path}: its header says that the voxels lie {where}; rename it to {name}.")
    return header


def offset_of(stream: Stream, header: nib.Nifti1Header) -> int:
    """Return the number of bytes before the voxels, in the file that they lie in.

    Raises:
        InputError: it is negative.
    """
    offset = int(header["vox_offset"])
    if offset < 0:
        raise cut_short(stream.path, f"its voxels begin {-offset} bytes before the file")
    in_header = bytes(header["magic"].item()).startswith(b"n+")
    return offset or (header.single_vox_offset if in_header else 0)


def grid_of(path: Path, header: nib.Nifti1Header) -> tuple[Grid, tuple[str, ...]]:
    """Return the grid, by the sform before the qform before mere voxel sizes, and what to note about it.

    Raises:
        InputError: the header holds several volumes, none, or no usable affine.
        HeaderDataError, ValueError: the only form contradicts itself.
    """
    shape = volume_shape(path, [int(size) for size in header.get_data_shape()])
    unit = int(header["xyzt_units"]) & 7
    if unit not in _MILLIMETRES:
        raise InputError(f"{path}: its unit of length has the code {unit}, which NIfTI does not define; set it to mm.")
    scale = np.array([[_MILLIMETRES[unit]]] * 3 + [[1.0]])
    with np.errstate(over="ignore", invalid="ignore"):  # `placed` refuses what is not finite
        sform, qform, notes = _forms(path, header)
        if sform is None and qform is None:
            notes.append(
                "neither sform nor qform is set: position and orientation are unknown, only voxel sizes were read"
            )
            sform = np.diag([*(float(size) for size in header["pixdim"][1:4]), 1.0])
        grid, about_axes = placed(path, shape, scale * (sform if sform is not None else qform))
    notes += about_axes
    if sform is not None and qform is not None:
        near = (np.abs(qform) < _FAR).all()
        apart = grid.difference(Grid(grid.shape, scale * qform)).corner_mm if near else math.inf
        if apart > FORM_DIFFERENCE_MM:
            notes.append(f"sform and qform disagree by up to {apart:.3g} mm; the sform was taken")
    return grid, tuple(notes)


def drop_unusable_forms(path: Path, header: nib.Nifti1Header) -> None:
    """Take the code off a form that is set but says nothing: an sform of zeros, a qform that contradicts itself."""
    sform, qform, _ = _forms(path, header)
    for form, code in ((sform, "sform_code"), (qform, "qform_code")):
        if form is None:
            header[code] = 0


def _forms(path: Path, header: nib.Nifti1Header) -> tuple[Form, Form, list[str]]:
    """Return sform and qform, None where they are not set, and a note if one had to be left aside."""
    sform = header.get_sform(coded=True)[0]
    zeros = sform is not None and not sform[:3, :3].any()
    try:
        qform = header.get_qform(coded=True)[0]
    except (HeaderDataError, ValueError):
        if sform is None or zeros:
            raise
        return sform, None, ["its qform contradicts itself; the sform was taken"]
    if not zeros:
        return sform, qform, []
    if qform is None:
        raise InputError(
            f"{path}: its sform is all zeros, and no qform is set; set a valid position and orientation, or convert "
            "the scan anew from its source."
        )
    return None, qform, ["its sform is all zeros; the qform was taken"]
