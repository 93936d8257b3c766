"""Scores of many trainings as one array, and what is computed from it: means, and differences from one method."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Literal

import numpy as np

from duoseg.scores.paired import DECIMALS, holm, paired_p, unit_means
from duoseg.scores.statistics import FEWEST_UNITS, summarise_columns

ALL: Final = "all"
"""The name of the mean over classes within a scan."""

MEASURED: Final = ("dice", "jaccard", "hd95_mm", "assd_mm", "nsd")
DISTANCES: Final = ("hd95_mm", "assd_mm")
METRICS: Final = (*MEASURED, "hd95_mm_ranked", "assd_mm_ranked")
"""All that is summarised; in a ``_ranked`` distance a structure missed or invented counts as the scan's diagonal."""

COMPARED: Final = ("dice", "jaccard", "nsd", "hd95_mm_ranked", "assd_mm_ranked")
LOWER_IS_BETTER: Final = frozenset({"hd95_mm", "assd_mm", "hd95_mm_ranked", "assd_mm_ranked"})

LEVEL: Final = 0.05
"""A p below it is called small."""

Verdict = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class Cube:
    """Scores at one number of labelled scans.

    Attributes:
        methods, seeds, cases, classes: names along the axes; ``classes`` ends with ``all`` where there are several.
        persons: (cases) the person of each scan.
        values: (methods, seeds, cases, classes, metrics), NaN where undefined or not there.
        undefined: (methods, seeds, cases, classes, metrics) number of undefined values; for ``all`` over the classes.
        scored: (methods, seeds, cases) whether the scan was scored.
    """

    methods: Sequence[str]
    seeds: Sequence[int]
    cases: Sequence[str]
    classes: Sequence[str]
    persons: Sequence[str]
    values: np.ndarray
    undefined: np.ndarray
    scored: np.ndarray


