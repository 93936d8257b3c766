"""Paired tests: against published and hand-worked examples."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from duoseg.scores.paired import holm, paired_p, unit_means
from duoseg.scores.statistics import summarise, summarise_columns

# Hollander and Wolfe (1973), depression scale of nine patients before and after treatment; R's wilcox.test shows it.
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
# Darwin (1876), heights of crossed minus self-fertilised maize, in eighths of an inch.
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_wilcoxon_gives_the_published_p() -> None:
    assert paired_p(np.subtract(BEFORE, AFTER).tolist()) == pytest.approx(0.03906, abs=1e-5)


def test_wilcoxon_agrees_with_the_count_of_all_signs() -> None:
    ranks = stats.rankdata(np.abs(MAIZE))
    found = ranks[np.array(MAIZE) > 0].sum()
    sums = np.array(list(product((0, 1), repeat=len(MAIZE)))) @ ranks
    both = 2 * min(np.mean(sums >= found), np.mean(sums <= found))
    assert paired_p([float(value) for value in MAIZE]) == pytest.approx(both)


def test_equal_scores_show_nothing_whatever_rounding_left() -> None:
    assert paired_p([0.0, 0.0]) == 1.0
    assert paired_p([0.1 + 0.2 - 0.3, 0.0, 0.0]) == 1.0


def test_differences_that_rounding_alone_tells_apart_are_ties() -> None:
    exact, noisy = [0.1, 0.1, 0.1, -0.1, 0.2, 0.3], [0.1, 0.3 - 0.2, 0.4 - 0.3, 0.2 - 0.3, 0.2, 0.3]
    assert exact != noisy
    assert paired_p(noisy) == paired_p(exact)


@pytest.mark.parametrize("count", range(1, 6))
def test_fewer_than_six_units_can_show_nothing_below_a_twentieth(count: int) -> None:
    for differences in ([0.1 * (index + 1) for index in range(count)], [0.1] * count, [0.1] * (count - 1) + [0.0]):
        assert paired_p(differences) >= 2 / 2**count > 0.05


@pytest.mark.parametrize("differences", [[], [0.1, float("nan")]])
def test_a_test_of_nothing_is_refused(differences: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        paired_p(differences)


def test_scans_of_one_person_are_one_unit() -> None:
    assert unit_means([0.1, 0.2, 0.3], ["a", "b", "a"]) == pytest.approx([0.2, 0.2])


def test_holm_gives_the_values_of_the_textbook_example() -> None:
    # The four hypotheses of the common example; R's p.adjust(p, "holm") gives these.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order() -> None:
    values = np.random.default_rng(0).random(20) ** 3
    corrected = np.array(holm(values.tolist()))
    assert (corrected >= values).all()
    assert (corrected <= np.minimum(1, 20 * values)).all()
    assert (np.diff(corrected[np.argsort(values)]) >= 0).all()
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_columns_together_have_the_intervals_of_each_alone() -> None:
    draw = np.random.default_rng(3)
    values = draw.random((12, 5))
    values[[0, 3], 1] = np.nan
    values[:, 3] = np.nan
    values[1:, 4] = np.nan
    units = [f"person {index // 2}" for index in range(12)]
    together = summarise_columns(values, units=units)
    for column, found in zip(values.T, together, strict=True):
        alone = summarise([None if np.isnan(value) else float(value) for value in column], units=units)
        assert (found.n, found.n_undefined) == (alone.n, alone.n_undefined)
        assert (found.mean, found.low, found.high) == pytest.approx((alone.mean, alone.low, alone.high))
    assert together[3].mean is None
    assert (together[4].n, together[4].low) == (1, None)
