"""Which prediction belongs to which reference, what the label values mean, and whether the grids agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from duoseg.errors import InputError
from duoseg.files import located, readable
from duoseg.scans.cases import Problem
from duoseg.scans.dataset import load_dataset
from duoseg.scans.description import Description, read_description
from duoseg.scans.formats import can_read, exists, read_grid, stem
from duoseg.scans.inputs import is_table
from duoseg.scans.misplacement import misplacement_text
from duoseg.scans.names import has_control, shown
from duoseg.scans.strays import Spellings, by_spelling, like_name
from duoseg.scans.texts import count_text, some_text

DESCRIPTION = "dataset.json"
SHOWN = 5
SEGMENTS = (".nrrd", ".nhdr", ".dcm", ".ima")
"""Endings of files that may hold segments without their empty rim."""
RESAMPLE = "Predict on the scans that the references were drawn on, or resample the masks (nearest neighbour)."


@dataclass(frozen=True)
class Pair:
    """One case: its reference mask and its predicted mask, ``None`` where no file has the case's name."""

    case: str
    prediction: Path | None
    reference: Path


def pair_masks(prediction: Path, reference: Path) -> tuple[list[Pair], list[Problem]]:
    """Pair two files, or the files of two folders by case name.

    A folder of predictions and one reference file pair by that file's name; the references of a table are the labels
    of its test scans. Every reference gives a pair. A reference without a prediction is an error among the problems,
    predictions without a reference are a note.

    Raises:
        InputError: A path is absent, no mask is in the reference folder, or no two names agree.
    """
    for path in (prediction, reference):
        if not exists(path):
            raise InputError(f"{path}: no such file or folder. Give two masks, or two folders of masks.")
    table = is_table(reference)
    if not prediction.is_dir() and not table and (not reference.is_dir() or can_read(reference)):
        return [Pair(stem(reference), prediction, reference)], []
    if not prediction.is_dir():
        raise InputError(f"{prediction} is a file but {reference} is not: name the reference file for this mask.")
    if table:
        references = {case.name: case.label for case in load_dataset(reference).test if case.label is not None}
    else:
        references = _masks_in(reference) if reference.is_dir() else {stem(reference): reference}
    predictions = _masks_in(prediction)
    if not references:
        if table:
            raise InputError(f"{reference}: no row with the split test has a label; only these are references.")
        raise InputError(
            f"{reference}: no mask in a known format here. Give the folder that holds the reference masks."
        )
    if predictions and not predictions.keys() & references.keys():
        raise InputError(
            f"{prediction}: none of its {count_text(len(predictions), 'mask')} has the name of a reference in "
            f"{reference}: '{min(predictions)}' here, '{min(references)}' there. Masks pair by name without the suffix."
        )
    pairs = [Pair(case, predictions.get(case), path) for case, path in references.items()]
    unpaired = predictions.keys() - references.keys()
    spelt = by_spelling(unpaired)
    problems = [_missing(pair, prediction, spelt) for pair in pairs if pair.prediction is None]
    extra = sorted(unpaired) if reference.is_dir() or table else []
    if extra:
        remedy = "they are not scored; give their references to score them"
        number = count_text(len(extra), "mask has no reference of its name", "masks have no reference of their name")
        message = f"{number}: {some_text(extra, SHOWN)}"
        problems.append(Problem(severity="note", file=prediction, message=message, remedy=remedy))
    return pairs, problems


def find_names(reference: Path, dataset_json: Path | None) -> Description:
    """Class names and ignored value from ``dataset_json``, or from a ``dataset.json`` beside the reference.

    Beside means in the reference's folder or the folder above. Without such a file, or where one beside the
    reference names no class, the description has no classes.

    Raises:
        InputError: The file is malformed or holds region labels (not supported), or the file that was asked for
            is absent or names no class.
    """
    if dataset_json is not None:
        if not dataset_json.is_file():
            raise InputError(f"{dataset_json}: there is no such file; class names come from a {DESCRIPTION}.")
        if dataset_json.name != DESCRIPTION:
            raise InputError(f"{dataset_json}: class names come from a file called {DESCRIPTION}; rename it.")
        description = read_description(dataset_json.parent)
        if not description.classes:
            raise InputError(
                f"{dataset_json}: no 'labels' that map class names to values, such as {{'background': 0, 'organ': 1}}."
            )
        return description
    beside = description_beside(reference)
    return Description() if beside is None else read_description(beside.parent)


def description_beside(reference: Path) -> Path | None:
    """The ``dataset.json`` in the reference's folder or the folder above; None where there is none."""
    folder = reference if reference.is_dir() else reference.parent
    places = (place / DESCRIPTION for place in (folder, Path(located(folder)).parent, folder.resolve().parent))
    return next((place for place in places if place.is_file()), None)


def check_grids(pairs: Sequence[Pair]) -> int:
    """Compare the grids of all pairs from the file headers, before anything is scored; another axis order is fine.

    Returns:
        The voxels of the largest grid.

    Raises:
        InputError: Grids differ; the message names each case and by how many voxels or mm.
    """
    faults, largest = [], 0
    for pair in pairs:
        expected = read_grid(pair.reference)
        found = expected if pair.prediction is None else read_grid(pair.prediction)
        voxels, expected_voxels = math.prod(found.shape), math.prod(expected.shape)
        largest = max(largest, voxels, expected_voxels)
        if pair.prediction is None:
            continue
        # A part of the grid is enough for segments stored without their empty rim; reading tells whether it is that.
        smaller = pair.prediction if voxels < expected_voxels else pair.reference
        part = expected.box_of(found) is not None or found.box_of(expected) is not None
        part &= voxels == expected_voxels or _may_be_cropped(smaller)
        cropped = _may_be_cropped(pair.prediction) and _may_be_cropped(pair.reference)
        if not part and not (cropped and expected.union(found) is not None):
            faults.append(f"{pair.prediction}: {misplacement_text(found, expected, str(pair.reference))}")
    if faults:
        raise InputError(
            f"{len(faults)} of {len(pairs)} predictions {'does' if len(faults) == 1 else 'do'} not lie on "
            f"{'its' if len(faults) == 1 else 'their'} reference's grid: "
            f"{some_text(faults, SHOWN, '; ')}. {RESAMPLE}"
        )
    return largest


def _may_be_cropped(path: Path) -> bool:
    return path.is_dir() or path.name.lower().endswith(SEGMENTS)


def _masks_in(folder: Path) -> dict[str, Path]:
    """The masks of a folder by case name, in the order of names; temporary and hidden files are not masks.

    Raises:
        InputError: Two files have one case name.
    """
    masks: dict[str, Path] = {}
    with readable(folder):
        paths = sorted(folder.iterdir())
    for path in paths:
        if path.name.startswith(".") or not can_read(path):
            continue
        case = stem(path)
        if has_control(case):
            raise InputError(f"{path.parent}: the file name {shown(path.name)} is no text; rename it.")
        if case in masks:
            raise InputError(f"{path} and {masks[case].name} are both masks of case '{case}'. Remove one of them.")
        masks[case] = path
    return masks


def _missing(pair: Pair, folder: Path, unpaired: Spellings) -> Problem:
    near = like_name(pair.case, unpaired)
    meant = f"rename that of '{near}' if it is meant" if near else "predict it"
    return Problem(
        severity="error",
        file=pair.reference,
        message=f"case '{pair.case}' has no prediction in {folder}; it is scored as an empty mask",
        remedy=f"{meant}, or remove its reference if it was not meant to be scored",
    )
