"""Reading one case: all its channels on one grid, its label on the same one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.scans.dataset import Case
from duoseg.scans.formats import read_scan
from duoseg.scans.scan import Grid, Scan


def read_channels(case: Case) -> tuple[np.ndarray, Grid]:
    """Read a case's images, float32 ``(C, X, Y, Z)`` in the files' axis order, and their grid.

    Raises:
        InputError: a file cannot be read, a voxel is not finite, or two channels lie on different grids.
    """
    first = read_scan(case.images[0])
    voxels = np.empty((len(case.images), *first.grid.shape), np.float32)
    voxels[0] = _finite(first)
    for index, path in enumerate(case.images[1:], start=1):
        scan = read_scan(path)
        _require_same_grid(scan.grid, first.grid, path, case.images[0])
        voxels[index] = _finite(scan)
    return voxels, first.grid


def read_label(case: Case, grid: Grid) -> np.ndarray:
    """Read a labelled case's label, file values of shape ``(X, Y, Z)``, and hold it to its image's grid.

    Raises:
        InputError: the file cannot be read or lies on another grid than the image.
    """
    if case.label is None:
        raise ValueError(f"case {case.name} has no label")
    scan = read_scan(case.label)
    _require_same_grid(scan.grid, grid, case.label, case.images[0])
    return scan.voxels


def _finite(scan: Scan) -> np.ndarray:
    bad = np.count_nonzero(~np.isfinite(scan.voxels))
    if bad:
        raise InputError(
            f"{scan.source}: {bad} of {scan.voxels.size} voxels are NaN or infinite. "
            "Replace them (0 stands for outside the scan) and try again."
        )
    return scan.voxels


def _require_same_grid(grid: Grid, other: Grid, path: Path, other_path: Path) -> None:
    if grid.matches(other):
        return
    if tuple(grid.shape) != tuple(other.shape):
        wrong = f"its shape {tuple(grid.shape)} is not {tuple(other.shape)}"
    else:
        apart = float(np.linalg.norm(grid.corners() - other.corners(), axis=1).max())
        wrong = f"its voxels lie up to {apart:.3g} mm off"
    raise InputError(
        f"{path}: not on the grid of {other_path.name}: {wrong}. "
        "Resample it onto that grid; `duoseg check` lists all such files."
    )
