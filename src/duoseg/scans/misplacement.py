"""How one grid differs from another, in words."""

from __future__ import annotations

import numpy as np

from duoseg.scans.scan import Grid
from duoseg.scans.texts import mm_text, shape_text


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
