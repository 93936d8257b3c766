"""Whether the trust in a mask tells its Dice, the interval covers it, and unusual scans are noticed.

    python benchmarks/trust.py RUN DATA [RUN DATA ...] [--on test|holdout]
    python benchmarks/trust.py RUN DATA [RUN DATA ...] --raw 60

Each RUN is calibrated (`duoseg calibrate`), each DATA the set that it was trained on, whose test or holdout scans it
has not seen: one that was trained on any of them is refused. Prints for each run Spearman's correlation of trust and
true Dice with a 95% bootstrap interval over persons, and how many ordinary scans are told as unlike the training scans;
over all runs the share of true Dice values within their 90% interval, of those scans of which a Dice is expected, with
its exact binomial interval. Of unusual scans, made of the first five: mirrored head to foot, noise of the same mean and
spread, and, where there are two runs, scans of the other set resampled to the shape and spacing of this one. Ends with
status 1 unless every correlation is at least 0.6, the binomial interval holds 90%, all unusual scans are told of and at
most 5% of the ordinary ones.

With --raw it compares so many raw training scans (whose labels the run did not see) with as many that the run has not
seen at all, which needs no calibration: the mean of log(1 - Dice) - log(1 - trust) / 2 with its standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _common import made_with
from scipy import ndimage, stats

import duoseg
from duoseg.commands.runs import CASES
from duoseg.planning.orient import from_canonical, to_canonical
from duoseg.planning.reading import read_channels
from duoseg.prediction.judgement import Judgement
from duoseg.prediction.model import Model
from duoseg.prediction.result import Prediction
from duoseg.scans.cases import Case
from duoseg.scans.dataset import Dataset, load_dataset
from duoseg.scans.formats import read_scan
from duoseg.scans.scan import Grid
from duoseg.scores.overlap import count_overlap, mean_dice
from duoseg.study.folds import On, divide, person_texts

UNUSUAL = 5
DRAWS = 10_000
LEAST_CORRELATION, COVERAGE, MOST_UNLIKE = 0.6, 0.9, 0.05


@dataclass(frozen=True)
class Judged:
    """A scan: what the run said of its mask, and the mask's Dice, mean over the classes in it or in the truth."""

    judgement: Judgement
    dice: float
    person: str

    @property
    def inside(self) -> bool | None:
        """Whether the Dice lies within its interval; None where none is expected."""
        expected = self.judgement.expected
        return None if expected is None else expected.low <= self.dice <= expected.high


def main() -> None:
    """Judge all scans and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, nargs="+", metavar="RUN DATA")
    parser.add_argument("--on", choices=("test", "holdout"), default="test")
    parser.add_argument("--raw", type=int, metavar="N")
    asked = parser.parse_args()
    if len(asked.pairs) % 2:
        parser.error("give a data set after each run")
    runs, sets = asked.pairs[::2], [load_dataset(data) for data in asked.pairs[1::2]]
    chosen = [unseen(run, dataset, asked.on) for run, dataset in zip(runs, sets, strict=True)]
    if asked.raw:
        for run, dataset, cases in zip(runs, sets, chosen, strict=True):
            compare_raw(run, dataset, cases, asked.raw)
        return
    print(
        f"{made_with()}\n\n| run | scans | Dice | trust against Dice (Spearman, 95%) | within 90% interval | unlike |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    everything: list[Judged] = []
    models, missed = list[Model](), list[str]()
    for run, cases in zip(runs, chosen, strict=True):
        model = duoseg.load(run)
        if model.judge.calibration is None:
            parser.error(f"{run} is not calibrated")
        found = [judged(model, case) for case in cases]
        everything += found
        models.append(model)
        unlike = sum(bool(one.judgement.unlike) for one in found)
        expected = [one.inside for one in found if one.inside is not None]
        dice, within = np.mean([one.dice for one in found]), f"{sum(expected)} of {len(expected)}"
        value, low, high = correlation(found)
        missed += [] if value >= LEAST_CORRELATION else [f"{run}: correlation below {LEAST_CORRELATION}"]  # or none
        print(f"| {run} | {len(found)} | {dice:.4f} | {value:.2f} ({low:.2f} to {high:.2f}) | {within} | {unlike} |")
    known = [one.inside for one in everything if one.inside is not None]
    if not known:
        sys.exit("of no scan a Dice is expected")
    bounds = stats.binomtest(sum(known), len(known)).proportion_ci(0.95)
    told = f"{sum(known)} of {len(known)}, {np.mean(known):.1%} ({bounds.low:.1%} to {bounds.high:.1%})"
    print(f"\nwithin the interval: {told}")
    missed += [] if bounds.low <= COVERAGE <= bounds.high else ["the interval does not cover what it says"]
    if sum(bool(one.judgement.unlike) for one in everything) > MOST_UNLIKE * len(everything):
        missed.append("too many ordinary scans are told as unlike")
    for position, (model, dataset) in enumerate(zip(models, sets, strict=True)):
        others = [other for index, other in enumerate(sets) if index != position]
        for name, scans in unusual(dataset, others, asked.on):
            told = [predicted(model, *scan)[1].unlike or () for scan in scans]
            print(f"{runs[position]}: {name}: {sum(map(bool, told))} of {len(told)} told; {'; '.join(told[0])}")
            missed += [] if all(told) else [f"{runs[position]}: {name}: not all are told as unlike"]
    if missed:
        sys.exit("missed: " + "; ".join(missed))


def compare_raw(run: Path, dataset: Dataset, others: list[Case], count: int) -> None:
    """Print whether trust promises more of raw training scans than of scans that the run has not seen."""
    model = duoseg.load(run)
    trained = set(json.loads((run / CASES).read_text())["unlabelled"])
    raw = [case for case in dataset.train if case.name in trained and case.label is not None]
    for name, cases in (("raw training scans", raw), ("not seen", others)):
        found = [judged(model, case) for case in cases[:count]]
        apart = np.array([np.log(1 - one.dice) - np.log(1 - one.judgement.trust) / 2 for one in found])
        print(f"{run}: {name}: {apart.mean():.3f} ± {apart.std(ddof=1) / np.sqrt(len(apart)):.3f} ({len(apart)})")


def unseen(run: Path, dataset: Dataset, on: On) -> list[Case]:
    """The scans with labels to score.

    Raises:
        SystemExit: the run was trained on one of them.
    """
    used, cases = json.loads((run / CASES).read_text()), scored(dataset, on)
    seen = [case.name for case in cases if case.name in {*used["labelled"], *used["unlabelled"]}]
    if seen:
        sys.exit(
            f"{run}: was trained on {seen[0]}, one of the {on} scans of {dataset.place}, so that their scores tell "
            "nothing of others; give a run that has not seen them (`duoseg compare --on holdout` trains without the "
            "holdout scans)."
        )
    return cases


def scored(dataset: Dataset, on: On) -> list[Case]:
    """The scans with labels that are no training scans."""
    return [*divide(dataset, on=on)[0].scored]


def judged(model: Model, case: Case) -> Judged:
    """Judge a scan's mask, and score it."""
    assert case.label is not None
    prediction, judgement = predicted(model, *read_channels(case))
    truth = read_scan(case.label).onto(prediction.grid)
    assert truth is not None
    dice = mean_dice(count_overlap(prediction.mask == v, truth.voxels == v) for v in prediction.classes.values())
    return Judged(judgement, float("nan") if dice is None else dice, person_texts([case])[case.name])


