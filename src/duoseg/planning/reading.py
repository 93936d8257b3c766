"""Reading one case: all its channels on one grid, its label on the same one."""

from __future__ import annotations

import numpy as np

from duoseg.errors import InputError
from duoseg.scans.dataset import Case
from duoseg.scans.formats import read_scan
from duoseg.scans.scan import Grid, Scan
from duoseg.scans.texts import misplacement_text
from duoseg.scans.values import as_integers, require_finite


def read_channels(case: Case) -> tuple[np.ndarray, Grid]:
    """Read a case's images, float32 ``(C, X, Y, Z)`` in the files' axis order, and their grid.

    Raises:
        InputError: a file cannot be read, a voxel is not finite, or two channels lie on different grids.
    """
    first = read_scan(case.images[0])
    voxels = np.empty((len(case.images), *first.grid.shape), np.float32)
    require_finite(first.voxels, first.source)
    voxels[0] = first.voxels
    for index, path in enumerate(case.images[1:], start=1):
        scan = read_scan(path)
        _require_same_grid(scan, first.grid, case)
        require_finite(scan.voxels, path)
        voxels[index] = scan.voxels
    return voxels, first.grid


def read_label(case: Case, grid: Grid) -> np.ndarray:
    """Read a labelled case's label, whole file values ``(X, Y, Z)``, and hold it to its image's grid.

    Raises:
        InputError: the file cannot be read, lies on another grid than the image, or holds other than whole numbers.
    """
    if case.label is None:
        raise ValueError(f"case {case.name} has no label")
    scan = read_scan(case.label)
    _require_same_grid(scan, grid, case)
    return as_integers(scan.voxels, case.label)


def _require_same_grid(scan: Scan, grid: Grid, case: Case) -> None:
    if not grid.matches(scan.grid):
        raise InputError(
            f"{scan.source}: not on the grid of its image: {misplacement_text(scan.grid, grid, case.images[0].name)}. "
            "Resample it onto that grid; `duoseg check` lists all such files."
        )
