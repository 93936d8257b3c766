"""The values that occur in a mask."""

from __future__ import annotations

import numpy as np

from duoseg.scans.values import count_values


def values_in(mask: np.ndarray) -> set[int]:
    """Return all values of an integer mask but 0."""
    if int(mask.min()) < 0 or int(mask.max()) > 65_535:
        return {int(value) for value in np.unique(mask)} - {0}
    return count_values(mask).keys() - {0}
