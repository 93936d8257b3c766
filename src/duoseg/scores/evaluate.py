"""From masks to scores: two arrays, two files, or two folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.scans.cases import Problem
from duoseg.scans.description import Description
from duoseg.scans.formats import read_scan
from duoseg.scans.limits import memory_limit
from duoseg.scans.misplacement import misplacement_text
from duoseg.scans.origins import label_origin_problems
from duoseg.scans.scan import Grid, Scan
from duoseg.scans.segments import by_name, disagreements, strangers, with_ignored
from duoseg.scans.side_by_side import in_processes
from duoseg.scans.texts import some_text
from duoseg.scans.values import MAX_CLASSES, as_integers
from duoseg.scores import policy
from duoseg.scores.overlap import count_overlap
from duoseg.scores.pairing import RESAMPLE, Pair, check_grids, find_names, pair_masks
from duoseg.scores.policy import Values
from duoseg.scores.results import CaseScores, Scores
from duoseg.scores.surface import surface_distances
from duoseg.scores.values import values_in

PROCESS_BYTES = 200_000_000
"""Of a process that scores, beside the masks."""

VOXEL_BYTES = 24
"""Of a voxel of a case that is being read and scored."""

FEWEST_CASES = 8
"""For each process: with fewer, starting it takes longer than it saves."""

Progress = Callable[[int, int], None]
"""Called with the number of cases done and the number of all cases."""


def score_masks(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float],
    labels: Mapping[str, int],
    *,
    tolerance_mm: float = policy.TOLERANCE_MM,
    ignore_value: int | None = None,
    voxel_volume_ml: float | None = None,
    axes: np.ndarray | None = None,
) -> dict[str, Values]:
    """Score every label of a predicted mask against a reference mask.

    Args:
        prediction: (X, Y, Z) integers.
        reference: (X, Y, Z) integers on the same grid.
        spacing: Voxel sides in mm, one per axis.
        labels: Class names and their values in both masks.
        tolerance_mm: Distance up to which NSD counts a surface voxel as met.
        ignore_value: Voxels with this value in the reference count for nothing, in either mask.
        voxel_volume_ml: Volume of a voxel where the axes are not at right angles; else the sides' product.
        axes: (3, 3), each voxel axis's step in the world as a column, mm, where the axes are not at right angles.

    Returns:
        For each name in ``labels`` the values named in ``policy.METRICS``, ``None`` where undefined.

    Raises:
        InputError: The shapes differ, or spacing, volume, tolerance or ignored value make no sense.
    """
    if prediction.shape != reference.shape:
        raise InputError(
            f"the prediction's shape is {prediction.shape}, the reference's {reference.shape}; equal needed."
        )
    if len(spacing) != reference.ndim or not all(np.isfinite(side) and side > 0 for side in spacing):
        raise InputError(f"spacing {tuple(spacing)} is not {reference.ndim} positive numbers of mm.")
    voxel_ml = float(np.prod(spacing)) / 1000 if voxel_volume_ml is None else voxel_volume_ml
    if not (np.isfinite(voxel_ml) and voxel_ml > 0):
        raise InputError(f"a voxel of {voxel_ml} ml is no voxel; give a positive volume.")
    if not (np.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise InputError(f"a tolerance of {tolerance_mm} mm is not a distance; give 0 or more.")
    if ignore_value is not None and ignore_value in labels.values():
        raise InputError(f"value {ignore_value} is a class and the ignored value at once; it can be only one.")
    unknown = None if ignore_value is None else reference == ignore_value
    return {
        name: _score_label(prediction == value, reference == value, spacing, voxel_ml, tolerance_mm, unknown, axes)
        for name, value in labels.items()
    }


def evaluate(
    prediction: Path,
    reference: Path,
    *,
    dataset_json: Path | None = None,
    tolerance_mm: float = policy.TOLERANCE_MM,
    threads: int = 1,
    progress: Progress | None = None,
) -> Scores:
    """Score a mask file against a reference file, or a folder of masks against a folder of references.

    Files of folders pair by case name. Classes are named by ``dataset_json``, or by a ``dataset.json`` beside
    the references; where none names any, every value found in a mask is a label, named by its value.

    Args:
        prediction: A mask file, or a folder of them.
        reference: The true mask, or a folder or table of them.
        dataset_json: Names the classes.
        tolerance_mm: Of the normalised surface distance.
        threads: At most so many processes share the cases, one in memory each, as far as memory allows; few cases
            are not shared.
        progress: Called after each case.

    Raises:
        InputError: Files are absent or unreadable, do not pair, hold fractions or (without class names) more than
            127 values, or lie on different grids.
    """
    pairs, problems = pair_masks(prediction, reference)
    names = find_names(reference, dataset_json)
    largest = check_grids(pairs)
    room = memory_limit() // 2 // (PROCESS_BYTES + VOXEL_BYTES * largest)
    processes = max(1, min(threads, len(pairs) // FEWEST_CASES, room))
    work = partial(_score_pair, names=names, tolerance_mm=tolerance_mm)
    cases: list[CaseScores] = []
    for case, found in in_processes(work, pairs, processes=processes):
        cases.append(case)
        problems += found
        if progress:
            progress(len(cases), len(pairs))
    return Scores(
        cases=tuple(cases if names.classes else _with_same_labels(cases)),
        policy=policy.describe(tolerance_mm=tolerance_mm, ignore_value=names.ignore_value),
        problems=tuple(problems),
    )


def _score_pair(pair: Pair, names: Description, tolerance_mm: float) -> tuple[CaseScores, list[Problem]]:
    """Read and score one case, and say what is wrong with its masks."""
    problems: list[Problem] = []
    predicted, expected, grid = _read_pair(pair, with_ignored(names.classes, names.ignore_value), problems)
    labels, ignore_value = names.classes, names.ignore_value
    if not labels:
        found = _label_values(pair.prediction, predicted) | _label_values(pair.reference, expected)
        labels = {str(value): value for value in found - {ignore_value}}
    else:
        problems += _unnamed(pair, predicted, expected, {*labels.values(), ignore_value, 0})
    scored = score_masks(
        predicted,
        expected,
        grid.spacing,
        labels,
        tolerance_mm=tolerance_mm,
        ignore_value=ignore_value,
        voxel_volume_ml=grid.voxel_volume_ml,
        axes=grid.affine[:3, :3] if grid.is_sheared else None,
    )
    return CaseScores(pair.case, scored), problems


def _score_label(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float],
    voxel_ml: float,
    tolerance_mm: float,
    unknown: np.ndarray | None,
    axes: np.ndarray | None,
) -> Values:
    """Score one label's boolean masks."""
    if unknown is not None:
        prediction = prediction & ~unknown
    overlap = count_overlap(prediction, reference)
    edge_case = policy.edge_case(overlap.prediction, overlap.reference)
    values: Values = edge_case or {"dice": overlap.dice, "jaccard": overlap.jaccard}
    if edge_case is None:
        distances = surface_distances(prediction, reference, spacing, unknown=unknown, axes=axes)
        if distances is None:
            values |= policy.NO_SURFACE
        else:
            values |= {
                "hd95_mm": distances.hd95,
                "assd_mm": distances.assd,
                "nsd": distances.nsd(tolerance_mm),
            }
    values |= {
        "volume_ml": overlap.prediction * voxel_ml,
        "reference_volume_ml": overlap.reference * voxel_ml,
    }
    return values


