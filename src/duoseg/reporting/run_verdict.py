"""From scores to what a reader wants to know: means with intervals, scans side by side, and a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from duoseg.reporting.records import RunSummary
from duoseg.reporting.run_progress import progress_sentences
from duoseg.scans.texts import count_text
from duoseg.scores.statistics import FEWEST_UNITS, Summary, defined_mean, summarise, summarise_columns

ALL = "all"
METRICS = ("dice", "hd95_mm", "assd_mm", "nsd")
DECIMALS = {"dice": 3, "hd95_mm": 1, "assd_mm": 2, "nsd": 3}
TITLES = {"dice": "Dice", "hd95_mm": "HD95, mm", "assd_mm": "ASSD, mm", "nsd": "NSD"}
NOT_SCORED = "No scans were scored, so this page says nothing about accuracy."
CaseValues = dict[str, float | None]


@dataclass(frozen=True)
class MeanRow:
    """One run's means for one class; ``first`` marks the first row of a class."""

    label: str
    run: RunSummary
    values: Mapping[str, Summary]
    first: bool


@dataclass(frozen=True)
class CaseRow:
    """One scan and class with each run's value of two metrics, and the difference in Dice where there are two runs."""

    case: str
    label: str
    dice: tuple[float | None, ...]
    hd95: tuple[float | None, ...]
    difference: float | None


def label_names(runs: Sequence[RunSummary]) -> list[str]:
    """Every class scored in any run, in order of appearance."""
    return list(dict.fromkeys(name for run in runs for case in _cases(run) for name in case["labels"]))


def case_values(run: RunSummary, metric: str, label: str = ALL) -> CaseValues:
    """One metric of every scan of a run; for ``all`` the mean over the classes for which it is defined."""
    values: CaseValues = {}
    for case in _cases(run):
        labels = case["labels"]
        if label == ALL:
            values[case["case"]] = defined_mean([scores.get(metric) for scores in labels.values()])
        elif label in labels:
            values[case["case"]] = labels[label].get(metric)
    return values


def summary_of(run: RunSummary, values: Mapping[str, float | None]) -> Summary:
    """The mean of one value a scan, with its interval over persons."""
    return summarise(list(values.values()), units=[run.persons.get(case, case) for case in values])


def mean_rows(runs: Sequence[RunSummary]) -> list[MeanRow]:
    """Means over scans with bootstrap 95% intervals, class by class, the mean over several classes last."""
    labels = label_names(runs)
    labels += [ALL] if len(labels) > 1 else []
    scored = [(run, _summaries(run, labels)) for run in runs if run.scores]
    return [
        MeanRow(label=label, run=run, values=found[label], first=position == 0)
        for label in labels
        for position, (run, found) in enumerate(scored)
    ]


def _summaries(run: RunSummary, labels: Sequence[str]) -> dict[str, dict[str, Summary]]:
    """`summary_of` of each metric of each class; those of the same scans share their draws."""
    columns: dict[tuple[str, ...], dict[tuple[str, str], list[float | None]]] = {}
    for label in labels:
        for metric in METRICS:
            values = case_values(run, metric, label)
            columns.setdefault(tuple(values), {})[label, metric] = [*values.values()]
    found: dict[str, dict[str, Summary]] = {label: {} for label in labels}
    for cases, several in columns.items():
        table = np.array([*several.values()], float).T  # None becomes NaN
        units = [run.persons.get(case, case) for case in cases]
        for (label, metric), summary in zip(several, summarise_columns(table, units=units), strict=True):
            found[label][metric] = summary
    return found


def case_rows(runs: Sequence[RunSummary]) -> list[CaseRow]:
    """Every scan and class of the scored runs, scans in the order of the scores."""
    scored = [run for run in runs if run.scores]
    cases = list(dict.fromkeys(case["case"] for run in scored for case in _cases(run)))
    rows: list[CaseRow] = []
    for label in label_names(scored):
        dice = [case_values(run, "dice", label) for run in scored]
        hd95 = [case_values(run, "hd95_mm", label) for run in scored]
        for case in cases:
            values = tuple(by_case.get(case) for by_case in dice)
            first, second = values if len(values) == 2 else (None, None)
            rows.append(
                CaseRow(
                    case=case,
                    label=label,
                    dice=values,
                    hd95=tuple(by_case.get(case) for by_case in hd95),
                    difference=None if first is None or second is None else second - first,
                )
            )
    return sorted(rows, key=lambda row: cases.index(row.case))


