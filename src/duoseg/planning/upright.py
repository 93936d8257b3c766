"""Sheared scans, as of a CT with a tilted gantry: onto a grid at right angles, and back.

A network sees voxels as if their axes were at right angles. Where they are not, a scan is sampled linearly, at its
true positions, on a grid that covers it: two of its axes stay, the third becomes their normal. For a tilted gantry
this moves every slice within its own plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from duoseg.planning.plan import Triple
from duoseg.scans.scan import Grid

Row = tuple[float, float, float, float]
Matrix = tuple[Row, Row, Row, Row]

ROUNDING = 1e-6
"""Of the distance of a sample from a scan's middle."""


@dataclass(frozen=True)
class Shear:
    """Where a sheared scan lies in the upright grid that stands for it.

    Attributes:
        shape: the sheared scan's shape.
        to_upright: (4, 4), from its voxel index to that of the upright grid.
    """

    shape: Triple
    to_upright: Matrix

    @classmethod
    def between(cls, sheared: Grid, upright: Grid) -> Shear:
        """Return how two grids of the same world lie to each other."""
        return cls(sheared.shape, as_matrix(np.linalg.solve(upright.affine, sheared.affine).tolist()))


def as_matrix(rows: Sequence[Sequence[float]]) -> Matrix:
    """Return four rows of four numbers as plain tuples."""
    first, second, third, last = ((float(a), float(b), float(c), float(d)) for a, b, c, d in rows)
    return first, second, third, last


def upright_grid(grid: Grid) -> Grid:
    """Return the grid itself where its axes are at right angles, else one in canonical order that covers it."""
    if not grid.is_sheared:
        return grid
    grid = grid.reordered(grid.canonical())  # the result must not depend on how the axes are stored
    sides = grid.affine[:3, :3]
    unit = sides / np.linalg.norm(sides, axis=0)
    cosines = np.abs(unit.T @ unit)
    # The pair nearest to right angles stays; of equal ones that of the finer voxels, so the plane of a CT's slices.
    third = min(range(3), key=lambda axis: (cosines[(axis + 1) % 3, (axis + 2) % 3].round(3), -grid.spacing[axis]))
    first, second = (axis for axis in range(3) if axis != third)
    turned = np.empty((3, 3))
    turned[:, first] = unit[:, first]
    rest = unit[:, second] - unit[:, first] * (unit[:, first] @ unit[:, second])
    turned[:, second] = rest / np.linalg.norm(rest)
    normal = np.cross(turned[:, first], turned[:, second])
    turned[:, third] = normal * np.sign(normal @ unit[:, third])
    spacing = np.einsum("ij,ij->j", turned, sides)
    corners = grid.corners() @ turned
    low, high = corners.min(axis=0), corners.max(axis=0)
    x, y, z = (int(np.ceil((span / side).round(6))) + 1 for span, side in zip(high - low, spacing, strict=True))
    affine = np.eye(4)
    affine[:3, :3] = turned * spacing
    affine[:3, 3] = turned @ low
    return Grid((x, y, z), affine)


def straighten(
    voxels: NDArray[np.float32], shear: Shear, shape: Triple
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Sample an image (C, X, Y, Z) of a sheared scan on its upright grid of ``shape``, and say what lies within it.

    Beyond the scan a channel has its lowest value, which is that of air. The second result, (X, Y, Z), is False there:
    nobody has measured these voxels, so they must not count in what is measured of the scan.
    """
    straight, within = np.empty((len(voxels), *shape), np.float32), np.ones(shape, bool)
    for source, target in zip(voxels, straight, strict=True):
        within = sample(source, np.linalg.inv(shear.to_upright), target, outside=float(source.min()))
    return straight, within


def straighten_mask(mask: NDArray[np.bool_], shear: Shear, shape: Triple, *, outside: float) -> NDArray[np.float32]:
    """Sample a mask (X, Y, Z) of a sheared scan on its upright grid: shares 0 to 1, ``outside`` beyond the scan."""
    share = np.empty(shape, np.float32)
    sample(mask.astype(np.float32), np.linalg.inv(shear.to_upright), share, outside=outside)
    return share


def sample(
    source: NDArray[np.float32], matrix: NDArray, target: NDArray[np.float32], *, outside: float
) -> NDArray[np.bool_]:
    """Fill ``target`` with linear samples of ``source`` at ``matrix @ (index, 1)``; beyond its voxels lies ``outside``.

    A voxel reaches half a side beyond its centre, as everywhere in preparation: there the border's value counts.
    Returns which of the samples lie within a voxel.
    """
    place = (matrix[:3, :3], matrix[:3, 3])
    affine_transform(source, *place, output_shape=target.shape, output=target, order=1, mode="nearest")
    inside = np.empty(target.shape, np.uint8)
    whole = np.broadcast_to(np.uint8(1), source.shape)
    # a sample on an outer face is inside on either side: it must not depend on the order in which axes are stored
    middle = (np.array(source.shape) - 1) / 2
    closer = ((1 - ROUNDING) * place[0], middle + (1 - ROUNDING) * (place[1] - middle))
    affine_transform(whole, *closer, output_shape=target.shape, output=inside, order=0, mode="grid-constant", cval=0)
    target[inside == 0] = outside
    return inside.view(np.bool_)
