"""What a study shows, in words: who is better than the method that all are compared with, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

from duoseg.scans.texts import count_text
from duoseg.scores.statistics import FEWEST_UNITS
from duoseg.study.content import Difference, Mean
from duoseg.study.reading import Study
from duoseg.study.sentences import (
    few_persons,
    few_seeds,
    interval,
    listed,
    marked,
    number,
    p_text,
    signed,
    unfinished,
)
from duoseg.study.statistics import LEVEL, against_the_mean


def verdict(study: Study) -> list[str]:
    """A sentence or two for each number of labelled scans, and what must not be concluded."""
    if not study.summary:
        return ["No training of this study has finished, so there is nothing to compare yet."]
    sentences = [sentence for labelled in study.labelled for sentence in _at(study, labelled)]
    if study.rivals:
        sentences.append(_caution(study))
    if lacking := unfinished(study):
        sentences.append(lacking)
    return sentences


def _at(study: Study, labelled: int) -> list[str]:
    rows = {method: study.mean(method, labelled, "dice") for method in study.entries}
    means = {method: row for method, row in rows.items() if row is not None and row.mean is not None}
    where = f"With {count_text(labelled, 'labelled scan')}"
    if not means:
        return [f"{where} nothing has been scored yet."]
    sentences = [_highest(study, where, list(means.values()))]
    reference = means.get(study.against)
    if reference is None:
        return [*sentences, f"{study.against} has no result there, so nothing is compared with it."]
    found = [study.difference(method, labelled, "dice") for method in study.rivals]
    differences = sorted((row for row in found if row is not None), key=lambda row: -row.difference)
    if differences:
        sentences.append(_against(study, number(reference.mean, "dice"), differences))
    return sentences


def _highest(study: Study, where: str, means: Sequence[Mean]) -> str:
    """The highest mean of the complete entries: fewer seeds or folds may be the easier ones."""
    complete = [row for row in means if not study.is_incomplete(row.method, row.labelled)]
    if not complete:
        return f"{where} no entry is complete, so none is called the highest."
    best = max(complete, key=lambda row: row.mean or 0.0)
    bounds = interval(best.low, best.high, "dice")
    sentence = f"{where}, {best.method} has the highest mean Dice: {number(best.mean, 'dice')}%"
    sentence += f" (95% interval {bounds})" if bounds else ""
    out = [marked(study, row.method, row.labelled) for row in means if row not in complete]
    if not out:
        return f"{sentence}."
    verb = "is" if len(out) == 1 else "are"
    return f"{sentence}, of the complete entries; {listed(out)} {verb} incomplete and left out of this."


def _against(study: Study, mean: str, differences: Sequence[Difference]) -> str:
    groups = {kind: [row for row in differences if row.verdict == kind] for kind in ("better", "worse")}
    parts = [
        f"{kind}: {listed([_described(study, row) for row in rows])}" if rows else f"{kind}: none"
        for kind, rows in groups.items()
    ]
    unclear = [row for row in differences if row.verdict == "no difference shown"]
    apart = [row for row in unclear if row.n_persons >= FEWEST_UNITS and _excludes_zero(row)]
    torn = [row for row in apart if row.p_holm < LEVEL]  # all that a verdict asks for but the seeds
    apart = [row for row in apart if row not in torn]
    leaning = [row for row in unclear if row.p_holm < LEVEL and row not in torn]
    if neither := [marked(study, row.method, row.labelled) for row in unclear if row not in [*leaning, *torn, *apart]]:
        parts.append(f"no difference shown: {listed(neither)}")
    if leaning:
        names = [f"{marked(study, row.method, row.labelled)} (p {p_text(row.p_holm)})" for row in leaning]
        words = "no difference of means shown, though the ranks of the scans lean one way"
        parts.append(f"{words}: {listed(names)}")
    if torn:
        parts.append(f"not with each seed: {listed([_described(study, row, seeds=True) for row in torn])}")
    if apart:
        words = f"a hint at most, with an interval off 0 that does not stand the correction (p of {LEVEL} or more)"
        parts.append(f"{words}: {listed([_described(study, row) for row in apart])}")
    against = marked(study, study.against, differences[0].labelled)
    return f"Against {against} ({mean}%), scan by scan: {'; '.join(parts)}."


def _excludes_zero(row: Difference) -> bool:
    return row.low is not None and row.high is not None and not row.low <= 0 <= row.high


def _described(study: Study, row: Difference, *, seeds: bool = False) -> str:
    name = marked(study, row.method, row.labelled)
    by_seed = row.seed_differences or {}
    others = against_the_mean(row.difference, by_seed) if seeds else []
    told = [f"{signed(by_seed[seed], row.metric)} with seed {seed}" for seed in others]
    return f"{name} ({', '.join([f'{signed(row.difference, row.metric)} points', *told, f'p {p_text(row.p_holm)}'])})"


def _caution(study: Study) -> str:
    parts = "The highest of several means is partly so by chance, and the intervals cover the choice of scans alone."
    if few := few_persons(study):
        parts += f" {few}"
    if few := few_seeds(study):
        parts += f" {few}"
    elif len(study.seeds) < 3:
        parts += " Two seeds hardly show how much chance in training matters."
    if study.data.on == "test":
        parts += " These are test scans: whoever chooses a method or a setting by them needs others to report it on."
    return parts
