"""Tests of paired differences: Wilcoxon's signed ranks over independent units, and Holm's correction."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy import stats

DECIMALS = 12
"""Differences are rounded to this: what only the order of summation tells apart must tie, and may be exactly 0."""


def unit_means(values: Sequence[float], units: Sequence[Hashable]) -> list[float]:
    """Mean of each unit's values (the scans of one person), in order of appearance.

    Raises:
        ValueError: ``units`` and ``values`` differ in length.
    """
    groups: dict[Hashable, list[float]] = {}
    for value, unit in zip(values, units, strict=True):
        groups.setdefault(unit, []).append(value)
    return [float(np.mean(group)) for group in groups.values()]


def paired_p(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (1945) that differences of independent units lie around 0.

    Zero differences are left out of the ranks, as Wilcoxon did; where nothing else is left, p is 1. With ``n``
    differences it is never below ``smallest_p(n)``.

    Raises:
        ValueError: there is no difference, or one is not finite.
    """
    rounded = np.round(np.asarray(differences, float), DECIMALS)
    if not rounded.size or not np.isfinite(rounded).all():
        raise ValueError("a paired test needs at least one difference, and finite ones")
    if not rounded.any():
        return 1.0
    return float(stats.wilcoxon(rounded, zero_method="wilcox", alternative="two-sided").pvalue)


def smallest_p(units: int) -> float:
    """The smallest p that `paired_p` can give: all differences have one sign, as in 2 of ``2^units`` cases."""
    return min(1.0, 2.0 ** (1 - units))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction of a family of p-values, in their order.

    The smallest of ``m`` is multiplied by ``m``, the next by ``m - 1`` and so on; none becomes smaller than one before
    it, or larger than 1. Below a level after it, the chance of any false finding in the family is below that level.
    """
    count = len(p_values)
    corrected = [0.0] * count
    highest = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda position: p_values[position])):
        highest = max(highest, min(1.0, (count - rank) * p_values[index]))
        corrected[index] = highest
    return corrected
