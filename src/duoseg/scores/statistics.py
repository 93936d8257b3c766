"""Means over cases that say how many values were undefined and how sure the mean is."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

BLOCK = 1_000_000

FEWEST_UNITS = 6
"""Fewer allow no verdict. No resampling looks beyond the lowest and the highest unit, and all of ``n`` units lie on one
side of no difference by chance in ``2 / 2^n`` of all cases: half of them for two units, one in sixteen for five."""


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
    """Mean of the defined values with an expanded percentile bootstrap interval, fixed by the seed.

    The bootstrap is Efron's (1979), the expansion for few units that of `expanded_tail`.

    ``units`` names, for each value, the independent unit it belongs to (the subject of a scan): values of one
    unit are drawn together. Without it every value is a unit.

    Raises:
        ValueError: ``units`` and ``values`` differ in length.
    """
    owners = range(len(values)) if units is None else units
    column = np.array([math.nan if value is None else value for value in values], float)[:, None]
    return summarise_columns(column, units=owners, confidence=confidence, resamples=resamples, seed=seed)[0]


def summarise_columns(
    values: np.ndarray,
    *,
    units: Sequence[Hashable],
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Summary]:
    """`summarise` for every column of a table at once; columns defined for the same units share their draws.

    Args:
        values: (rows, columns), NaN where undefined.
        units: for each row, the independent unit that it belongs to.
        confidence: of the interval.
        resamples: number of bootstrap draws.
        seed: of the draws.

    Raises:
        ValueError: ``units`` and the rows differ in number.
    """
    names = list(dict.fromkeys(units))
    position = {name: index for index, name in enumerate(names)}
    member = np.zeros((len(names), len(values)))
    for row, (unit, _) in enumerate(zip(units, values, strict=True)):
        member[position[unit], row] = 1.0
    defined = np.isfinite(values)
    totals, counts = member @ np.where(defined, values, 0.0), member @ defined
    patterns: dict[bytes, list[int]] = {}
    for column in range(values.shape[1]):
        patterns.setdefault((counts[:, column] > 0).tobytes(), []).append(column)
    found: dict[int, Summary] = {}
    for columns in patterns.values():
        kept = counts[:, columns[0]] > 0
        bounds = np.full((2, len(columns)), math.nan)
        if kept.sum() >= 2:
            drawn_from = totals[kept][:, columns], counts[kept][:, columns]
            means = _bootstrap_means(*drawn_from, resamples=resamples, seed=seed)
            tail = expanded_tail(int(kept.sum()), confidence)
            bounds = np.quantile(means, [tail, 1 - tail], axis=0)
        for column, low, high in zip(columns, *bounds.tolist(), strict=True):
            here = values[defined[:, column], column]
            found[column] = Summary(
                mean=float(np.mean(here)) if here.size else None,
                low=None if math.isnan(low) else low,
                high=None if math.isnan(high) else high,
                n=int(here.size),
                n_undefined=int(len(values) - here.size),
            )
    return [found[column] for column in range(values.shape[1])]


def expanded_tail(units: int, confidence: float) -> float:
    """The share of bootstrap means below the lower bound, and above the upper one, of an interval.

    Bootstrap means spread less than means of samples do (their variance has ``n``, not ``n - 1``, below it), and their
    quantiles are nearly those of a normal distribution, not of Student's. With few units plain percentiles are
    therefore too narrow. Hesterberg's expanded percentile interval (What Teachers Should Know About the Bootstrap, The
    American Statistician 69, 2015) makes up for both: the tail is
    ``Phi(-sqrt(n / (n - 1)) t_(n - 1, 1 - alpha / 2))``, ``alpha`` being ``1 - confidence``.

    Args:
        units: independent units, 2 or more.
        confidence: of the interval.
    """
    quantile = special.stdtrit(units - 1, (1 + confidence) / 2)
    return float(special.ndtr(-math.sqrt(units / (units - 1)) * quantile))


def _bootstrap_means(totals: np.ndarray, counts: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """(resamples, columns) means of draws of units with replacement, in blocks so that memory stays bounded.

    Args:
        totals: (units, columns) sums of each unit's values.
        counts: (units, columns) how many values each unit has.
        resamples: number of draws.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    size, columns = totals.shape
    rows = max(1, BLOCK // max(size, columns))
    means: list[np.ndarray] = []
    for start in range(0, resamples, rows):
        drawn = generator.integers(size, size=(min(rows, resamples - start), size))
        # How often each unit was drawn: one product with it serves all columns.
        cells = drawn + size * np.arange(len(drawn))[:, None]
        times = np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(float)
        means.append((times @ totals) / (times @ counts))
    return np.concatenate(means)
