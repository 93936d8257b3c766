"""From what a header says to a grid, with the same rules for every format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duoseg.errors import InputError
from duoseg.scans.scan import Grid
from duoseg.scans.texts import mm_text, shape_text

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""NRRD, MetaImage and DICOM count to the left and to the back."""

_FLAT = 1e-4  # volume of the cell that unit axes span; 1 at right angles
_SHORTEST_MM, _LONGEST_MM = 1e-6, 1e4  # of a voxel side
_GREATEST = 1e30  # of numbers with which to calculate
_MOST_SKEW_DEGREES = 60.0
_FARTHEST_MM = 1e6  # of the first voxel from the origin


def volume_shape(path: Path, sizes: Sequence[int]) -> tuple[int, int, int]:
    """Return the three sizes of a volume; further axes must have the size 1.

    Raises:
        InputError: there are several volumes, fewer than three axes, or an axis without voxels.
    """
    kept = list(sizes)
    while len(kept) > 3 and kept[-1] == 1:
        kept.pop()
    if len(kept) < 3 or min(kept) < 1:
        raise InputError(f"{path}: is not a volume ({shape_text(kept) or 'no'} voxels); three axes are needed.")
    if len(kept) > 3:
        raise InputError(
            f"{path}: holds {math.prod(kept[3:])} volumes ({shape_text(kept)} voxels), not one; "
            "save each frame or channel as a file of its own (<case>_0000, <case>_0001, ...)."
        )
    return kept[0], kept[1], kept[2]


def placed(path: Path, shape: tuple[int, int, int], affine: NDArray[np.float64]) -> tuple[Grid, tuple[str, ...]]:
    """Return the grid of ``shape`` with this ``affine`` (voxel index to RAS+ mm), and what to note about it.

    Raises:
        InputError: the affine is not finite, not invertible, or of sizes that no scan has.
    """
    finite = bool((np.abs(affine) < _GREATEST).all())  # nor is NaN less
    sides = np.linalg.norm(affine[:3, :3], axis=0) if finite else np.zeros(3)
    if sides.min() == 0 or abs(np.linalg.det(affine[:3, :3] / sides)) < _FLAT:
        raise InputError(
            f"{path}: its affine is not invertible (two axes coincide, a voxel side is zero, or a value is not "
            "finite); convert the scan anew from its source, or set a valid position and orientation."
        )
    if sides.min() < _SHORTEST_MM or sides.max() > _LONGEST_MM or np.abs(affine[:3, 3]).max() > _FARTHEST_MM:
        raise InputError(
            f"{path}: its voxels of {mm_text(sides)} at {mm_text(affine[:3, 3])} are of no scan; "
            "convert it anew from its source."
        )
    grid = Grid(shape, affine)
    if grid.skew_degrees > _MOST_SKEW_DEGREES:
        raise InputError(
            f"{path}: its axes are {grid.skew_degrees:.3g} degrees off right angles, more than any scanner tilts; "
            "convert the scan anew from its source."
        )
    if not grid.is_sheared:
        return grid, ()
    return grid, (
        f"its axes are {grid.skew_degrees:.3g} degrees off right angles, as after a tilted gantry; "
        "it is resampled on its true affine",
    )
