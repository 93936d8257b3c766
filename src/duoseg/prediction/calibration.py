"""From how far the students agree on a scan to the Dice that its mask may have, learnt from annotated scans.

Each annotated scan is predicted by a model that has not seen it (`duoseg calibrate`), which gives pairs of an agreement
a and a true Dice d. With x = log(1 - a) and y = log(1 - d) the model is

    y = alpha + beta (x - mean x) + e,    e normal,    beta normal around 1/2 with a standard deviation of 1/4

and the variance of e known beforehand as if 8 scans had told that its root is 1/4. A handful of annotated scans says
little about a slope, and now and then lies on a line by chance; what is known beforehand is what holdout scans of two
sets told, the hippocampus and the left atrium. The scans of a person are alike, so each person counts once, shared
among its scans. With n persons the 90% interval of a new scan is that of Student's t with n + 7 degrees of freedom.
From 9 persons on it needs no such model: each person is left out in turn, and the interval is as wide as the 90%
quantile of the residuals that its scans then have, one more person taken as infinitely far off (after Lee, Barber,
Willett, Distribution-free inference with hierarchical data, arXiv 2306.06342; theirs takes residuals of a second half
of the data, for which it is proved, ours of persons left out, for which it is not).

A mask in which nothing was found is no part of this: its Dice is 0 or, where nothing is there, 1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import stdtrit

from duoseg.prediction.words import FEWEST_PERSONS

COVERAGE = 0.9
SLOPE, SLOPE_SD = 0.5, 0.25
SPREAD, SPREAD_SCANS = 0.25, 8
"""The standard deviation of residuals, and how many scans' worth that is."""
LEAST = 1e-3
"""Of 1 - Dice and 1 - agreement: two masks that are the same say no more than two that nearly are."""
FLOOR = math.log(LEAST)
"""The least error; a perfect mask has it, too."""
ROUNDS = 20
ROUNDING = 1e-9
"""Of sums."""


@dataclass(frozen=True)
class Evidence:
    """An annotated scan as a model saw it that had not been trained on its person.

    Attributes:
        case: its name.
        person: whose it is.
        trust: how far the students agreed, 0 to 1.
        dice: its true Dice, mean over the classes that are in its mask or in the truth.
    """

    case: str
    person: str
    trust: float
    dice: float


@dataclass(frozen=True)
class Expected:
    """What Dice to expect of a mask.

    Attributes:
        dice: the median, mean over the classes that are in the mask or in the truth, as agreement is taken.
        low: of the 90% interval.
        high: of it.
        modelled: whether the interval rests on a model of the residuals, for want of annotated persons.
    """

    dice: float
    low: float
    high: float
    modelled: bool

    def __str__(self) -> str:
        """The Dice and its interval in words."""
        return f"{self.dice:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Calibration:
    """What annotated scans tell of the Dice of others.

    Attributes:
        evidence: of two persons at least.
    """

    evidence: tuple[Evidence, ...]

    @cached_property
    def persons(self) -> tuple[str, ...]:
        """Those whose scans they are."""
        return tuple(dict.fromkeys(one.person for one in self.evidence))

    @property
    def modelled(self) -> bool:
        """Whether the interval rests on a model of the residuals."""
        return len(self.persons) < FEWEST_PERSONS

    def expected(self, trust: float) -> Expected:
        """The Dice to expect where the students agree so far."""
        x = _error(trust)
        line = self._line
        middle = line.at(x)
        if self.modelled:
            count = len(self.persons)
            spread = math.sqrt(line.variance * (1 + 1 / count) + line.slope_variance * (x - line.centre) ** 2)
            half = float(stdtrit(SPREAD_SCANS + count - 1, (1 + COVERAGE) / 2)) * spread
        else:
            half = self._residual
        low, dice, high = (_dice(error) for error in (max(middle + half, FLOOR), middle, middle - half))
        # Errors below the floor were not told apart: an interval that reaches it holds all of them, down to none.
        reached = middle - half <= FLOOR + ROUNDING
        return Expected(dice=dice, low=low, high=1.0 if reached else high, modelled=self.modelled)

    @cached_property
    def _line(self) -> _Line:
        return _fitted(self.evidence)

    @cached_property
    def _residual(self) -> float:
        """The residual that 90% of new persons' scans stay below."""
        found: list[tuple[float, float]] = []
        for person in self.persons:
            own = [one for one in self.evidence if one.person == person]
            line = _fitted([one for one in self.evidence if one.person != person])
            share = 1 / (len(own) * (len(self.persons) + 1))
            found += [(abs(_error(one.dice) - line.at(_error(one.trust))), share) for one in own]
        reached = 0.0
        for residual, share in sorted(found):
            reached += share
            if reached >= COVERAGE - ROUNDING:
                return residual
        raise AssertionError("too few persons for an interval without a model")


@dataclass(frozen=True)
class _Line:
    """A fitted line, and how sure it is."""

    level: float
    slope: float
    centre: float
    variance: float
    slope_variance: float

    def at(self, x: float) -> float:
        return self.level + self.slope * (x - self.centre)


def _fitted(evidence: Sequence[Evidence]) -> _Line:
    """The most probable line; variance of the residuals and slope are found in turn."""
    x = np.array([_error(one.trust) for one in evidence])
    y = np.array([_error(one.dice) for one in evidence])
    scans = Counter(one.person for one in evidence)
    share = np.array([1 / scans[one.person] for one in evidence])
    persons = len(scans)
    centre, level = float(share @ x) / persons, float(share @ y) / persons
    apart = x - centre
    slope, variance, slope_variance = SLOPE, SPREAD**2, SLOPE_SD**2
    for _ in range(ROUNDS):
        residuals = y - level - slope * apart
        variance = (SPREAD_SCANS * SPREAD**2 + float(share @ residuals**2)) / (SPREAD_SCANS + persons - 1)
        precision = float(share @ apart**2) / variance + 1 / SLOPE_SD**2
        slope = (float(share @ (apart * (y - level))) / variance + SLOPE / SLOPE_SD**2) / precision
        slope_variance = 1 / precision
    return _Line(level, slope, centre, variance, slope_variance)


def _error(agreement: float) -> float:
    """The logarithm of what a Dice lacks of 1."""
    return math.log(max(1 - agreement, LEAST))


def _dice(error: float) -> float:
    """The Dice of which `_error` is such."""
    return 1 - math.exp(min(error, 0.0))
