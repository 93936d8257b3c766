"""Distances between the surfaces of two masks, in mm.

A surface is a set of voxels: the mask minus its erosion by the 6-neighbourhood, where everything beyond the
image border is outside. Distances are Euclidean, between voxel centres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import edt
import numpy as np
from scipy.spatial import KDTree

from duoseg.scans.scan import filled_box

Box = tuple[slice, ...]

ROUNDING_MM = 1e-5
"""Distances come from a float32 transform: a pair exactly at the tolerance must not fail by rounding."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Distance in mm from each surface voxel of one mask to the nearest of the other; neither is empty."""

    from_prediction: np.ndarray
    """(n,) float64, one value per surface voxel of the prediction."""
    from_reference: np.ndarray
    """(m,) float64, one value per surface voxel of the reference."""

    @property
    def hd95(self) -> float:
        """The larger of the two directed 95th percentiles (linear interpolation), in mm."""
        return float(max(np.percentile(self.from_prediction, 95), np.percentile(self.from_reference, 95)))

    @property
    def assd(self) -> float:
        """Average symmetric surface distance: the mean over the voxels of both surfaces together, in mm."""
        count = self.from_prediction.size + self.from_reference.size
        return float((self.from_prediction.sum() + self.from_reference.sum()) / count)

    def nsd(self, tolerance_mm: float) -> float:
        """Share of both surfaces' voxels within ``tolerance_mm`` of the other surface, 0 to 1.

        The normalised surface Dice of Nikolov et al. (2021), counting voxels, not surface areas.
        """
        limit = tolerance_mm + ROUNDING_MM
        within = np.count_nonzero(self.from_prediction <= limit) + np.count_nonzero(self.from_reference <= limit)
        return within / (self.from_prediction.size + self.from_reference.size)


def surface(mask: np.ndarray, unknown: np.ndarray | None = None) -> np.ndarray:
    """Return the voxels of a boolean ``mask`` that have a 6-neighbour outside it, as a boolean array.

    Voxels marked in ``unknown`` are neither inside nor outside: they are not surface, and make no neighbour
    surface.
    """
    inside = mask if unknown is None else mask | unknown
    core = inside.copy()
    for axis in range(mask.ndim):
        moved, source = np.moveaxis(core, axis, 0), np.moveaxis(inside, axis, 0)
        moved[1:] &= source[:-1]
        moved[:-1] &= source[1:]
        moved[0] = False
        moved[-1] = False
    found = mask & ~core
    return found if unknown is None else found & ~unknown


def bounding_box(mask: np.ndarray, *, margin: int = 0) -> Box | None:
    """Return the smallest box of a boolean ``mask``, grown by ``margin`` voxels; ``None`` if empty."""
    box = filled_box(mask)
    if box is None:
        return None
    grown = zip(box, mask.shape, strict=True)
    return tuple(slice(max(0, first - margin), min(size, end + margin)) for (first, end), size in grown)


def surface_distances(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float],
    *,
    unknown: np.ndarray | None = None,
    axes: np.ndarray | None = None,
) -> SurfaceDistances | None:
    """Measure both directed sets of distances between two boolean masks (X, Y, Z), ``spacing`` in mm.

    ``axes`` (3, 3), the step of each voxel axis in mm as a column, replaces the spacing where axes are not at right
    angles. ``None`` where either mask has no surface. The work is confined to the box around both masks with a margin
    of one voxel, so that each mask voxel keeps all its neighbours: the result is that of the whole array.
    """
    box = bounding_box(prediction | reference, margin=1)
    if box is None:
        return None
    near = None if unknown is None else unknown[box]
    of_prediction = surface(np.ascontiguousarray(prediction[box]), near)
    of_reference = surface(np.ascontiguousarray(reference[box]), near)
    if not of_prediction.any() or not of_reference.any():
        return None
    if axes is not None:
        points = [np.argwhere(mask) @ np.asarray(axes).T for mask in (of_prediction, of_reference)]
        return SurfaceDistances(
            from_prediction=KDTree(points[1]).query(points[0])[0], from_reference=KDTree(points[0]).query(points[1])[0]
        )
    return SurfaceDistances(
        from_prediction=_distance_to(of_reference, spacing)[of_prediction].astype(np.float64),
        from_reference=_distance_to(of_prediction, spacing)[of_reference].astype(np.float64),
    )


def _distance_to(target: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Distance in mm of every voxel to the nearest voxel of ``target``, which must not be empty.

    ``black_border`` stays off: the edge of the box is no surface.
    """
    anisotropy = tuple(float(side) for side in spacing)
    return edt.edt(np.logical_not(target, order="C"), anisotropy=anisotropy, black_border=False, parallel=1)
