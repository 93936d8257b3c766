"""What tables and pages say of a study in words."""

from __future__ import annotations

from collections.abc import Sequence

from duoseg.study.reading import Study

PERCENT = frozenset({"dice", "jaccard", "nsd"})
"""Shown in percent, as papers do; the others are in mm."""

TITLES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "nsd": "NSD",
    "hd95_mm": "HD95 found",
    "assd_mm": "ASSD found",
    "hd95_mm_ranked": "HD95",
    "assd_mm_ranked": "ASSD",
}
"""What tables call the metrics: "found" leaves undefined distances out, the plain names count the diagonal."""

UNITS = {metric: "%" if metric in PERCENT else "mm" for metric in TITLES}
MISSING = "–"


def number(value: float | None, metric: str) -> str:
    """A score with two decimals, in percent or mm; a dash where it is undefined."""
    return MISSING if value is None else f"{scaled(value, metric):.2f}"


def signed(value: float | None, metric: str) -> str:
    """A difference of scores with its sign (a true minus sign)."""
    return MISSING if value is None else f"{scaled(value, metric):+.2f}".replace("-", "−")


def interval(low: float | None, high: float | None, metric: str, *, sign: bool = False) -> str:
    """Both bounds; empty where there is no interval."""
    write = signed if sign else number
    return "" if low is None or high is None else f"{write(low, metric)} to {write(high, metric)}"


def p_text(value: float) -> str:
    """A p-value with three decimals, or that it is below 0.001."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def counted(count: int, noun: str) -> str:
    """A number with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[object]) -> str:
    """Words in a row, the last one after "and"."""
    texts = [str(name) for name in names]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}" if texts else "none"


def scope(study: Study) -> str:
    """What was trained, and on what it was scored."""
    scans = counted(study.data.cases, "scan")
    if study.data.persons != study.data.cases:
        scans += f" of {counted(study.data.persons, 'person')}"
    if study.data.on == "folds":
        where = f"{counted(study.data.folds or 0, 'fold')} over the labelled scans, each scored once ({scans})"
    else:
        where = scans.replace(" ", f" {study.data.on} ", 1)
    return (
        f"{counted(len(study.entries), 'method')} with {listed(study.labelled)} labelled scans and "
        f"{counted(len(study.seeds), 'seed')} ({', '.join(map(str, study.seeds))}), scored on {where}."
    )


def definitions(study: Study) -> list[str]:
    """How the figures were made, for whoever reads a table alone."""
    sentences = [
        "The last checkpoint of each training is scored, on the scans' original grid; none was chosen by its score.",
        "Means are over scans, seeds averaged first for each scan. Intervals are 95% percentile bootstrap intervals "
        "over persons (10,000 draws): they cover the choice of scans, not that of seeds, which stand beside them.",
        f"Differences are from {study.against}, scan by scan, on the seeds that both have finished. p is that of "
        "Wilcoxon's two-sided signed-rank test over persons, corrected after Holm for the methods compared with one "
        "number of labelled scans. ▲ better and ▼ worse: the 95% interval of the difference excludes 0.",
    ]
    if len(study.classes) > 1:
        sentences.append(f"A scan's score is the mean over its classes ({listed(study.classes)}).")
    undefined = study.undefined()
    ranked = "In HD95 and ASSD an undefined distance (a structure missed or invented) counts as the scan's diagonal"
    sentences.append(
        f"{ranked}, and HD95 and ASSD found leave it out; {undefined} {'is' if undefined == 1 else 'are'} undefined."
        if undefined
        else f"{ranked}; none is undefined here."
    )
    if study.unfinished:
        sentences.append(unfinished(study))
    return sentences


def unfinished(study: Study) -> str:
    """Which combinations lack a result, and what that means for the figures."""
    failed = [one.name for one in study.unfinished if one.status == "failed"]
    waiting = [one.name for one in study.unfinished if one.status == "waiting"]
    parts = [f"{listed(names)} {word}" for names, word in ((failed[:6], "failed"), (waiting[:6], "not done")) if names]
    more = max(0, len(failed) - 6) + max(0, len(waiting) - 6)
    rest = f", and {more} more without a result" if more else ""
    return f"† Incomplete ({'; '.join(parts)}{rest}): the figures are those of the combinations that there are."


def marked(study: Study, method: str, labelled: int) -> str:
    """A method's name, with a dagger where some of its combinations lack."""
    return f"{method} †" if study.is_incomplete(method, labelled) else method


def scaled(value: float, metric: str) -> float:
    """A score in the unit in which people see it."""
    return 100 * value if metric in PERCENT else value
