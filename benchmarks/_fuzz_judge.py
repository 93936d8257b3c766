"""What becomes of one damaged scan: read or refused as it should be, or what went wrong."""

from __future__ import annotations

import os
import re
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import highdicom
import nibabel as nib
import nrrd
import numpy as np
import SimpleITK as sitk
from _fuzz_samples import SEGMENTS

from duoseg.errors import InputError
from duoseg.scans.formats import mask_suffix, read_grid, read_scan, source_files, write_like
from duoseg.scans.scan import Grid, Scan

LIMIT_S = 5.0
_TOLERANCE = 1e-3  # mm, of corners within a metre of the origin; of those further away, as a share
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
}
_UNITS = {"cm": 10.0, "m": 1e3, "um": 1e-3, "µm": 1e-3, "nm": 1e-6}
_NIFTI_UNITS = {1: 1e3, 3: 1e-3}


@dataclass(frozen=True)
class Verdict:
    """What became of one scan.

    Attributes:
        read: whether it was read; else it was refused.
        seconds: that reading took.
        fault: what went wrong; "" where nothing did.
    """

    read: bool
    seconds: float
    fault: str = ""


def judge(path: Path, folder: Path, output: int, *, with_seg: bool) -> Verdict:
    """Read a damaged scan, and hold what comes of it to the rules.

    Args:
        path: the scan.
        folder: its folder, with which every message must begin.
        output: descriptor of the file that takes all output; it must not grow.
        with_seg: whether a mask of DICOM is to be written, which takes a tenth of a second.
    """
    before, began = os.fstat(output).st_size, time.perf_counter()
    scan, fault = None, ""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            scan, fault = _read(path, folder)
        except Exception as error:
            fault = f"{type(error).__name__}: {error} ({_where(error)})"
        took = time.perf_counter() - began
        fault = fault or (f"warned: {warned[0].message}" if warned else "")
    fault = fault or ("it printed something" if os.fstat(output).st_size > before else "")
    fault = fault or (f"it took {took:.1f} s" if took > LIMIT_S else "")
    fault = fault or (_missing(scan, path) if scan else "")
    if scan and not fault and (with_seg or mask_suffix(path) != ".dcm"):
        fault = _misplaced(scan, folder)
    return Verdict(scan is not None, took, fault)


def _read(path: Path, folder: Path) -> tuple[Scan | None, str]:
    """Return the scan, None where it is refused, and what is wrong with the answers."""
    faults, scan, grid = [], None, None
    for read in (source_files, read_grid, read_scan):
        try:
            found = read(path)
        except InputError as error:
            message = str(error)
            if not message.startswith(str(folder)) or not message.isprintable():
                faults.append(f"message: {message!r}")
            continue
        if isinstance(found, Scan):
            scan = found
        elif isinstance(found, Grid):
            grid = found
    if scan and not grid:
        faults.append("read_scan reads what read_grid refuses")
    if scan and grid and (scan.grid.shape != grid.shape or not np.array_equal(scan.grid.affine, grid.affine)):
        faults.append(f"read_grid says {grid}, read_scan {scan.grid}")
    if scan and (scan.voxels.shape != scan.grid.shape or not scan.voxels.dtype.isnative):
        faults.append(f"voxels {scan.voxels.shape} {scan.voxels.dtype} on {scan.grid}")
    if scan and not all(note.isprintable() for note in scan.notes):
        faults.append(f"notes: {scan.notes}")
    return scan, "; ".join(faults)


def _missing(scan: Scan, path: Path) -> str:
    """Say how many slices of a series are left out without a word; "" where all are there."""
    files = len(list(path.iterdir())) if path.is_dir() else 0
    return f"{files} slices became {scan.grid.shape[2]}" if files > scan.grid.shape[2] and not scan.notes else ""


