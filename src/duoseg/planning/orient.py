"""The canonical axis order (right, anterior, superior): there and back by permutation and flips alone."""

from __future__ import annotations

import numpy as np

from duoseg.planning.plan import Triple
from duoseg.scans.scan import Grid

Pairs = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


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


def canonical_spacing(grid: Grid) -> tuple[float, float, float]:
    """Return a grid's voxel sides (mm) in canonical axis order."""
    permutation, _ = grid.canonical()
    x, y, z = (float(grid.spacing[axis]) for axis in permutation)
    return x, y, z


def content_box(voxels: np.ndarray) -> Pairs:
    """Return the bounding box of the non-zero voxels of ``(C, X, Y, Z)``; the whole if there is none.

    A voxel counts where any channel is non-zero.
    """
    content = (voxels != 0).any(axis=0)
    pairs: list[tuple[int, int]] = []
    for axis in range(3):
        inside = np.flatnonzero(content.any(axis=tuple(other for other in range(3) if other != axis)))
        pairs.append((int(inside[0]), int(inside[-1]) + 1) if inside.size else (0, content.shape[axis]))
    return pairs[0], pairs[1], pairs[2]