def verdict(runs: Sequence[RunSummary]) -> list[str]:
    """Sentences that say which run scored higher, by how much, and whether the scans tell the two apart.

    Of runs that were not scored, how far they are.
    """
    scored = [(run, defined_mean(list(case_values(run, "dice").values()))) for run in runs if run.scores]
    ranked = sorted([(mean, run) for run, mean in scored if mean is not None], key=lambda pair: -pair[0])
    if not ranked:
        return [*(said for run in runs for said in progress_sentences(run)), NOT_SCORED]
    best = ranked[0]
    count = len(case_values(best[1], "dice"))
    if len(ranked) == 1:
        interval = _interval(summary_of(best[1], case_values(best[1], "dice")), 3)
        opening = f"{best[1].name} reaches a mean Dice of {best[0]:.3f}{interval} over {count_text(count, 'scan')}."
        units = len({best[1].persons.get(case, case) for case in case_values(best[1], "dice")})
        unit = "person" if best[1].persons else "scan"
        few = [f"{count_text(units, unit)} tell little of others."] if units < FEWEST_UNITS else []
        return [opening, *few, *_without_mask(scored)]
    sentences = _compare(best, ranked[1])
    if len(ranked) > 2:
        others = ", ".join(f"{run.name} {mean:.3f}" for mean, run in ranked[2:])
        sentences.append(f"After them: {others}.")
    return [*sentences, *_distances(ranked), *_without_mask(scored)]


def _compare(better: tuple[float, RunSummary], other: tuple[float, RunSummary]) -> list[str]:
    """The two highest runs against each other, scan by scan."""
    (high, first), (low, second) = better, other
    theirs = case_values(second, "dice")
    pairs = {case: (value, theirs[case]) for case, value in case_values(first, "dice").items() if case in theirs}
    found = {case: a - b for case, (a, b) in pairs.items() if a is not None and b is not None}
    differences, paired = list(found.values()), summary_of(first, found)
    units = len({first.persons.get(case, case) for case in found})
    if paired.mean is None:
        return [
            f"{first.name} has a mean Dice of {high:.3f} and {second.name} of {low:.3f}, on different scans: "
            "the two cannot be compared."
        ]
    if f"{high:.3f}" == f"{low:.3f}":
        opening = f"{first.name} and {second.name} scored the same to three decimals: mean Dice {high:.3f}"
    else:
        opening = (
            f"{first.name} scored higher than {second.name}: mean Dice {high:.3f} against {low:.3f}, "
            f"a difference of {high - low:.3f}"
        )
    wins = sum(difference > 0 for difference in differences)
    return [
        f"{opening}, higher on {wins} of {count_text(len(differences), 'scan')}.",
        _certainty(paired, units, "person" if first.persons else "scan", first.name),
    ]


def _certainty(paired: Summary, units: int, unit: str, name: str) -> str:
    """What the interval of the paired difference allows one to say, and what it leaves out."""
    if paired.low is None or paired.high is None:
        return f"{units} {unit} is too few to say how sure this is."
    bounds = f"{paired.low:+.3f} to {paired.high:+.3f}".replace("-", "−")
    interval = f"The 95% bootstrap interval of the difference per scan, {bounds},"
    caution = "It covers the choice of scans, not the random seed of training."
    if units < FEWEST_UNITS and not paired.low <= 0 <= paired.high:
        return f"{interval} excludes 0, but {count_text(units, unit)} are too few to trust it. {caution}"
    if paired.low > 0:
        return f"{interval} excludes 0: on scans like these, {name} is better. {caution}"
    if paired.high < 0:
        return f"{interval} lies below 0 on the scans both have: the order of the means is not to be trusted. {caution}"
    return f"{interval} includes 0: these scans do not show that either is better. {caution}"


def _distances(ranked: Sequence[tuple[float, RunSummary]]) -> list[str]:
    """Mean HD95 of each run, and how many values are missing from it."""
    parts: list[str] = []
    for _, run in ranked:
        summary = summary_of(run, case_values(run, "hd95_mm"))
        if summary.mean is None:
            continue
        missing = (
            f" (without {count_text(summary.n_undefined, 'scan')} where it is undefined)" if summary.n_undefined else ""
        )
        parts.append(f"{summary.mean:.1f} mm for {run.name}{missing}")
    return [f"Mean HD95 (smaller is better): {', '.join(parts)}."] if parts else []


def _without_mask(scored: Sequence[tuple[RunSummary, float | None]]) -> list[str]:
    """How many of each run's scans had no mask to score."""
    counts = [
        (run, sum(one["severity"] == "error" for one in (run.scores or {}).get("problems", ()))) for run, _ in scored
    ]
    return [
        f"Of {run.name}, {count_text(count, 'scan')} had no mask and counted as empty."
        for run, count in counts
        if count
    ]


def _interval(summary: Summary, decimals: int) -> str:
    if summary.low is None or summary.high is None:
        return ""
    return f" (95% interval {summary.low:.{decimals}f} to {summary.high:.{decimals}f})"


def _cases(run: RunSummary) -> Sequence[Mapping[str, Any]]:
    return run.scores["cases"] if run.scores else ()