def _misplaced(scan: Scan, folder: Path) -> str:
    """Write a mask for the scan, read it by another library, and say where it is wrong; "" where it is right."""
    mask = (np.indices(scan.grid.shape).sum(axis=0) % 3).astype(np.uint8)
    path = folder / f"mask{mask_suffix(scan.source)}"
    try:
        write_like(path, mask, like=scan.source, segments=SEGMENTS)
    except InputError as error:  # a series that lacks what a SEG must refer to, or is a SEG itself
        return "" if path.suffix == ".dcm" else f"no mask: {error}"
    except Exception as error:
        return f"write_like: {type(error).__name__}: {error} ({_where(error)})"
    try:
        voxels, affine = _READERS[path.suffix](path)
    except Exception as error:
        return f"another reader refuses the mask: {type(error).__name__}: {error}"
    found = Grid(scan.grid.shape, affine)
    apart = scan.grid.difference(found).corner_mm
    if apart > _TOLERANCE * max(1.0, np.abs(scan.grid.corners()).max() / 1000):
        return f"the mask lies {apart:.3g} mm away: {scan.grid.affine.tolist()} became {affine.tolist()}"
    return "" if np.array_equal(voxels.reshape(mask.shape, order="F"), mask) else "the mask has other voxels"


def _by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Pair)  # of which all its classes of NIfTI are kinds
    header = image.header
    affine = header.get_sform(coded=True)[0]
    if affine is None:
        affine = header.get_qform(coded=True)[0]
    if affine is None:
        affine = np.diag([*header["pixdim"][1:4], 1.0]).astype(float)
    unit = _NIFTI_UNITS.get(int(header["xyzt_units"]) & 7, 1.0)
    return np.asarray(image.dataobj), np.diag([unit, unit, unit, 1.0]) @ affine


def _by_pynrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    voxels, header = nrrd.read(str(path))
    affine, to_ras = np.eye(4), (-1, -1, 1)
    if "space directions" in header:
        affine[:3, :3] = header["space directions"].T
        affine[:3, 3] = header.get("space origin", np.zeros(3))
        to_ras = _SPACES.get(str(header.get("space", "")).lower(), to_ras)
    elif "spacings" in header:
        affine[:3, :3] = np.diag(header["spacings"])
    units = [_unit(word) for word in header.get("space units", header.get("units", []))]
    return voxels, np.diag([*to_ras, 1.0]) @ np.diag([*(units if len(units) == 3 else [1.0] * 3), 1.0]) @ affine


def _by_simpleitk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    said = re.search(rb"^DistanceUnits\s*[=:]\s*(.*?)\s*$", path.read_bytes()[:5000], re.MULTILINE)
    unit = _unit(said[1].decode("utf-8", "replace")) if said else 1.0
    return sitk.GetArrayFromImage(image).T, _LPS @ np.diag([unit, unit, unit, 1.0]) @ affine


def _by_highdicom(path: Path) -> tuple[np.ndarray, np.ndarray]:
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    # highdicom's axes are slices, rows, columns; its slices run against the normal of the image.
    affine = _LPS @ volume.affine[:, [2, 1, 0, 3]]
    affine[:, 3] += affine[:, 2] * (volume.array.shape[0] - 1)
    affine[:, 2] *= -1
    return volume.array[::-1].transpose(2, 1, 0), affine


def _where(error: Exception) -> str:
    """Name the innermost lines of the traceback."""
    return " < ".join(
        f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[:-6:-1]
    )


def _unit(word: str) -> float:
    return _UNITS.get(word.strip().lower().removesuffix("s"), 1.0)


_READERS: dict[str, Callable[[Path], tuple[np.ndarray, np.ndarray]]] = {
    ".nii": _by_nibabel,
    ".gz": _by_nibabel,
    ".hdr": _by_nibabel,
    ".nrrd": _by_pynrrd,
    ".mha": _by_simpleitk,
    ".mhd": _by_simpleitk,
    ".dcm": _by_highdicom,
}
