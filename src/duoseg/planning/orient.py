"""The canonical axis order (right, anterior, superior): there and back by permutation and flips alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from duoseg.planning.plan import Triple
from duoseg.planning.upright import upright_grid
from duoseg.scans.scan import Grid

BLOCK = 32
"""Voxels along the sides of what is copied at once."""


def to_canonical(voxels: np.ndarray, permutation: Triple, flips: tuple[bool, bool, bool]) -> np.ndarray:
    """Return a view of ``voxels`` (..., X, Y, Z) with its last three axes in canonical order."""
    lead = voxels.ndim - 3
    moved = voxels.transpose(*range(lead), *(lead + axis for axis in permutation))
    return moved[(..., *(slice(None, None, -1 if flip else None) for flip in flips))]


def from_canonical(voxels: np.ndarray, permutation: Triple, flips: tuple[bool, bool, bool]) -> np.ndarray:
    """Undo `to_canonical`; a view as well."""
    lead = voxels.ndim - 3
    turned = voxels[(..., *(slice(None, None, -1 if flip else None) for flip in flips))]
    return turned.transpose(*range(lead), *(lead + int(axis) for axis in np.argsort(permutation)))


def laid_out(view: np.ndarray, dtype: DTypeLike | None = None) -> np.ndarray:
    """Copy a view (..., X, Y, Z), however it is stored, into C order.

    The copy goes block by block: in one go, a scan whose first axis is the fastest would be read against its order,
    which takes almost three times as long.
    """
    result = np.empty(view.shape, view.dtype if dtype is None else dtype)
    x, _, z = view.shape[-3:]
    for i in range(0, x, BLOCK):
        for k in range(0, z, BLOCK):
            block = (..., slice(i, i + BLOCK), slice(None), slice(k, k + BLOCK))
            result[block] = view[block]
    return result


def canonical_spacing(grid: Grid) -> tuple[float, float, float]:
    """Return a grid's voxel sides (mm) in canonical axis order; of a sheared one, those of its upright grid."""
    grid = upright_grid(grid)
    permutation, _ = grid.canonical()
    x, y, z = (float(grid.spacing[axis]) for axis in permutation)
    return x, y, z