def predicted(model: Model, voxels: np.ndarray, grid: Grid) -> tuple[Prediction, Judgement]:
    """A scan's mask, and how far it may be trusted."""
    prediction = model.predict(voxels, grid, keep_probabilities=False, uncertainty=True)
    assert prediction.judgement is not None
    return prediction, prediction.judgement


def correlation(found: list[Judged]) -> tuple[float, float, float]:
    """Spearman's correlation of trust and Dice with its percentile bootstrap interval over persons."""
    persons: dict[str, list[tuple[float, float]]] = {}
    for one in found:
        persons.setdefault(one.person, []).append((one.judgement.trust, one.dice))
    groups, random = list(persons.values()), np.random.default_rng(0)

    def of(chosen: Iterable[int]) -> float:
        pairs = np.array([pair for place in chosen for pair in groups[place]])
        return float(stats.spearmanr(*pairs.T).statistic)

    draws = [of(random.integers(0, len(groups), len(groups))) for _ in range(DRAWS)]
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    return of(range(len(groups))), float(low), float(high)


def unusual(dataset: Dataset, others: list[Dataset], on: On) -> Iterator[tuple[str, list[tuple[np.ndarray, Grid]]]]:
    """Kinds of unusual scans, by name: their voxels (C, X, Y, Z) and grids."""
    own = [read_channels(case) for case in scored(dataset, on)[:UNUSUAL]]
    random = np.random.default_rng(0)
    yield "head to foot", [(mirrored(voxels, grid), grid) for voxels, grid in own]
    yield "noise", [(random.normal(v.mean(), v.std(), v.shape).astype(np.float32), grid) for v, grid in own]
    for other in others:
        foreign = [read_channels(case)[0] for case in scored(other, on)[:UNUSUAL]]
        resized = [(as_large(voxels, grid), grid) for voxels, (_, grid) in zip(foreign, own, strict=True)]
        yield f"of {other.root.name}", resized


def mirrored(voxels: np.ndarray, grid: Grid) -> np.ndarray:
    """A scan head to foot on the same grid."""
    order = grid.canonical()
    return np.ascontiguousarray(from_canonical(np.flip(to_canonical(voxels, *order), -1), *order))


def as_large(voxels: np.ndarray, grid: Grid) -> np.ndarray:
    """A scan resampled to the shape of another."""
    factors = (1.0, *(new / old for new, old in zip(grid.shape, voxels.shape[1:], strict=True)))
    return ndimage.zoom(voxels.astype(np.float32), factors, order=1, mode="nearest", grid_mode=True)


if __name__ == "__main__":
    main()
