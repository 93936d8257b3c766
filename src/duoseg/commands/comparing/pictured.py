"""The scans that a study's page shows."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from duoseg.commands.comparing.places import MASKS, SCORED, setup_folder
from duoseg.commands.picturing import marked_places, read_picture
from duoseg.commands.predicting.manifest import read_finished
from duoseg.errors import InputError
from duoseg.files import read_json
from duoseg.pictures.planes import CasePicture
from duoseg.scans.dataset import load_dataset
from duoseg.study.grid import Combination
from duoseg.study.reading import STUDY, Study, parse_study, read_scores
from duoseg.study.records import Row

logger = logging.getLogger("duoseg")

Shown = list[tuple[Combination, float]]
"""Of one scan: each method's combination, and its Dice."""


def study_pictures(folder: Path) -> list[tuple[str, CasePicture]]:
    """The best, median and worst scan of a study, as two methods have them; none where scans or masks have gone.

    Raises:
        InputError: ``study.json`` is missing, or it or the scores are damaged.
    """
    study = parse_study(read_json(folder / STUDY), source=str(folder / STUDY))
    try:
        chosen = chosen_scans(study, read_scores(folder))
        return [one for place, case, shown in chosen for one in _pictures(folder, place, case, shown)]
    except (InputError, OSError, MemoryError) as fault:
        logger.warning("scans are not shown: %s", fault)
        return []


def chosen_scans(study: Study, scores: Sequence[tuple[Combination, Row]]) -> list[tuple[str, str, Shown]]:
    """The best, median and worst scan with the fewest labels: place, name, and the first seed of two methods.

    These are the one with the highest mean Dice, by which the scans are ranked, and the one that others are compared
    with; where both are the same, it and the second best.
    """
    for labelled in study.labelled:
        methods = _methods(study, labelled)
        shown = _shown(scores, methods, labelled)
        if methods and shown:
            places = marked_places({case: pairs[0][1] for case, pairs in shown.items()})
            return [(place, case, shown[case]) for place, case in places]
    return []


def _methods(study: Study, labelled: int) -> list[str]:
    means = {method: mean.mean for method in study.entries if (mean := study.mean(method, labelled, "dice"))}
    ranked = sorted((m for m, value in means.items() if value is not None), key=lambda m: -(means[m] or 0))
    if study.against in ranked[1:]:
        return [ranked[0], study.against]
    return ranked[:2]


def _shown(scores: Sequence[tuple[Combination, Row]], methods: Sequence[str], labelled: int) -> dict[str, Shown]:
    """By case that all methods have: of each method the combination with its first seed, and its Dice there."""
    rows: dict[str, dict[str, dict[Combination, list[float | None]]]] = {}
    for about, row in scores:
        if about.labelled == labelled and about.method in methods:
            found = rows.setdefault(row.case, {}).setdefault(about.method, {})
            found.setdefault(about, []).append(row.dice)
    complete = {}
    for case, by_method in rows.items():
        shown: Shown = []
        for method in methods:
            first = min(by_method.get(method, ()), key=lambda about: about.seed, default=None)
            classes = [] if first is None else [value for value in by_method[method][first] if value is not None]
            if first is not None and classes:
                shown.append((first, fmean(classes)))
        if len(shown) == len(methods):
            complete[case] = shown
    return complete


def _pictures(folder: Path, place: str, case: str, shown: Shown) -> Iterator[tuple[str, CasePicture]]:
    """One picture a method; of one scan, which all have scored in the same setup."""
    first = shown[0][0]
    scored = load_dataset(setup_folder(folder, first.labelled, first.fold) / SCORED)
    scan = next((one for one in scored.test if one.name == case), None)
    if scan is None or scan.label is None:
        raise InputError(f"{scored.root}: has no label of {case}.")
    for about, dice in shown:
        masks = folder / about.name / MASKS
        entry = read_finished(masks).get(case)
        if entry is None:
            raise InputError(f"{masks}: has no mask of {case}.")
        picture = read_picture(entry, masks, image=scan.images[0], truth=scan.label, dice=dice)
        yield f"{place}: {about.method}, {about.labelled} labelled, seed {about.seed}", picture
