"""How often a study finds a difference between methods that are equal.

    python benchmarks/error_rates.py [--studies 10000] [--fields 300] [--trained 150]

Of two methods: each simulated study draws one difference a person, from a normal distribution or from an exponential
one with its mean taken off, and is summarised as studies are. 5% is what the interval promises. Of a field of 15
methods, each with scores of its own for each person: how many studies have any of the 14 intervals off 0, and how many
call any method better or worse. Bounds below hold what docs/reference/study.md says.

There nothing is trained. In the last table each training has its own luck, too, of so many points of Dice on all
persons alike, with several seeds of each method: no interval over persons can know of that. Its spreads are those of
docs/results, where the seeds of a row vary by 0.36 points (hippocampus with 4 labelled scans) to 0.6 (left atrium).
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from _common import made_with

from duoseg.scores.statistics import summarise_columns
from duoseg.study.statistics import METRICS, Cube, compare_cube, verdict

METHODS = 15
PERSONS = (5, 10, 20)
FIELD_PERSONS = (12, 20)  # with 8 no p can fall below 0.05 after a correction for so many
FIELD_LIMIT = 0.08  # 5%, and what 300 studies vary by
TRAINED = ((2, 3, 20), (2, 3, 60), (2, 5, 60), (METHODS, 3, 60))
"""Methods, seeds and persons of the studies whose trainings vary."""
TRAINING_SDS = (0.36, 0.6)
"""Points of Dice by which trainings of one method differ on all persons alike."""
METHOD_SD, SCAN_SD = 0.55, 1.2
"""Points by which methods of one mean differ from person to person, and one training from the next on a person."""
TRAINED_LIMITS = {2: (0.25, 0.32), METHODS: (0.75, 0.93)}
LIMITS = {"normal": (0.10, 0.07, 0.06), "exponential": (0.15, 0.11, 0.09)}


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--fields", type=int, default=300)
    parser.add_argument("--trained", type=int, default=150)
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
        off, _, called = field_rates(draw.normal(0.8, 0.05, (options.fields, METHODS, 1, persons)))
        print(f"| {persons} persons | {off:.1%} | {called:.1%} |")
        failed |= called > FIELD_LIMIT
    print("\n| equal methods | studies | SD of a training | interval and p | called |\n| --- |" + " ---: |" * 4)
    for methods, seeds, persons in TRAINED:
        studies = options.trained * METHODS // methods  # one of few methods is soon simulated
        for deviation, limit in zip(TRAINING_SDS, TRAINED_LIMITS[methods], strict=True):
            _, sure, called = field_rates(trained(draw, (studies, methods, seeds, persons), deviation))
            what = f"{methods} methods, {seeds} seeds, {persons} persons"
            print(f"| {what} | {studies} | {deviation} | {sure:.0%} | {called:.0%} |")
            failed |= called > limit
    sys.exit(failed)


def trained(draw: np.random.Generator, shape: tuple[int, int, int, int], deviation: float) -> np.ndarray:
    """Scores of equal methods, (studies, methods, seeds, persons), whose trainings vary by so many points."""
    studies, methods, seeds, persons = shape
    points = draw.normal(0, METHOD_SD, (studies, methods, 1, persons)) + draw.normal(0, SCAN_SD, shape)
    return 0.8 + (points + draw.normal(0, deviation, (studies, methods, seeds, 1))) / 100


def field_rates(scores: np.ndarray) -> tuple[float, float, float]:
    """Shares of studies, (studies, methods, seeds, persons), in which chance makes a difference of any method.

    With any interval off 0; with one whose p is small after the correction, too; and with any verdict, which asks each
    seed besides.
    """
    off = sure = called = 0
    for study in scores:
        rows = [row for row in compare_cube(_cube(study), labelled=4, against="m0") if row["metric"] == "dice"]
        off += any(not row["low"] <= 0 <= row["high"] for row in rows)
        sure += any(verdict({**row, "seed_differences": {}}) != "no difference shown" for row in rows)
        called += any(row["verdict"] != "no difference shown" for row in rows)
    return off / len(scores), sure / len(scores), called / len(scores)


def _cube(scores: np.ndarray) -> Cube:
    """One class; Dice alone has values."""
    methods, seeds, persons = scores.shape
    values = np.full((methods, seeds, persons, 1, len(METRICS)), np.nan)
    values[..., 0, METRICS.index("dice")] = scores
    return Cube(
        methods=[f"m{index}" for index in range(methods)],
        seeds=list(range(seeds)),
        cases=list(map(str, range(persons))),
        classes=["organ"],
        persons=list(map(str, range(persons))),
        values=values,
        undefined=np.zeros(values.shape, int),
        scored=np.ones(scores.shape, bool),
    )


def error_rate(differences: np.ndarray) -> float:
    """Share of columns, (persons, studies), whose interval excludes 0."""
    summaries = summarise_columns(differences, units=range(len(differences)))
    bounds = [(one.low, one.high) for one in summaries if one.low is not None and one.high is not None]
    return sum(low > 0 or high < 0 for low, high in bounds) / len(bounds)


if __name__ == "__main__":
    main()
