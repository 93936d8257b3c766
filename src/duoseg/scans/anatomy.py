"""The anatomy of a synthetic subject: implicit shapes in millimetres, drawn at random around one body plan.

The body plan is a caricature of the heart's base: an atrium with an appendage and three to five veins, its
ventricle before and below it, the other atrium beside it, the two aortas touching it, lungs around. Shapes
are signed distances (approximate, mm, negative inside) on points in the subject's frame, axes R, A, S.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Field = NDArray[np.float32]
Point = tuple[float, float, float]
STUB_MM = 8.0
"""How far along a vein the atrium's label reaches: annotators stop there too."""


@dataclass(frozen=True)
class Anatomy:
    """One subject's shapes: signed distances in mm on the points they were evaluated at, negative inside."""

    atrium: Field
    blood: Field
    ventricle: Field
    other_atrium: Field
    aorta: Field
    descending_aorta: Field
    oesophagus: Field
    spine: Field
    chest: Field
    lung_vessels: Field


def ellipsoid(points: Field, centre: ArrayLike, radii: ArrayLike) -> Field:
    """Approximate signed distance to an axis-aligned ellipsoid; exact on its surface.

    Args:
        points: (3, ...) coordinates in mm.
        centre: Of the ellipsoid, mm.
        radii: Its half-axes, mm.
    """
    middle, sides = (np.asarray(v, np.float32)[:, None, None, None] for v in (centre, radii))
    scaled = (points - middle) / sides
    radius = np.sqrt((scaled**2).sum(axis=0))
    slope = np.sqrt(((scaled / sides) ** 2).sum(axis=0))
    return radius * (radius - 1) / np.maximum(slope, np.float32(1e-6))


def tube(points: Field, path: NDArray[np.float64], radii: ArrayLike) -> Field:
    """Signed distance to a polyline thickened by a radius that changes linearly along each of its pieces.

    Args:
        points: (3, ...) coordinates in mm.
        path: (n, 3) corners in mm.
        radii: One radius per corner, mm.
    """
    nearest: Field | None = None
    wide = np.asarray(radii, np.float32)
    for start, end, first, last in zip(path[:-1], path[1:], wide[:-1], wide[1:], strict=True):
        along = (end - start).astype(np.float32)
        offset = [points[axis] - np.float32(start[axis]) for axis in range(3)]
        share = sum(part * component for part, component in zip(offset, along, strict=True))
        share = np.clip(share / np.float32(along @ along), 0, 1)
        squares = sum((part - share * component) ** 2 for part, component in zip(offset, along, strict=True))
        piece = np.sqrt(squares) - (first + share * (last - first))
        nearest = piece if nearest is None else np.minimum(nearest, piece)
    if nearest is None:
        raise ValueError("a tube needs at least two corners")
    return nearest


def blend(first: Field, second: Field, width: float) -> Field:
    """Smooth union of two signed distances: their minimum, rounded off over ``width`` mm where they meet."""
    share = np.clip(0.5 + (second - first) / np.float32(2 * width), 0, 1)
    rounded = second + (first - second) * share - np.float32(width) * share * (1 - share)
    return rounded.astype(np.float32)


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], knots: int) -> Field:
    """A smooth random field on ``shape``, interpolated from normal values at ``knots`` points an axis."""
    control = rng.standard_normal((knots,) * 3).astype(np.float32)
    for axis, size in enumerate(shape):
        where = np.linspace(0, knots - 1, size)
        weights = ndimage.spline_filter1d(np.eye(knots), order=3, axis=0, mode="mirror")
        columns = [
            ndimage.map_coordinates(weights[:, knot], [where], order=3, mode="mirror", prefilter=False)
            for knot in range(knots)
        ]
        control = np.moveaxis(np.tensordot(control, np.stack(columns), axes=(axis, 0)), -1, axis)
    return np.ascontiguousarray(control, dtype=np.float32)


def curve(
    start: Point, direction: NDArray[np.float64], bend: NDArray[np.float64], length: float
) -> NDArray[np.float64]:
    """Corners (6, 3) of a path, about ``length`` mm, leaving along ``direction`` and turns by ``bend``."""
    share = np.linspace(0, 1, 6)[:, None]
    return np.asarray(start) + length * (share * direction / np.linalg.norm(direction) + share**2 * bend)


