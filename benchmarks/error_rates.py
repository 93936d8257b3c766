"""How often a study finds a difference between methods that are equal.

    python benchmarks/error_rates.py [--studies 10000] [--fields 300]

Of two methods: each simulated study draws one difference a person, from a normal distribution or from an exponential
one with its mean taken off, and is summarised as studies are. 5% is what the interval promises. Of a field of 15
methods, each with scores of its own for each person: how many studies have any of the 14 intervals off 0, and how many
call any method better or worse. Bounds below hold what docs/reference/study.md says.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from _common import made_with

from duoseg.scores.statistics import summarise_columns
from duoseg.study.statistics import METRICS, Cube, compare_cube

METHODS = 15
PERSONS = (5, 10, 20)
FIELD_PERSONS = (12, 20)  # with 8 no p can fall below 0.05 after a correction for so many
FIELD_LIMIT = 0.08  # 5%, and what 300 studies vary by
LIMITS = {"normal": (0.10, 0.07, 0.06), "exponential": (0.15, 0.11, 0.09)}


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--fields", type=int, default=300)
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
    print(f"\n| {METHODS} equal methods, {options.fields} studies | an interval off 0 | called better or worse |")
    print("| --- | ---: | ---: |")
    for persons in FIELD_PERSONS:
        off, called = field_rates(draw.normal(0.8, 0.05, (options.fields, METHODS, persons)))
        print(f"| {persons} persons | {off:.1%} | {called:.1%} |")
        failed |= called > FIELD_LIMIT
    sys.exit(failed)


def field_rates(scores: np.ndarray) -> tuple[float, float]:
    """Shares of studies, (studies, methods, persons), with any interval off 0, and with any verdict."""
    off = called = 0
    for study in scores:
        rows = [row for row in compare_cube(_cube(study), labelled=4, against="m0") if row["metric"] == "dice"]
        off += any(not row["low"] <= 0 <= row["high"] for row in rows)
        called += any(row["verdict"] != "no difference shown" for row in rows)
    return off / len(scores), called / len(scores)


def _cube(scores: np.ndarray) -> Cube:
    """One seed and one class; Dice alone has values."""
    methods, persons = scores.shape
    values = np.full((methods, 1, persons, 1, len(METRICS)), np.nan)
    values[:, 0, :, 0, METRICS.index("dice")] = scores
    return Cube(
        methods=[f"m{index}" for index in range(methods)],
        seeds=[0],
        cases=list(map(str, range(persons))),
        classes=["organ"],
        persons=list(map(str, range(persons))),
        values=values,
        undefined=np.zeros(values.shape, int),
        scored=np.ones((methods, 1, persons), bool),
    )


def error_rate(differences: np.ndarray) -> float:
    """Share of columns, (persons, studies), whose interval excludes 0."""
    summaries = summarise_columns(differences, units=range(len(differences)))
    bounds = [(one.low, one.high) for one in summaries if one.low is not None and one.high is not None]
    return sum(low > 0 or high < 0 for low, high in bounds) / len(bounds)


if __name__ == "__main__":
    main()
