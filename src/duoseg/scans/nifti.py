"""NIfTI-1 and NIfTI-2 files (``.nii``, ``.nii.gz``), read whole and verified to the last byte.

The header is parsed by nibabel. The voxels are read here, in one pass, because a checksum at the end of a
compressed file is only verified by reading up to it, and because a file that is too short must be named as
such.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from duoseg.errors import InputError
from duoseg.files import atomic_path
from duoseg.scans.permission import readable
from duoseg.scans.scan import Grid, Scan
from duoseg.scans.texts import shape_text

SUFFIXES = (".nii.gz", ".nii")

_MILLIMETRES_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
SKEW_DEGREES = 1.0  # axes further than this from right angles are pointed out
_LARGEST_COMPRESSION = 1100  # deflate cannot shrink data by more than a factor of about 1032
ByteFile = BufferedReader | gzip.GzipFile
_READ_ERRORS = (OSError, zlib.error, HeaderDataError, WrapStructError, ValueError)


def can_read(path: Path) -> bool:
    """Return whether the name of ``path`` is that of a NIfTI file."""
    return path.name.lower().endswith(SUFFIXES)


def read_scan(path: Path) -> Scan:
    """Read voxels and grid; scale factors are applied.

    Integers without scale factors keep their type. A time axis of one frame is dropped.

    Raises:
        InputError: the file is missing, no NIfTI file, cut short, damaged, not a volume of numbers, or
            without a usable affine.
    """
    with _opened(path) as file:
        header = _read_header(path, file)
        grid, notes = _grid(path, header)
        voxels = _read_voxels(path, file, header)
    return Scan(_scaled(path, voxels, header).reshape(grid.shape, order="F"), grid, path, notes)


def read_grid(path: Path) -> Grid:
    """Read the grid alone, from the header.

    Raises:
        InputError: as for ``read_scan``, except for what only the voxels show.
    """
    return _grid(path, _header_of(path))[0]


def write_like(path: Path, voxels: np.ndarray, *, like: Path) -> None:
    """Write ``voxels`` (X, Y, Z) with the geometry of ``like``: affine, both forms and codes, units.

    Integers are stored in the smallest type that holds them, everything else as float32; the template's type,
    scale factors, display range, intent and extensions are not taken over.

    Raises:
        InputError: ``like`` cannot be read, or its grid has another shape than ``voxels``.
    """
    template = _header_of(like)
    shape = _grid(like, template)[0].shape
    if voxels.shape != shape:
        raise InputError(
            f"{path}: {shape_text(voxels.shape)} voxels do not fit {like} ({shape_text(shape)}); "
            "write a mask beside the scan that it was made from."
        )
    header = template.copy()
    header.extensions.clear()
    header["cal_min"] = header["cal_max"] = 0
    header.set_intent("none")
    _save(path, voxels, header)


def write(path: Path, voxels: np.ndarray, *, grid: Grid) -> None:
    """Write ``voxels`` (X, Y, Z) on ``grid``, in mm, with both forms set; types as in ``write_like``."""
    header = nib.Nifti1Header()
    header.set_xyzt_units("mm")
    header.set_data_shape(grid.shape)
    header.set_qform(grid.affine, code="scanner")
    header.set_sform(grid.affine, code="scanner")
    _save(path, voxels, header)


def smallest_type(voxels: np.ndarray) -> np.dtype:
    """Return the smallest NIfTI type that holds these values if they are integers, else float32."""
    if voxels.dtype.kind not in "biu":
        return np.dtype(np.float32)
    low, high = (int(voxels.min()), int(voxels.max())) if voxels.size else (0, 0)
    for kind in (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.int64)


def _save(path: Path, voxels: np.ndarray, header: nib.Nifti1Header) -> None:
    dtype = smallest_type(voxels)
    header.set_data_dtype(dtype)
    header.set_data_shape(voxels.shape)
    header.set_slope_inter(1, 0)
    image_class = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    with atomic_path(path) as temporary:
        image_class(np.asarray(voxels, dtype=dtype), None, header).to_filename(temporary)


@contextmanager
def _opened(path: Path) -> Iterator[ByteFile]:
    """Open a file to be read; whatever the libraries below say of its content becomes an ``InputError``."""
    try:
        with readable(path), _open(path) as file:
            yield file
    except InputError:
        raise
    except EOFError as error:
        raise _cut_short(path, "its compressed data ends too early") from error
    except _READ_ERRORS as error:
        raise InputError(f"{path}: the file is damaged or not NIfTI ({error}); copy or download it again.") from error


def _open(path: Path) -> ByteFile:
    """Open by content, not by name: a compressed file called .nii is common and harmless."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.GzipFile(path) if compressed else path.open("rb")


def _header_of(path: Path) -> nib.Nifti1Header:
    with _opened(path) as file:
        return _read_header(path, file)


