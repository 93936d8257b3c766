"""Connected bodies of a mask."""

from __future__ import annotations

import cc3d
import numpy as np


def keep_largest_components(indices: np.ndarray) -> np.ndarray:
    """Keep the largest 26-connected body of each class; what is left over becomes background."""
    kept = np.zeros_like(indices)
    for index in np.unique(indices[indices > 0]):
        kept[cc3d.largest_k(indices == index, k=1, connectivity=26) > 0] = index
    return kept