def with_ranked(values: np.ndarray, diagonals: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Append to the metrics the distances in which a structure missed or invented is as far off as the scan is long.

    A method that misses an organ has no distance there; left out of the mean, the miss would make it look better.
    Where no surface is known, because of voxels without annotation, there is no NSD either, and nothing was missed.

    Args:
        values: (methods, seeds, cases, classes, len(MEASURED)), NaN where undefined or not there.
        diagonals: (cases) diagonal of each scan in mm.
        scored: (methods, seeds, cases).

    Returns:
        (methods, seeds, cases, classes, len(METRICS)).
    """
    distances = values[..., [MEASURED.index(name) for name in DISTANCES]]
    known = ~np.isnan(values[..., [MEASURED.index("nsd")]])
    missed = np.isnan(distances) & known & scored[..., None, None]
    ranked = np.where(missed, diagonals[:, None, None], distances)
    return np.concatenate([values, ranked], axis=-1)


def mean_defined(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean along an axis without the undefined values; NaN where there is no other."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.nanmean(values, axis=axis)


def summarise_cube(cube: Cube, *, labelled: int) -> list[dict[str, Any]]:
    """Mean, interval and seeds of every method, class and metric; methods without a result are left out.

    Seeds are averaged first for each scan; the bootstrap draws persons.
    """
    rows: list[dict[str, Any]] = []
    asked = cube.scored.any(axis=(0, 1))  # of any method: one that lacks a fold lacks it in all of its seeds
    for index, method in enumerate(cube.methods):
        if not cube.scored[index].any():
            continue
        here = cube.scored[index].any(axis=0)
        whole = [which for which, scored in enumerate(cube.scored[index]) if scored[asked].all()]
        persons = np.array(cube.persons, dtype=object)[here]
        table = mean_defined(cube.values[index], axis=0)[here]
        summaries = summarise_columns(table.reshape(len(table), -1), units=persons.tolist())
        by_seed = mean_defined(cube.values[index], axis=1)
        for number, summary in enumerate(summaries):
            place, metric = divmod(number, len(METRICS))
            column = table[:, place, metric]
            means = {str(cube.seeds[which]): _number(by_seed[which, place, metric]) for which in whole}
            rows.append(
                {
                    "method": method,
                    "labelled": labelled,
                    "class": cube.classes[place],
                    "metric": METRICS[metric],
                    "mean": summary.mean,
                    "low": summary.low,
                    "high": summary.high,
                    "seeds": means,
                    "seed_sd": _deviation([value for value in means.values() if value is not None]),
                    "n": summary.n,
                    "n_undefined": int(cube.undefined[index, :, :, place, metric].sum()),
                    "n_persons": len(set(persons[np.isfinite(column)])),
                }
            )
    return rows


def compare_cube(cube: Cube, *, labelled: int, against: str) -> list[dict[str, Any]]:
    """Paired differences of every other method from ``against``, on the scans and seeds that both have.

    A method that shares none with it has no rows; where ``against`` has no result, there are none at all. The mean over
    classes is one of differences, so that both have the same classes in it.
    """
    if against not in cube.methods:
        return []
    chosen = [METRICS.index(name) for name in COMPARED]
    theirs = cube.methods.index(against)
    asked = cube.scored.any(axis=(0, 1))
    rows: list[dict[str, Any]] = []
    for index, method in enumerate(cube.methods):
        shared = cube.scored[index] & cube.scored[theirs]
        if method == against or not shared.any():
            continue
        apart = cube.values[index] - cube.values[theirs]
        if cube.classes[-1] == ALL:
            apart[:, :, -1] = mean_defined(apart[:, :, :-1], axis=2)
        # so that the mere order of summation makes no method better
        table = np.round(mean_defined(apart, axis=0)[..., chosen], DECIMALS)
        by_seed = np.round(mean_defined(apart, axis=1)[..., chosen], DECIMALS)
        whole = [which for which, both in enumerate(shared) if both[asked].all()]
        summaries = summarise_columns(table.reshape(len(table), -1), units=cube.persons)
        for number, summary in enumerate(summaries):
            place, metric = divmod(number, len(COMPARED))
            if summary.mean is None:
                continue
            pairs = [(v, p) for v, p in zip(table[:, place, metric].tolist(), cube.persons, strict=True) if isfinite(v)]
            units = unit_means([value for value, _ in pairs], [person for _, person in pairs])
            rows.append(
                {
                    "method": method,
                    "against": against,
                    "labelled": labelled,
                    "class": cube.classes[place],
                    "metric": COMPARED[metric],
                    "difference": summary.mean,
                    "low": summary.low,
                    "high": summary.high,
                    "p": paired_p(units),
                    "p_holm": 1.0,
                    "n_persons": len(units),
                    "seeds": [cube.seeds[which] for which in whole],
                    "seed_differences": {
                        str(seed): _number(by_seed[which, place, metric])
                        for which, seed in enumerate(cube.seeds)
                        if shared[which].any()
                    },
                }
            )
    for row in _correct(rows):
        row["verdict"] = verdict(row)
    return rows


def verdict(row: Mapping[str, Any]) -> Verdict:
    """What a paired difference allows one to say.

    It is called better or worse where its 95% interval excludes 0 and so does the test after Holm's correction: of many
    methods that are all equal, chance alone puts the interval of one or another off 0. Both are about persons, and know
    nothing of chance in training; so all seeds must lie on one side, too.
    """
    if row["n_persons"] < FEWEST_UNITS or row["low"] is None or row["high"] is None:
        return "no difference shown"
    if row["low"] <= 0 <= row["high"] or row["p_holm"] >= LEVEL:
        return "no difference shown"
    if against_the_mean(row["difference"], row["seed_differences"]):
        return "no difference shown"
    return "better" if (row["low"] > 0) != (row["metric"] in LOWER_IS_BETTER) else "worse"


def against_the_mean(difference: float, by_seed: Mapping[str, float | None]) -> list[str]:
    """The seeds with which a difference does not have the sign of its mean over them; none where there is but one."""
    each = {seed: value for seed, value in by_seed.items() if value is not None}
    return [seed for seed, value in each.items() if value * difference <= 0] if len(each) > 1 else []


def _correct(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fill in Holm's correction over the methods within each class and metric."""
    families: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        families.setdefault((row["class"], row["metric"]), []).append(row)
    for family in families.values():
        for row, corrected in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = corrected
    return rows


def _deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation; ``None`` of fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