def _read_header(path: Path, file: ByteFile) -> nib.Nifti1Header:
    size_field = file.read(4)
    file.seek(0)
    sizes = {int.from_bytes(size_field, "little"), int.from_bytes(size_field, "big")}
    header_class = nib.Nifti2Header if 540 in sizes else nib.Nifti1Header
    if not sizes & {348, 540}:
        raise InputError(f"{path}: this is not a NIfTI file; convert the scan to NIfTI or mend its name.")
    return header_class.from_fileobj(file)


def _volume_shape(path: Path, header: nib.Nifti1Header) -> tuple[int, int, int]:
    sizes = [int(size) for size in header.get_data_shape()]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) > 3:
        raise InputError(
            f"{path}: holds {math.prod(sizes[3:])} volumes ({shape_text(sizes)} voxels), not one; "
            "save each frame or channel as a file of its own (<case>_0000, <case>_0001, ...)."
        )
    if len(sizes) < 3 or min(sizes) < 1:
        raise InputError(f"{path}: is not a volume ({shape_text(sizes) or 'no'} voxels); three axes are needed.")
    return sizes[0], sizes[1], sizes[2]


def _grid(path: Path, header: nib.Nifti1Header) -> tuple[Grid, tuple[str, ...]]:
    unit = header.get_xyzt_units()[0]
    to_mm = np.diag([_MILLIMETRES_PER_UNIT.get(str(unit), 1.0)] * 3 + [1.0])
    sform = header.get_sform(coded=True)[0]
    qform = header.get_qform(coded=True)[0]
    notes: list[str] = []
    if sform is None and qform is None:
        notes.append("neither sform nor qform is set: position and orientation are unknown, only voxel sizes were read")
        sform = np.diag([*(float(size) for size in header["pixdim"][1:4]), 1.0])
    chosen = to_mm @ (sform if sform is not None else qform)
    if not np.isfinite(chosen).all() or abs(np.linalg.det(chosen[:3, :3])) < 1e-9:
        raise InputError(
            f"{path}: its affine is not invertible (two axes coincide, or a voxel side is zero); "
            "convert the scan anew from its source, or set a valid sform."
        )
    grid = Grid(_volume_shape(path, header), chosen)
    if grid.skew_degrees > SKEW_DEGREES:
        notes.append(
            f"its axes are {grid.skew_degrees:.3g} degrees off right angles, as after a tilted gantry; distances are "
            "measured as if they were at right angles"
        )
    if sform is not None and qform is not None:
        apart = grid.difference(Grid(grid.shape, to_mm @ qform))
        if apart.corner_voxels > 0.1:
            notes.append(f"sform and qform disagree by up to {apart.corner_mm:.3g} mm; the sform was taken")
    return grid, tuple(notes)


def _read_voxels(path: Path, file: ByteFile, header: nib.Nifti1Header) -> np.ndarray:
    dtype = header.get_data_dtype()
    if dtype.kind not in "biuf":
        raise InputError(f"{path}: its voxels are colours or complex numbers, not grey values; convert them.")
    count, offset = math.prod(header.get_data_shape()), int(header.get_data_offset())
    on_disk, limit = path.stat().st_size, _LARGEST_COMPRESSION if isinstance(file, gzip.GzipFile) else 1
    if offset + count * dtype.itemsize > on_disk * limit:
        raise _cut_short(path, f"{offset + count * dtype.itemsize} bytes are announced, the file has {on_disk}")
    file.seek(offset)
    voxels = np.empty(count, dtype=dtype)
    view, done = voxels.view(np.uint8).data, 0
    while done < len(view):
        got = file.readinto(view[done:])
        if not got:
            raise _cut_short(path, f"{len(view)} bytes of voxels are announced, {done} are there")
        done += got
    while file.read(1 << 20):  # up to the end, where gzip verifies its checksum
        pass
    return voxels


def _scaled(path: Path, voxels: np.ndarray, header: nib.Nifti1Header) -> np.ndarray:
    """Apply the scale factors with one rounding, and bring the voxels to native byte order."""
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise InputError(f"{path}: its scale factors are not usable ({error}); convert the scan anew.") from error
    if voxels.dtype.itemsize > 8:
        voxels = voxels.astype(np.float64)
    voxels = voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
    if slope is None or (slope == 1 and not intercept):
        return voxels
    narrow = np.can_cast(voxels.dtype, np.float32)
    scaled = np.empty(voxels.shape, np.float32 if narrow else np.float64)
    block = 1 << 20  # so that the intermediate float64 values never need the memory of a whole scan
    for start in range(0, voxels.size, block):
        part = slice(start, start + block)
        scaled[part] = voxels[part].astype(np.float64) * slope + (intercept or 0.0)
    return scaled


def _cut_short(path: Path, how: str) -> InputError:
    return InputError(f"{path}: the file is cut short: {how}; copy or download it again.")
