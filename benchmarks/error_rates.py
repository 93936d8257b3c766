"""How often a study's 95% interval excludes 0 where two methods are equal, for few persons.

    python benchmarks/error_rates.py [--studies 10000]

Each simulated study draws one difference a person, from a normal distribution or from an exponential one with its mean
taken off, and is summarised as studies are. 5% is what the interval promises; bounds below hold what
docs/reference/study.md says.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from _common import made_with

from duoseg.scores.statistics import summarise_columns

PERSONS = (5, 10, 20)
LIMITS = {"normal": (0.10, 0.07, 0.06), "exponential": (0.15, 0.11, 0.09)}


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=10_000)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    kinds = {"normal": draw.standard_normal, "exponential": lambda shape: draw.standard_exponential(shape) - 1}
    print(f"{made_with()}, {options.studies} studies each\n")
    print(f"| differences | {' | '.join(f'{count} persons' for count in PERSONS)} |\n| --- |{' ---: |' * len(PERSONS)}")
    failed = False
    for kind, drawn in kinds.items():
        rates = [error_rate(drawn((count, options.studies))) for count in PERSONS]
        print(f"| {kind} | {' | '.join(f'{rate:.1%}' for rate in rates)} |")
        failed |= any(rate > limit for rate, limit in zip(rates, LIMITS[kind], strict=True))
    sys.exit(failed)


def error_rate(differences: np.ndarray) -> float:
    """Share of columns, (persons, studies), whose interval excludes 0."""
    summaries = summarise_columns(differences, units=range(len(differences)))
    bounds = [(one.low, one.high) for one in summaries if one.low is not None and one.high is not None]
    return sum(low > 0 or high < 0 for low, high in bounds) / len(bounds)


if __name__ == "__main__":
    main()
