"""Overlap of two masks, from three voxel counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from duoseg.scores.statistics import defined_mean


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of a predicted mask, a reference mask and their intersection; not both masks are empty."""

    prediction: int
    reference: int
    intersection: int

    @property
    def dice(self) -> float:
        """Twice the intersection over the sum of both masks (Dice 1945), 0 to 1."""
        return 2 * self.intersection / (self.prediction + self.reference)

    @property
    def jaccard(self) -> float:
        """Intersection over union (Jaccard 1912), 0 to 1."""
        return self.intersection / (self.prediction + self.reference - self.intersection)


def count_overlap(prediction: np.ndarray, reference: np.ndarray) -> Overlap:
    """Count the voxels of two boolean masks of one shape."""
    return Overlap(
        prediction=int(np.count_nonzero(prediction)),
        reference=int(np.count_nonzero(reference)),
        intersection=int(np.count_nonzero(prediction & reference)),
    )


def mean_dice(overlaps: Iterable[Overlap]) -> float | None:
    """Mean Dice of the classes that are in one of their two masks or in both; None where there is none.

    How far masks agree, with each other or with the truth: a class that is in neither tells nothing of that.
    """
    return defined_mean([one.dice for one in overlaps if one.prediction or one.reference])