def _read_pair(pair: Pair, classes: Mapping[str, int], problems: list[Problem]) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Read both masks as integers on one grid, the reference's where it is whole; a missing prediction as zeros."""
    reference = _read_mask(pair.reference, classes, problems)
    if pair.prediction is None:
        expected = as_integers(reference.voxels, pair.reference)
        return np.zeros_like(expected), expected, reference.grid
    prediction = _read_mask(pair.prediction, classes, problems)
    of_reference = str(pair.reference)
    problems += label_origin_problems(pair.prediction, prediction.origin, [reference.origin], of_reference)
    if not classes:
        for problem in disagreements([(one.source, one.segments) for one in (reference, prediction)]):
            if problem.severity == "error":
                raise InputError(str(problem))
            problems.append(problem)
    if reference.cropped:
        around = reference.grid.union(prediction.grid) if prediction.cropped else None
        reference = reference.onto(around or prediction.grid) or reference
    placed = prediction.onto(reference.grid)
    if placed is None:
        differs = misplacement_text(prediction.grid, reference.grid, str(pair.reference))
        raise InputError(f"{pair.prediction}: {differs}. {RESAMPLE}")
    return (
        as_integers(placed.voxels, pair.prediction),
        as_integers(reference.voxels, pair.reference),
        reference.grid,
    )


def _read_mask(path: Path, classes: Mapping[str, int], problems: list[Problem]) -> Scan:
    """Read a mask with the declared values of its segments; add a warning where the file has others."""
    stored = read_scan(path)
    problems += strangers(path, stored.segments, classes)
    mask = by_name(stored, classes)
    if mask is not stored:
        problems.append(Problem("warning", path, mask.notes[-1], "make sure that this is right"))
    return mask


def _label_values(path: Path | None, mask: np.ndarray) -> set[int]:
    values = values_in(mask)
    if values and min(values) < 0:
        raise InputError(
            f"{path}: holds the value {min(values)}, and no class is below 0. Mend the mask, or say in dataset.json "
            "what its values mean."
        )
    if len(values) > MAX_CLASSES:
        raise InputError(
            f"{path}: looks like a scan, not a mask: it holds {len(values)} different values besides 0, and at "
            f"most {MAX_CLASSES} classes are supported. Give the mask, or name the classes in dataset.json."
        )
    return values


def _unnamed(pair: Pair, predicted: np.ndarray, expected: np.ndarray, known: set[int | None]) -> list[Problem]:
    """A warning for each mask that holds values without a class name: they are scored as background."""
    problems = []
    for path, mask in ((pair.prediction, predicted), (pair.reference, expected)):
        values = sorted(values_in(mask) - known)
        if path is not None and values:
            listed = f"value {values[0]} belongs" if len(values) == 1 else f"values {some_text(values)} belong"
            message = f"{listed} to no class of dataset.json; counted as background"
            remedy = "name them under 'labels', or check that this mask belongs to this data set"
            problems.append(Problem(severity="warning", file=path, message=message, remedy=remedy))
    return problems


def _with_same_labels(cases: Sequence[CaseScores]) -> list[CaseScores]:
    """Give every case every label that any case has, by increasing value.

    A label that is absent from both masks was answered rightly. Where nothing is labelled at all, label 1 is
    meant.
    """
    values = sorted({int(name) for case in cases for name in case.labels}) or [1]
    absent: Values = {**policy.BOTH_EMPTY, "volume_ml": 0.0, "reference_volume_ml": 0.0}
    return [
        CaseScores(case.case, {str(value): case.labels.get(str(value), dict(absent)) for value in values})
        for case in cases
    ]
