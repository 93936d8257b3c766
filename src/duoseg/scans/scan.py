"""A scan is voxels on a grid, and a grid knows where its voxels lie in the body.

World coordinates are RAS+ millimetres throughout (x to the right, y to the front, z to the top), as in
nibabel.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from nibabel.orientations import aff2axcodes, io_orientation

from duoseg.scans.origins import NO_ORIGIN, Origin
from duoseg.scans.texts import mm_text, shape_text

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Reordering = tuple[tuple[int, int, int], tuple[bool, bool, bool]]
"""Axis permutation, then flips of the permuted axes: ``np.flip(voxels.transpose(permutation), flipped)``."""

Pairs = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""A box of voxels: first and one-past-last along each axis."""

MATCH_MM = 0.01
MATCH_SHARE_OF_VOXEL = 0.01
MOST_SHARE_OF_VOXEL = 0.1
"""No tolerance is larger than this share of a voxel's side: some voxels are microns wide."""

MOST_VOXELS_APART = 100_000

SHEAR_DEGREES = 0.1
"""Axes further than this from right angles count as sheared: 0.5 mm over 300 mm, far more than headers round."""


@dataclass(frozen=True)
class GridDifference:
    """How far apart two grids are.

    Attributes:
        same_shape: whether both have as many voxels along each axis.
        corner_mm: the greatest distance between corresponding corner voxels' centres, in mm.
        corner_voxels: the same, in units of the smallest voxel side of the first grid.
        reordered: whether both hold the same points in the world, stored in another axis order or direction.
    """

    same_shape: bool
    corner_mm: float
    corner_voxels: float
    reordered: bool


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxel centres of a scan in the world.

    Attributes:
        shape: number of voxels along each axis.
        affine: (4, 4) float64, from voxel index to RAS+ mm; read-only.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Take a private, read-only float64 copy of the affine."""
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4):
            raise ValueError(f"an affine has the shape (4, 4), not {affine.shape}")
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)

    def __repr__(self) -> str:
        """Return shape, spacing and axes in one line."""
        return f"Grid({shape_text(self.shape)}, {mm_text(self.spacing)}, {self.orientation})"

    @cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along each axis, in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @cached_property
    def orientation(self) -> str:
        """Axis codes of the closest canonical order: "RAS" means that the first axis runs to the right."""
        return "".join(map(str, aff2axcodes(self.affine)))

    @property
    def skew_degrees(self) -> float:
        """How far the axes are from being at right angles to each other, at most, in degrees."""
        axes = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        cosines = (axes.T @ axes)[np.triu_indices(3, 1)]
        return float(np.degrees(np.arcsin(np.abs(cosines).max().clip(max=1.0))))

    @property
    def is_sheared(self) -> bool:
        """Whether the axes are not at right angles to each other, as after a tilted gantry."""
        return self.skew_degrees > SHEAR_DEGREES

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel, in millilitres; right for sheared axes, too."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def corners(self) -> NDArray[np.float64]:
        """Return the centres of the eight corner voxels, (8, 3), in mm."""
        index = np.array(list(itertools.product(*((0, size - 1) for size in self.shape))), dtype=np.float64)
        return index @ self.affine[:3, :3].T + self.affine[:3, 3]

    def reordered(self, reordering: Reordering) -> Grid:
        """Return the grid of ``np.flip(voxels.transpose(permutation), flipped_axes)``."""
        permutation, flips = reordering
        affine = self.affine.copy()
        for axis, (source, flip) in enumerate(zip(permutation, flips, strict=True)):
            column = self.affine[:, source]
            affine[:, axis] = -column if flip else column
            if flip:
                affine[:, 3] += column * (self.shape[source] - 1)
        x, y, z = (self.shape[source] for source in permutation)
        return Grid((x, y, z), affine)

    def canonical(self) -> Reordering:
        """Return the permutation and flips that bring the array to the closest canonical (RAS) axis order.

        Axis ``i`` of the result is axis ``permutation[i]`` of the array, reversed where ``flips[i]``.
        """
        return _reordering(self.affine)

    def difference(self, other: Grid) -> GridDifference:
        """Measure how far ``other`` lies from this grid, and whether only its axis order is another."""
        millimetres = self._corner_distance(other)
        return GridDifference(
            same_shape=self.shape == other.shape,
            corner_mm=millimetres,
            corner_voxels=millimetres / min(self.spacing),
            reordered=not self.matches(other) and self.matches(other.reordered(self._axes_of(other))),
        )

    def matches(self, other: Grid) -> bool:
        """Return whether shapes agree, and corners to 0.01 mm or 1% of the smallest voxel side, but not to over 10%."""
        side = min(self.spacing)
        tolerance = min(max(MATCH_MM, MATCH_SHARE_OF_VOXEL * side), MOST_SHARE_OF_VOXEL * side)
        return self.shape == other.shape and self._corner_distance(other) <= tolerance

    def _corner_distance(self, other: Grid) -> float:
        return float(np.linalg.norm(self.corners() - other.corners(), axis=1).max())

    def box_of(self, other: Grid) -> tuple[Reordering, Pairs] | None:
        """Return how to store voxels on ``other`` as this grid does, and the box they fill; None if they fill none."""
        placed = self._place_of(other)
        if placed is None:
            return None
        inside = all(low >= 0 and high <= size for (low, high), size in zip(placed[1], self.shape, strict=True))
        return placed if inside else None

    def union(self, other: Grid) -> Grid | None:
        """Return the grid of the box around both, where both are parts of one grid; stored as this one is."""
        placed = self._place_of(other)
        if placed is None:
            return None
        low = [min(0, first) for first, _ in placed[1]]
        x, y, z = (max(size, end) - start for size, (_, end), start in zip(self.shape, placed[1], low, strict=True))
        return self._moved(low, (x, y, z))

    def _place_of(self, other: Grid) -> tuple[Reordering, Pairs] | None:
        """Return ``other`` as a box of this grid, continued beyond its borders; None where its points are others."""
        reordering = self._axes_of(other)
        part = other.reordered(reordering)
        start = np.linalg.solve(self.affine, part.affine)[:3, 3]
        if np.abs(start).max() > MOST_VOXELS_APART:
            return None
        x, y, z = ((round(float(low)), round(float(low)) + size) for low, size in zip(start, part.shape, strict=True))
        return (reordering, (x, y, z)) if self._moved((x[0], y[0], z[0]), part.shape).matches(part) else None

    def _moved(self, start: Sequence[int], shape: tuple[int, int, int]) -> Grid:
        """Return a grid of ``shape`` with these axes, whose first voxel is voxel ``start`` of this one."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ start
        return Grid(shape, affine)

    def _axes_of(self, other: Grid) -> Reordering:
        # The axes of `other`, seen from this grid's axes: for the same points they are a signed permutation.
        return _reordering(np.linalg.solve(self.affine, other.affine))


