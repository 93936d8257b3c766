"""Means with intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from duoseg.scores.statistics import Summary, defined_mean, summarise


def width(summary: Summary) -> float:
    assert summary.low is not None and summary.high is not None
    return summary.high - summary.low


def test_interval_agrees_with_scipy_bootstrap() -> None:
    values = np.random.default_rng(1).normal(0.8, 0.1, 30)
    found = summarise(values.tolist())
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=0).confidence_interval
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=2e-3)


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
