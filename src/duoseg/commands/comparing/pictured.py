"""The scans that a study's page shows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from duoseg.commands.comparing.places import MASKS, SCORED, setup_folder
from duoseg.commands.picturing import marked_places, read_picture
from duoseg.commands.predicting.manifest import read_finished
from duoseg.errors import InputError
from duoseg.files import read_json
from duoseg.pictures.planes import CasePicture
from duoseg.reporting.study_page import write_study_page
from duoseg.scans.dataset import load_dataset
from duoseg.study.grid import Combination
from duoseg.study.reading import STUDY, Study, parse_study, read_scores
from duoseg.study.records import Row

logger = logging.getLogger("duoseg")


def write_pictured_study_page(folder: Path, page: Path) -> None:
    """Write the page of a study, with pictures of scans where these and their masks are still there.

    Raises:
        InputError: as `write_study_page`.
    """
    pictures = []
    try:
        study = parse_study(read_json(folder / STUDY), source=str(folder / STUDY))
        pictures = study_pictures(folder, study, read_scores(folder))
    except InputError as fault:
        logger.warning("scans are not shown: %s", fault)
    write_study_page(folder, page, pictures=pictures)


def study_pictures(
    folder: Path, study: Study, scores: Sequence[tuple[Combination, Row]]
) -> list[tuple[str, CasePicture]]:
    """The best, median and worst scan with the fewest labels and the first seed, each as two methods have it.

    These are the one with the highest mean Dice, by which the scans are ranked, and the one that others are compared
    with; where both are the same, it and the second best.

    Raises:
        InputError: a scan, a label or a mask is not there, or cannot be read.
    """
    found: list[tuple[str, CasePicture]] = []
    for labelled in study.labelled:
        methods = _shown(study, labelled)
        if not methods:
            continue
        dice = _dice(scores, methods, labelled)
        for place, case in marked_places({case: shown[0][1] for case, shown in dice.items()}):
            for about, value in dice[case]:
                found.append((f"{place}: {_words(about)}", _picture(folder, about, case, value)))
        break
    return found


def _shown(study: Study, labelled: int) -> list[str]:
    means = {method: mean.mean for method in study.entries if (mean := study.mean(method, labelled, "dice"))}
    ranked = sorted((m for m, value in means.items() if value is not None), key=lambda m: -(means[m] or 0))
    if study.against in ranked[1:]:
        return [ranked[0], study.against]
    return ranked[:2]


def _dice(
    scores: Sequence[tuple[Combination, Row]], methods: Sequence[str], labelled: int
) -> dict[str, list[tuple[Combination, float]]]:
    """By case that all methods have: of each method the combination with its first seed, and its Dice there."""
    rows: dict[str, dict[str, dict[Combination, list[float | None]]]] = {}
    for about, row in scores:
        if about.labelled == labelled and about.method in methods:
            found = rows.setdefault(row.case, {}).setdefault(about.method, {})
            found.setdefault(about, []).append(row.dice)
    complete = {}
    for case, by_method in rows.items():
        shown = []
        for method in methods:
            first = min(by_method.get(method, ()), key=lambda about: about.seed, default=None)
            classes = [] if first is None else [value for value in by_method[method][first] if value is not None]
            if first is not None and classes:
                shown.append((first, fmean(classes)))
        if len(shown) == len(methods):
            complete[case] = shown
    return complete


def _words(about: Combination) -> str:
    return f"{about.method}, {about.labelled} labelled, seed {about.seed}"


def _picture(folder: Path, about: Combination, case: str, dice: float) -> CasePicture:
    scored = load_dataset(setup_folder(folder, about.labelled, about.fold) / SCORED)
    scan = next((one for one in scored.test if one.name == case), None)
    masks = folder / about.name / MASKS
    entry = read_finished(masks).get(case)
    if scan is None or scan.label is None or entry is None:
        raise InputError(f"{masks}: has no mask of {case}, or {scored.root} no label of it.")
    return read_picture(case, image=scan.images[0], prediction=masks / entry["mask"], truth=scan.label, dice=dice)
