"""Checking a data set: every file is read once, every problem told, nothing stops at the first.

What is kept of a scan is one row of figures and a hash, so that memory grows by no more than that per scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from duoseg.errors import InputError
from duoseg.scans.cases import Case, Problem, Severity
from duoseg.scans.check_report import CheckReport, Role, Row
from duoseg.scans.comparing import (
    Inspected,
    channel_problems,
    class_problems,
    duplicate_problems,
    spacing_problems,
)
from duoseg.scans.dataset import Dataset
from duoseg.scans.formats import read_scan
from duoseg.scans.inspection import (
    content_hash,
    count_label,
    cropped_problems,
    grid_problems,
    image_problems,
    label_problems,
    problem_from,
)
from duoseg.scans.scan import Grid, Pairs, content_box

__all__ = ["CheckReport", "Problem", "Role", "Row", "check_dataset"]

Progress = Callable[[int, int], None]

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


def check_dataset(dataset: Dataset, *, labelled: int | None = None, progress: Progress | None = None) -> CheckReport:
    """Read every scan of a data set and tell what is there and what is wrong.

    Args:
        dataset: best loaded with ``tolerant=True``, so that errors of its layout are told with all others.
        labelled: keep the labels of the first so many training cases; those of the others are not opened.
        progress: called with (scans read, scans in all) after each.

    Raises:
        InputError: there are fewer than ``labelled`` labels.
    """
    cases = list(_cases(dataset, labelled))
    inspected: list[Inspected] = []
    for done, (case, role) in enumerate(cases, start=1):
        inspected.append(_inspect(dataset, case, role))
        if progress is not None:
            progress(done, len(cases))
    found = [
        *dataset.problems,
        *(problem for one in inspected for problem in one.problems),
        *class_problems(dataset, inspected),
        *spacing_problems(inspected),
        *channel_problems(dataset, inspected),
        *duplicate_problems(inspected),
    ]
    names = {value: name for name, value in dataset.classes.items()}
    if dataset.ignore_value is not None:
        names[dataset.ignore_value] = "ignore"
    return CheckReport(
        rows=tuple(one.row for one in inspected),
        problems=tuple(sorted(found, key=lambda problem: _SEVERITIES.index(problem.severity))),
        class_names=names,
    )


def _cases(dataset: Dataset, labelled: int | None) -> Iterator[tuple[Case, Role]]:
    with_label = sum(case.label is not None for case in dataset.train)
    if labelled is not None and any(problem.severity == "error" for problem in dataset.problems):
        labelled = min(labelled, with_label) or None  # the labels that are missing may be those with errors
    split = dataset.split(labelled=labelled)
    chosen = {case.name: case for case in split.labelled}
    rest = {case.name: case for case in split.unlabelled}
    for case in dataset.train:
        held = case.name in dataset.holdout
        if case.name in chosen:
            yield chosen[case.name], "holdout" if held else "labelled"
        else:
            yield rest[case.name], "holdout" if held else "unlabelled"
    for case in dataset.test:
        yield case, "test"


def _inspect(dataset: Dataset, case: Case, role: Role) -> Inspected:
    problems: list[Problem] = []
    digests: dict[Path, str] = {}
    lowest: dict[int, float] = {}
    boxes: list[Pairs] = []
    first: tuple[Path, Grid] | None = None
    for number, image in enumerate(case.images):
        try:
            scan = read_scan(image)
        except InputError as error:
            problems.append(problem_from(error, image))
            continue
        problems += image_problems(scan)
        digests[image] = content_hash(scan)
        lowest[number] = float(scan.voxels.min())
        boxes.append(content_box(scan.voxels[None]))
        if first is None:
            first = image, scan.grid
        else:
            problems += grid_problems(image, scan.grid, *first)
        del scan  # before the next channel is read
    values = None
    if case.label is not None:
        values = _inspect_label(dataset, case.label, first, _union(boxes), problems)
    row = Row(case.name, role, first[1] if first else None, len(case.images), values, _verdict(problems))
    return Inspected(row, digests, lowest, tuple(problems))


def _inspect_label(
    dataset: Dataset, file: Path, image: tuple[Path, Grid] | None, box: Pairs | None, problems: list[Problem]
) -> dict[int, float] | None:
    try:
        scan = read_scan(file)
    except InputError as error:
        problems.append(problem_from(error, file))
        return None
    if image is not None:
        problems += grid_problems(file, scan.grid, *image)
    if image is not None and box is not None and image[1].matches(scan.grid):
        problems += cropped_problems(scan, box, dataset.ignore_value)
    count = count_label(scan.voxels)
    problems += label_problems(scan, count, dataset.classes, dataset.ignore_value)
    return {value: voxels * scan.grid.voxel_volume_ml for value, voxels in sorted(count.voxels.items())}


def _union(boxes: Sequence[Pairs]) -> Pairs | None:
    """The box around all channels' boxes."""
    if not boxes:
        return None
    x, y, z = ((min(low for low, _ in axis), max(high for _, high in axis)) for axis in zip(*boxes, strict=True))
    return x, y, z


def _verdict(problems: Sequence[Problem]) -> str:
    counts = {severity: sum(problem.severity == severity for problem in problems) for severity in _SEVERITIES}
    parts = [f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items() if count]
    return ", ".join(parts) or "ok"
