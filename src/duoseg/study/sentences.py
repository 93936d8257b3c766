"""What tables and pages say of a study in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from duoseg.methods.registry import find_method
from duoseg.scans.texts import count_text, some_text
from duoseg.scores.paired import smallest_p
from duoseg.scores.policy import TOLERANCE_MM
from duoseg.scores.statistics import FEWEST_UNITS
from duoseg.study.content import Difference
from duoseg.study.reading import Study
from duoseg.study.records import CODES
from duoseg.study.statistics import LEVEL

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

_NAMED = 6


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
    """A p-value with three decimals, four where three do not tell its side of 0.05, or that it is below 0.001."""
    decimals = 4 if f"{value:.3f}" == f"{LEVEL:.3f}" else 3
    return "<0.001" if value < 0.001 else f"{value:.{decimals}f}"


def listed(names: Sequence[object]) -> str:
    """Words in a row, the last one after "and"."""
    texts = [str(name) for name in names]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}" if texts else "none"


def scope(study: Study) -> str:
    """What was trained, and on what it was scored."""
    scans = count_text(study.data.cases, "scan")
    if study.data.persons != study.data.cases:
        scans += f" of {count_text(study.data.persons, 'person')}"
    if study.data.on == "folds":
        folds = count_text(study.data.folds or 0, "fold")
        where = f"{folds} over the labelled scans, each scored once for each method and seed ({scans})"
    else:
        where = scans.replace(" ", f" {study.data.on} ", 1)
    if out := study.data.unscored:
        where += f"; {len(out)} more {'has' if len(out) == 1 else 'have'} no label ({some_text(out, _NAMED)})"
    parts: dict[str, list[int]] = {}
    for labelled in study.labelled:
        methods, seeds = study.extent(labelled)
        done = f"{count_text(len(methods), 'method')} and {count_text(len(seeds), 'seed')}"
        parts.setdefault(f"{done} ({', '.join(map(str, seeds))})", []).append(labelled)
    told = [f"{what} with {listed(at)} labelled scan{'' if at == [1] else 's'}" for what, at in parts.items()]
    return f"{'; '.join(told)}: scored on {where}."


def definitions(study: Study) -> list[str]:
    """How the figures were made, for whoever reads a table alone."""
    sentences = [
        *filter(None, [entries_text(study)]),
        "The last checkpoint of each training is scored, on the scans' original grid; none was chosen by its score. "
        f"NSD has a tolerance of {TOLERANCE_MM:g} mm.",
        "Means are over scans, seeds averaged first for each scan. Intervals are 95% bootstrap intervals over "
        "persons (expanded percentiles after Hesterberg, 10,000 draws): they cover the choice of scans, not that of "
        "seeds, which stand beside them.",
        f"Differences are from {study.against}, scan by scan, on the seeds that both have finished. p is that of "
        "Wilcoxon's two-sided signed-rank test over persons, corrected after Holm for the methods compared with one "
        f"number of labelled scans. ▲ better and ▼ worse: {marks_text(study)}.",
    ]
    if study.rivals:
        sentences += filter(None, [few_persons(study), few_seeds(study)])
    if len(study.classes) > 1:
        sentences.append(f"A scan's score is the mean over its classes ({listed(study.classes)}).")
    undefined = study.undefined()
    ranked = "In HD95 and ASSD a structure missed or invented counts with the scan's diagonal"
    count = f"{count_text(undefined, 'distance')} {'is' if undefined == 1 else 'are'} undefined"
    sentences.append(
        f"{ranked}, and HD95 and ASSD found leave it out; {count}." if undefined else f"{ranked}; there is none here."
    )
    if len(study.computed_with) > 1:
        more = ", and by more between the codes" if any(CODES in words for words in study.computed_with) else ""
        sentences.append(
            f"Combinations were computed with {listed(study.computed_with)}: figures may differ in their last digits"
            f"{more}."
        )
    if lacking := unfinished(study):
        sentences.append(lacking)
    return sentences


def entries_text(study: Study) -> str:
    """How many steps each took, and what differs from a method as it comes; empty where nobody knows."""
    steps = {name: sorted({*entry.steps.values()}) for name, entry in study.entries.items() if entry.steps}
    every = {count for counts in steps.values() for count in counts}
    said = []
    if len(every) == 1:
        said.append(f"Each training took {count_text(every.pop(), 'step')}.")
    elif every:
        told = [f"{name} {' or '.join(map(str, counts))}" for name, counts in steps.items()]
        said.append(f"Steps of a training: {listed(told)}.")
    for name, entry in study.entries.items():
        usual = _defaults(entry.method)
        own = [f"{key} = {value}" for key, value in entry.settings.items() if usual.get(key, ...) != value]
        if name != entry.method:
            said.append(f"{name} is {entry.method}{f' with {listed(own)}' if own else ''}.")
        elif own:
            said.append(f"{name} had {listed(own)}, which is not this version's default.")
    return " ".join(said)


def marks_text(study: Study) -> str:
    """What a mark asks for: of a study of an earlier version not yet what every seed says."""
    asked = f"the 95% interval of the difference excludes 0 and p is below {LEVEL}, on {FEWEST_UNITS} persons or more"
    earlier = any(row.seed_differences is None for row in study.comparisons)
    return asked if earlier else f"{asked}, and the difference has one sign with every seed"


def few_persons(study: Study) -> str:
    """That so few persons can show nothing, where that is so; empty otherwise."""
    rows = [row for row in study.comparisons if (row.class_name, row.metric) == (study.main_class, "dice")]
    families = Counter(row.labelled for row in rows)
    few = [row for row in rows if row.n_persons < FEWEST_UNITS]
    crowded = [row for row in rows if row not in few and families[row.labelled] * smallest_p(row.n_persons) >= LEVEL]

    def told(those: Sequence[Difference]) -> str:
        names = list(dict.fromkeys(f"{row.method} with {row.labelled} labelled" for row in those))
        return "none is called better or worse" if len(those) == len(rows) else f"that is so of {listed(names)}"

    said = []
    if few:
        persons = max(row.n_persons for row in few)
        said.append(
            f"With {count_text(persons, 'person')} no p of this test can fall below {smallest_p(persons):.4g}, and "
            f"fewer than {FEWEST_UNITS} allow no verdict: {told(few)}."
        )
    if crowded:
        persons, rivals = max((row.n_persons, families[row.labelled]) for row in crowded)
        said.append(
            f"With {count_text(persons, 'person')} and {count_text(rivals, 'rival')} no p can fall below "
            f"{rivals * smallest_p(persons):.2g} after Holm: {told(crowded)}. Compare fewer at a time, or score more "
            "scans."
        )
    return " ".join(said)


def few_seeds(study: Study) -> str:
    """That one seed cannot show what chance in training does, where a difference rests on no more; empty otherwise."""
    rows = [row for row in study.comparisons if (row.class_name, row.metric) == (study.main_class, "dice")]
    few = [row for row in rows if len(_seeds_of(study, row)) < 2]
    if not few:
        return ""
    names = [f"{row.method} with {row.labelled} labelled" for row in few]
    where = "" if len(few) == len(rows) else f" ({listed(names)})"
    return (
        f"One training each{where} does not show how much chance in training matters: a mark may be of that alone. "
        "Compare with more seeds."
    )


def unfinished(study: Study) -> str:
    """Which combinations lack a result, and what that means for the figures; empty where none does."""
    groups = {
        "failed": [one.name for one in study.unfinished if one.status == "failed"],
        "not done": [one.name for one in study.unfinished if one.status == "waiting"],
        "not asked for": [one.name for one in study.absent],
    }
    parts = [f"{listed(names[:_NAMED])} {word}" for word, names in groups.items() if names]
    if not parts:
        return ""
    more = sum(max(0, len(names) - _NAMED) for names in groups.values())
    rest = f", and {more} more without a result" if more else ""
    return f"† Incomplete ({'; '.join(parts)}{rest}): the figures are those of the combinations that there are."


def marked(study: Study, method: str, labelled: int) -> str:
    """A method's name, with a dagger where some of its combinations lack."""
    return f"{method} †" if study.is_incomplete(method, labelled) else method


def _defaults(method: str) -> dict[str, Any]:
    """A method's settings as they come; none where nobody knows, so that all that it was given are told."""
    try:
        return find_method(method).Settings().model_dump(mode="json")
    except ValueError:  # there is no such method here, or it has settings without a default
        return {}


def _seeds_of(study: Study, row: Difference) -> set[str]:
    """The seeds that a difference is of; studies of earlier versions tell of those that both have finished whole."""
    if row.seed_differences is not None:
        return {*row.seed_differences}
    means = [study.mean(method, row.labelled, row.metric, row.class_name) for method in (row.method, row.against)]
    first, second = ({*mean.seeds} if mean else set() for mean in means)
    return first & second


def scaled(value: float, metric: str) -> float:
    """A score in the unit in which people see it."""
    return 100 * value if metric in PERCENT else value