def draw_anatomy(rng: np.random.Generator, points: Field) -> Anatomy:
    """Draw one subject around the body plan and evaluate its shapes.

    Args:
        rng: The source of everything random.
        points: (3, X, Y, Z) float32 coordinates in mm in the subject's frame, the atrium's centre near 0.
    """
    size = rng.uniform(0.85, 1.15, 3)
    body = _atrial_body(rng, points, size)
    veins = _veins(rng, points, size)
    blood = blend(body, veins, 2.5)
    # Beyond the stubs the veins go on, equally bright, but belong to no class.
    atrium = np.maximum(blood, body - np.float32(STUB_MM))
    jitter = rng.normal(0, 1.5, (8, 3))
    squeeze = rng.uniform(0.85, 1.15, 8)
    ventricle = ellipsoid(points, (-7, 25, -17) + jitter[0], np.array((14, 17, 19)) * squeeze[0])
    other = ellipsoid(points, (27, 11, -5) + jitter[1], np.array((11, 14, 18)) * squeeze[1])
    rise = np.linspace(-6, 45, 5)
    lean = rng.normal(0, 0.12, (2, 2))
    ascending = np.stack([6 + jitter[2, 0] + lean[0, 0] * rise, 21 + jitter[2, 1] + lean[0, 1] * rise, rise], 1)
    fall = np.linspace(-50, 50, 4)
    descending = np.stack([-13 + jitter[3, 0] + lean[1, 0] * fall, -22 + jitter[3, 1] + lean[1, 1] * fall, fall], 1)
    gullet = np.stack([2 + jitter[4, 0] + 0 * fall, -18 + jitter[4, 1] + 0.05 * fall, fall], 1)
    return Anatomy(
        atrium=atrium,
        blood=blood,
        ventricle=ventricle,
        other_atrium=other,
        aorta=tube(points, ascending, [7.5 * squeeze[2]] * 5),
        descending_aorta=tube(points, descending, [6.5 * squeeze[3]] * 4),
        oesophagus=tube(points, gullet, [3.5 * squeeze[4]] * 4),
        spine=ellipsoid(points, (3, -40, 0) + jitter[5], (15, 14, 80)),
        chest=ellipsoid(points, (0, 6, -6) + jitter[6], np.array((37, 48, 60)) * squeeze[6]),
        lung_vessels=_lung_vessels(rng, points),
    )


def _atrial_body(rng: np.random.Generator, points: Field, size: NDArray[np.float64]) -> Field:
    """The chamber: one ellipsoid with two lobes, and the appendage at its front left."""
    body = ellipsoid(points, (0, 0, 0), np.array((18, 12.5, 15)) * size)
    for _ in range(2):
        where = rng.normal(0, 1, 3)
        where = where / np.linalg.norm(where) * (9, 5, 8) * size
        body = blend(body, ellipsoid(points, where, rng.uniform(7, 12, 3)), 4.0)
    root = (-13.0 * size[0], 5.0 * size[1], 5.0 * size[2])
    path = curve(root, np.array((-0.8, 1.0, rng.normal(0.1, 0.3))), rng.normal(0, 0.35, 3), rng.uniform(10, 17))
    return blend(body, tube(points, path, np.linspace(rng.uniform(4.0, 5.5), 2.5, 6)), 2.0)


def _veins(rng: np.random.Generator, points: Field, size: NDArray[np.float64]) -> Field:
    """Three to five veins: two a side; the left pair may share a trunk, the right may gain a third."""
    count = int(rng.integers(3, 6))
    roots = [(1, 0.5), (1, -0.5), (-1, 0.5), (-1, -0.5), (1, 0.0)]
    if count == 3:
        roots[2] = (-1, 0.0)
    veins: list[Field] = []
    for side, height in roots[:count]:
        start = (13.0 * side * size[0], -6.0 * size[1], (11.0 * height + rng.normal(0, 1)) * size[2])
        direction = np.array((side, rng.normal(-0.45, 0.2), 0.9 * height + rng.normal(0, 0.2)))
        path = curve(start, direction, rng.normal(0, 0.25, 3), 42)
        wide = rng.uniform(3.2, 5.0) * (1.25 if count == 3 and side < 0 else 1.0)
        veins.append(tube(points, path, wide * np.linspace(1.1, 0.7, 6)))
    return np.minimum.reduce(veins)


def _lung_vessels(rng: np.random.Generator, points: Field) -> Field:
    """Thin bright branches in the lungs, unrelated to the atrium."""
    branches: list[Field] = []
    for side in (-1, 1, -1, 1):
        start = (side * rng.uniform(26, 36), rng.uniform(-20, 20), rng.uniform(-25, 25))
        path = curve(start, rng.normal((side, 0, 0), 1), rng.normal(0, 0.3, 3), 30)
        branches.append(tube(points, path[::2], [1.8, 1.4, 1.0]))
    return np.minimum.reduce(branches)
