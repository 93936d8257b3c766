"""Means with intervals."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from scipy import stats

from duoseg.scores.statistics import Summary, defined_mean, expanded_tail, summarise, summarise_columns


def width(summary: Summary) -> float:
    assert summary.low is not None and summary.high is not None
    return summary.high - summary.low


def test_interval_agrees_with_scipy_bootstrap_at_the_expanded_level() -> None:
    values = np.random.default_rng(1).normal(0.8, 0.1, 30)
    found = summarise(values.tolist())
    # 1 - 2 alpha', with alpha' = 0.0189 of 30 units.
    level = 1 - 2 * 0.018889
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, confidence_level=level, rng=0
    ).confidence_interval
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=2e-3)


def test_the_tail_is_that_of_a_t_interval_worked_by_hand() -> None:
    # Student's t of 9 degrees of freedom at 0.975 is 2.262157 in any table; sqrt(10/9) = 1.054093; and the normal
    # distribution has 0.008551 below their product, -2.384523.
    assert expanded_tail(10, 0.95) == pytest.approx(0.008551, abs=1e-6)
    assert expanded_tail(5, 0.95) == pytest.approx(stats.norm.cdf(-1.118034 * 2.776445), rel=1e-5)
    assert expanded_tail(10**6, 0.95) == pytest.approx(0.025, abs=1e-5)


def test_few_units_are_the_quantiles_of_all_draws_that_there_are() -> None:
    values = [0.1, 0.5, 0.2, 0.9, 0.4]
    every = np.mean(list(product(values, repeat=5)), axis=1)
    low, high = np.quantile(every, [expanded_tail(5, 0.95), 1 - expanded_tail(5, 0.95)])
    found = summarise(values, resamples=400_000)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)


def _normal(draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return draw.normal(size=shape)


def _skewed(draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return draw.exponential(size=shape) - 1


@pytest.mark.parametrize(
    ("distribution", "units", "most"),
    [
        (_normal, 5, 0.09),
        (_normal, 6, 0.08),
        (_normal, 10, 0.065),
        (_normal, 20, 0.065),
        # Of a skewed mean Student's t errs in 0.115, 0.10 and 0.08 of all cases.
        (_skewed, 5, 0.15),
        (_skewed, 10, 0.11),
        (_skewed, 20, 0.09),
    ],
)
def test_intervals_of_no_difference_exclude_zero_about_once_in_twenty(
    distribution: Callable[[np.random.Generator, tuple[int, int]], np.ndarray], units: int, most: float
) -> None:
    values = distribution(np.random.default_rng(7), (units, 1500))
    found = summarise_columns(values, units=range(units))
    false = np.mean([one.low is not None and one.high is not None and not one.low <= 0 <= one.high for one in found])
    assert 0.03 < false < most


def test_same_seed_same_interval() -> None:
    values = np.random.default_rng(2).random(12).tolist()
    assert summarise(values) == summarise(values)
    assert summarise(values, seed=1) != summarise(values)


def test_undefined_values_are_counted_and_left_out_of_the_mean() -> None:
    found = summarise([1.0, None, 3.0, None])
    assert (found.mean, found.n, found.n_undefined) == (2.0, 2, 2)


def test_nothing_defined_gives_no_mean_and_one_case_no_interval() -> None:
    assert summarise([None]).mean is None
    assert defined_mean([]) is None
    one = summarise([0.5])
    assert (one.mean, one.low, one.high) == (0.5, None, None)


def test_scans_of_one_subject_are_drawn_together() -> None:
    values = list(np.random.default_rng(0).normal(size=10))
    alone = summarise(values)
    doubled = summarise(values * 2, units=[*range(10), *range(10)])
    assert (doubled.low, doubled.high) == pytest.approx((alone.low, alone.high))
    narrower = summarise(values * 2)
    assert width(narrower) < width(doubled)


def test_many_cases_are_resampled_in_bounded_blocks() -> None:
    found = summarise([0.0, 1.0] * 5000, resamples=500)
    assert found.low == pytest.approx(0.49, abs=0.005)
