"""The values in a mask, whatever type it was stored in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from duoseg.errors import InputError


def as_integers(voxels: np.ndarray, path: Path) -> np.ndarray:
    """Return voxels as integers; masks are often stored as floats.

    Raises:
        InputError: A voxel of the mask read from ``path`` is no whole number.
    """
    if np.issubdtype(voxels.dtype, np.integer) or voxels.dtype == bool:
        return voxels
    whole = np.rint(voxels)
    wrong = ~np.equal(whole, voxels)
    if wrong.any():
        raise InputError(
            f"{path}: {int(wrong.sum())} voxels are no whole numbers, such as {float(voxels[wrong][0]):.4g}. "
            "This is no label mask; scores need one class value per voxel, not probabilities or an image."
        )
    return whole.astype(np.int32)


def values_in(mask: np.ndarray) -> set[int]:
    """Return all values of an integer mask but 0."""
    # Counting is much faster than sorting where the values are small, as in nearly every mask.
    low, high = int(mask.min()), int(mask.max())
    if low < 0 or high > 65_535:
        return {int(value) for value in np.unique(mask)} - {0}
    return {int(value) for value in np.flatnonzero(np.bincount(mask.ravel(order="K").astype(np.intp)))} - {0}