@dataclass(frozen=True, eq=False)
class Scan:
    """Voxels and where they lie.

    Attributes:
        voxels: (X, Y, Z) in the file's own axis order, scale factors applied, native byte order.
        grid: where the voxels lie.
        source: the file (or folder) they came from.
        notes: what the reader had to assume or change about the geometry, one sentence each.
        cropped: whether these are segments, of which the empty rim may have been left out: beyond lies background.
        segments: name -> value in the voxels, empty where the file names none.
        origin: whose scan it is, as far as the file says.
    """

    voxels: np.ndarray
    grid: Grid
    source: Path
    notes: tuple[str, ...] = ()
    cropped: bool = False
    segments: Mapping[str, int] = field(default_factory=dict)
    origin: Origin = NO_ORIGIN

    def __repr__(self) -> str:
        """Return the file's name, the type of the voxels and the grid in one line."""
        return f"Scan({self.source.name}, {self.voxels.dtype}, {self.grid!r})"

    def onto(self, grid: Grid) -> Scan | None:
        """Return this scan with its voxels stored as ``grid`` has them; None where they are not the same points.

        Axes are exchanged and reversed, cropped segments are put into their place, nothing is interpolated. Within
        `Grid.matches` the grid is taken over.
        """
        if grid.matches(self.grid):
            return replace(self, grid=grid)
        placed = grid.box_of(self.grid)
        if placed is None:
            return None
        reordering, box = placed
        voxels = reordered(self.voxels, reordering)
        if voxels.shape != grid.shape:
            if not self.cropped:
                return None
            whole = np.zeros(grid.shape, voxels.dtype)
            whole[tuple(slice(*pair) for pair in box)] = voxels
            voxels = whole
        return replace(self, voxels=voxels, grid=grid)


def reordered(voxels: np.ndarray, reordering: Reordering) -> np.ndarray:
    """Return a view of ``voxels`` (X, Y, Z) with its axes exchanged, then reversed."""
    permutation, flips = reordering
    return np.flip(voxels.transpose(permutation), tuple(axis for axis in range(3) if flips[axis]))


def content_box(voxels: np.ndarray) -> Pairs:
    """Return the bounding box of the non-zero voxels of ``(C, X, Y, Z)``; the whole if there is none.

    A voxel counts where any channel is non-zero. Each pair is the first voxel and the one past the last.
    """
    content = (voxels != 0).any(axis=0)
    x, y, z = filled_box(content) or [(0, side) for side in content.shape]
    return x, y, z


def filled_box(mask: np.ndarray) -> list[tuple[int, int]] | None:
    """Return the smallest box of a boolean ``mask``: on each axis its first voxel and the one past its last.

    None where it is empty.
    """
    box: list[tuple[int, int]] = []
    for axis in range(mask.ndim):
        inside = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not inside.size:
            return None
        box.append((int(inside[0]), int(inside[-1]) + 1))
    return box


def _reordering(affine: ArrayLike) -> Reordering:
    target_and_sign = io_orientation(affine)
    sources = np.argsort(target_and_sign[:, 0])
    x, y, z = (int(source) for source in sources)
    flip_x, flip_y, flip_z = (bool(target_and_sign[source, 1] < 0) for source in sources)
    return (x, y, z), (flip_x, flip_y, flip_z)
