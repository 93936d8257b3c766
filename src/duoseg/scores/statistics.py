"""Means over cases that say how many values were undefined and how sure the mean is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 1_000_000


@dataclass(frozen=True)
class Summary:
    """A mean over cases with its bootstrap interval; ``None`` where too few values are defined.

    The mean needs one defined value, the interval two independent units.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    """Number of defined values."""
    n_undefined: int


def defined_mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are not ``None``; ``None`` where there is none."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def summarise(
    values: Sequence[float | None],
    *,
    units: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Summary:
    """Mean of the defined values with a percentile bootstrap interval (Efron 1979), fixed by the seed.

    ``units`` names, for each value, the independent unit it belongs to (the subject of a scan): values of one
    unit are drawn together. Without it every value is a unit.

    Raises:
        ValueError: ``units`` and ``values`` differ in length.
    """
    owners = range(len(values)) if units is None else units
    kept = [(owner, value) for owner, value in zip(owners, values, strict=True) if value is not None]
    n_undefined = len(values) - len(kept)
    mean = defined_mean([value for _, value in kept])
    groups: dict[Hashable, list[float]] = {}
    for owner, value in kept:
        groups.setdefault(owner, []).append(value)
    if len(groups) < 2:
        return Summary(mean=mean, low=None, high=None, n=len(kept), n_undefined=n_undefined)
    totals = np.array([sum(group) for group in groups.values()])
    counts = np.array([len(group) for group in groups.values()])
    means = _bootstrap_means(totals, counts, resamples=resamples, seed=seed)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Summary(mean=mean, low=float(low), high=float(high), n=len(kept), n_undefined=n_undefined)


def _bootstrap_means(totals: np.ndarray, counts: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """Means of ``resamples`` draws of units with replacement, in blocks so that memory stays bounded."""
    generator = np.random.default_rng(seed)
    size = len(totals)
    rows = max(1, BLOCK // size)
    means: list[np.ndarray] = []
    for start in range(0, resamples, rows):
        drawn = generator.integers(size, size=(min(rows, resamples - start), size))
        means.append(totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(means)
