"""Sizes, lengths and grids in words, the same in every message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from duoseg.scans.scan import Grid


def shape_text(shape: Iterable[int]) -> str:
    """Return a shape for people: ``5 x 6 x 7``."""
    return " x ".join(str(size) for size in shape)


def mm_text(sides: Iterable[float]) -> str:
    """Return lengths for people: ``0.5 x 0.5 x 3 mm``."""
    return " x ".join(f"{side:.4g}" for side in sides) + " mm"


def count_text(number: int, one: str, many: str = "") -> str:
    """Return a number with the words for one or for several, by default with an s: ``1 voxel``, ``3 voxels``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def some_text(items: Sequence[object], most: int = 10, separator: str = ", ") -> str:
    """Return the first items, and how many more there are."""
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(map(str, items[:most])) + rest


def realignment_text(found: Grid, expected: Grid, name: str) -> str:
    """Say what brings voxels on the grid ``found`` onto that of ``name``, of which they are a reordering or a part."""
    if sorted(found.shape) == sorted(expected.shape):
        return f"{misplacement_text(found, expected, name)}; it is reordered"
    return f"holds a part of the grid of {name}, as segmentations are stored; beyond it lies background"


def misplacement_text(found: Grid, expected: Grid, name: str) -> str:
    """Say how a grid differs from the ``expected`` one of ``name``: in axis order, shape, or place, in mm."""
    apart = expected.difference(found)
    if apart.reordered:
        return (
            f"holds the same points in the world as {name}, but stores them in the axis order "
            f"{found.orientation} rather than {expected.orientation}"
        )
    if not apart.same_shape:
        return (
            f"its shape {shape_text(found.shape)} is not the {shape_text(expected.shape)} of {name}, and its corners "
            f"lie up to {apart.corner_mm:.3g} mm away"
        )
    text = f"its voxels lie up to {apart.corner_mm:.3g} mm ({apart.corner_voxels:.3g} voxels) away from those of {name}"
    if not np.allclose(found.spacing, expected.spacing, rtol=1e-3):
        text += f", with a spacing of {mm_text(found.spacing)} rather than {mm_text(expected.spacing)}"
    return text
