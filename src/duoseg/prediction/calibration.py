"""From how far the students agree on a scan to the Dice that its mask may have, learnt from annotated scans.

Each annotated scan is predicted by a model that has not seen it (`duoseg calibrate`), which gives pairs of an agreement
a and a true Dice d. With x = log(1 - a) and y = log(1 - d) the model is

    y = alpha + beta (x - mean x) + e,    e normal,    beta normal around 1/2 with a standard deviation of 1/4

and the variance of e known beforehand as if 8 scans had told that its root is 1/4. A handful of annotated scans says
little about a slope, and now and then lies on a line by chance; what is known beforehand is what holdout scans of two
sets told, the hippocampus and the left atrium. The 90% interval of a new scan is that of Student's t with n + 7 degrees
of freedom. From 9 scans on it is, instead, as wide as the ceil(0.9 (n + 1))-th smallest of the residuals that each scan
has where it is left out: with exchangeable scans that covers 90% whatever the residuals are distributed like (split
conformal prediction, Lei et al., JASA 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import t as student

COVERAGE = 0.9
FEWEST_GUARANTEED = 9
"""Scans from which on the interval needs no model of the residuals."""
SLOPE, SLOPE_SD = 0.5, 0.25
SPREAD, SPREAD_SCANS = 0.25, 8
"""The standard deviation of residuals, and how many scans' worth that is."""
LEAST = 1e-3
"""Of 1 - Dice and 1 - agreement: two masks that are the same say no more than two that nearly are."""
ROUNDS = 20


@dataclass(frozen=True)
class Evidence:
    """An annotated scan as a model saw it that had not been trained on it.

    Attributes:
        case: its name.
        trust: how far the students agreed, 0 to 1.
        dice: its true Dice, mean over classes.
    """

    case: str
    trust: float
    dice: float


@dataclass(frozen=True)
class Expected:
    """What Dice to expect of a mask.

    Attributes:
        dice: the median.
        low: of the 90% interval.
        high: of it.
        guaranteed: whether the interval holds without a model of the residuals.
    """

    dice: float
    low: float
    high: float
    guaranteed: bool

    def __str__(self) -> str:
        """The Dice and its interval in words."""
        return f"{self.dice:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Calibration:
    """What annotated scans tell of the Dice of others.

    Attributes:
        evidence: two scans at least.
    """

    evidence: tuple[Evidence, ...]

    @property
    def guaranteed(self) -> bool:
        """Whether the interval holds without a model of the residuals."""
        return len(self.evidence) >= FEWEST_GUARANTEED

    def expected(self, trust: float) -> Expected:
        """The Dice to expect where the students agree so far."""
        x = _error(trust)
        line = self._line
        middle = line.at(x)
        if self.guaranteed:
            half = self._residual
        else:
            count = len(self.evidence)
            spread = math.sqrt(line.variance * (1 + 1 / count) + line.slope_variance * (x - line.centre) ** 2)
            half = float(student.ppf((1 + COVERAGE) / 2, SPREAD_SCANS + count - 1)) * spread
        low, dice, high = (1 - math.exp(min(value, 0.0)) for value in (middle + half, middle, middle - half))
        return Expected(dice=dice, low=low, high=high, guaranteed=self.guaranteed)

    @cached_property
    def _line(self) -> _Line:
        return _fitted(self.evidence)

    @cached_property
    def _residual(self) -> float:
        """The residual that 90% of new scans stay below."""
        found = []
        for index, one in enumerate(self.evidence):
            others = (*self.evidence[:index], *self.evidence[index + 1 :])
            found.append(abs(_error(one.dice) - _fitted(others).at(_error(one.trust))))
        rank = math.ceil(COVERAGE * (len(found) + 1))
        return sorted(found)[rank - 1]


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
    centre, level = float(x.mean()), float(y.mean())
    apart = x - centre
    slope, variance, slope_variance = SLOPE, SPREAD**2, SLOPE_SD**2
    for _ in range(ROUNDS):
        residuals = y - level - slope * apart
        variance = (SPREAD_SCANS * SPREAD**2 + float(residuals @ residuals)) / (SPREAD_SCANS + len(x) - 1)
        precision = float(apart @ apart) / variance + 1 / SLOPE_SD**2
        slope = (float(apart @ (y - level)) / variance + SLOPE / SLOPE_SD**2) / precision
        slope_variance = 1 / precision
    return _Line(level, slope, centre, variance, slope_variance)


def _error(agreement: float) -> float:
    """The logarithm of what a Dice lacks of 1."""
    return math.log(max(1 - agreement, LEAST))
