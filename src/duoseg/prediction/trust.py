"""How far a mask may be trusted, as the model itself sees it."""

from __future__ import annotations

import numpy as np


def doubt_of(mask: np.ndarray, uncertainty: np.ndarray) -> float:
    """About the share of a mask that is wrong, 0 to 1; 1 where nothing was found.

    It is the expected number of voxels with a wrong class over twice the mask's size, which is what an expected Dice
    lacks of 1.

    Args:
        mask: (X, Y, Z), 0 is background.
        uncertainty: (X, Y, Z), how probable it is that a voxel's class is wrong.
    """
    size = int(np.count_nonzero(mask))
    return min(1.0, float(uncertainty.sum(dtype=np.float64)) / (2 * size)) if size else 1.0
