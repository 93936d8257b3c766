"""The values that occur in a mask."""

from __future__ import annotations

import numpy as np


def values_in(mask: np.ndarray) -> set[int]:
    """Return all values of an integer mask but 0."""
    # Counting is much faster than sorting where the values are small, as in nearly every mask.
    low, high = int(mask.min()), int(mask.max())
    if low < 0 or high > 65_535:
        return {int(value) for value in np.unique(mask)} - {0}
    return {int(value) for value in np.flatnonzero(np.bincount(mask.ravel(order="K").astype(np.intp)))} - {0}
