"""The Dice to expect: intervals cover what they say, and follow what the scans tell."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from duoseg.prediction.calibration import Calibration, Evidence
from duoseg.prediction.words import FEWEST_PERSONS


def _drawn(random: np.random.Generator, count: int, *, slope: float = 0.5, heavy: bool = False) -> list[Evidence]:
    """Scans whose log error depends on the students' log disagreement as the model says, or with heavier tails."""
    x = random.normal(-3.0, 0.4, count)
    noise = random.standard_t(3, count) if heavy else random.normal(size=count)
    y = -2.0 + slope * (x + 3.0) + 0.25 * noise
    return [
        Evidence(str(index), str(index), 1 - math.exp(a), 1 - math.exp(min(b, 0.0)))
        for index, (a, b) in enumerate(zip(x, y, strict=True))
    ]


@pytest.mark.parametrize(("count", "heavy"), [(4, False), (8, False), (9, True), (20, True)])
def test_ninety_per_cent_of_new_scans_lie_within_their_interval(count, heavy):
    random = np.random.default_rng(count)
    inside = total = 0
    for _ in range(300):
        *known, new = _drawn(random, count + 1, heavy=heavy)
        expected = Calibration(tuple(known)).expected(new.trust)
        inside += expected.low <= new.dice <= expected.high
        total += 1
    # Binomial bounds of 300 draws around 90%; with few scans intervals may be wider than they need to be.
    assert stats.binom.cdf(inside, total, 0.9) > 1e-3
    assert inside / total < 0.99


def test_more_agreement_lets_expect_a_higher_dice():
    calibration = Calibration(tuple(_drawn(np.random.default_rng(0), 8)))
    dice = [calibration.expected(trust).dice for trust in (0.7, 0.85, 0.95, 0.99)]
    assert dice == sorted(dice)


def test_two_scans_suffice_and_many_overrule_what_was_believed_before():
    two = Calibration(tuple(_drawn(np.random.default_rng(1), 2)))
    assert 0 <= two.expected(0.95).low <= two.expected(0.95).dice <= two.expected(0.95).high <= 1
    many = Calibration(tuple(_drawn(np.random.default_rng(2), 400, slope=1.2)))
    errors = [math.log(1 - many.expected(trust).dice) for trust in (0.9, 0.99)]
    assert (errors[0] - errors[1]) / math.log(10) == pytest.approx(1.2, abs=0.1)


def test_the_interval_is_a_model_below_nine_persons_and_says_so():
    random = np.random.default_rng(3)
    for count in (FEWEST_PERSONS - 1, FEWEST_PERSONS):
        drawn = _drawn(random, count)
        calibration = Calibration(tuple(drawn))
        assert calibration.expected(0.9).modelled == calibration.modelled == (count < FEWEST_PERSONS)
        twice = Calibration((*drawn, *(replace(one, case=f"{one.case} again") for one in drawn)))
        assert twice.modelled == calibration.modelled


@pytest.mark.parametrize(("persons", "scans"), [(4, 3), (9, 3), (20, 4)])
def test_intervals_cover_scans_of_new_persons_where_the_scans_of_a_person_are_alike(persons, scans):
    random = np.random.default_rng(persons)
    inside = total = 0
    for _ in range(300):
        found = []
        for person in range(persons + 1):
            own, count = 0.25 * random.normal(), scans if person % 2 else 1
            for x in random.normal(-3.0, 0.4, count):
                y = -2.0 + 0.5 * (x + 3.0) + own + 0.05 * random.normal()
                found.append(Evidence(f"{person}-{x}", str(person), 1 - math.exp(x), 1 - math.exp(min(y, 0.0))))
        new = found.pop()
        known = Calibration(tuple(one for one in found if one.person != new.person))
        expected = known.expected(new.trust)
        inside += expected.low <= new.dice <= expected.high
        total += 1
    assert stats.binom.cdf(inside, total, 0.9) > 1e-3


def test_a_few_scans_on_a_line_by_chance_do_not_make_the_interval_narrow():
    line = [Evidence(str(index), str(index), 0.9 + 0.01 * index, 0.8 + 0.012 * index) for index in range(8)]
    expected = Calibration(tuple(line)).expected(0.93)
    assert expected.high - expected.low > 0.08


def test_perfect_agreement_and_scans_that_are_all_alike_stay_within_bounds():
    alike = Calibration(tuple(Evidence(str(index), str(index), 1.0, 1.0) for index in range(10)))
    expected = alike.expected(1.0)
    assert 0.99 < expected.low <= expected.dice <= expected.high <= 1
    assert str(expected).startswith("1.00 (1.00 to 1.00)")
    assert 0 <= alike.expected(0.0).low <= 1


@pytest.mark.parametrize("persons", [4, 12])
def test_an_interval_that_reaches_errors_too_small_to_tell_apart_holds_a_perfect_mask(persons):
    perfect = Calibration(tuple(Evidence(str(index), str(index), 1.0, 1.0) for index in range(persons)))
    expected = perfect.expected(1.0)
    assert expected.high == 1.0 and expected.low <= 0.999 <= expected.dice
    nearly = Calibration(tuple(Evidence(str(index), str(index), 0.9995, 0.9992) for index in range(persons)))
    assert nearly.expected(1.0) == expected  # as far as errors are told apart
    worse = Calibration(tuple(Evidence(str(index), str(index), 0.9, 0.9) for index in range(persons)))
    assert worse.expected(0.9).high < 1.0


def test_errors_too_small_to_tell_apart_are_never_below_their_interval():
    steep = [
        Evidence(str(index), str(index), 1 - math.exp(x), 1 - math.exp(1.5 * x + 1))
        for index, x in enumerate(np.linspace(-5, -1, 40))
    ]
    expected = Calibration(tuple(steep)).expected(1.0)
    assert expected.low <= 0.999 <= expected.dice <= expected.high == 1.0
