"""The values that occur in a mask."""

from __future__ import annotations

import numpy as np

_BLOCK = 1 << 20


def values_in(mask: np.ndarray) -> set[int]:
    """Return all values of an integer mask but 0."""
    # Counting is much faster than sorting where the values are small, as in nearly every mask.
    low, high = int(mask.min()), int(mask.max())
    if low < 0 or high > 65_535:
        return {int(value) for value in np.unique(mask)} - {0}
    flat, counts = mask.ravel(order="K"), np.zeros(high + 1, np.int64)
    for start in range(0, flat.size, _BLOCK):  # so that no copy of the whole is made
        counts += np.bincount(flat[start : start + _BLOCK].astype(np.intp), minlength=high + 1)
    return {int(value) for value in np.flatnonzero(counts)} - {0}
