"""Checking a data set: every file is read once, every problem told, nothing stops at the first.

What is kept of a scan is one row of figures and a hash, so that memory grows by no more than that per scan.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from duoseg.errors import InputError
from duoseg.scans.cases import Case, Problem
from duoseg.scans.check_report import SEVERITIES, CheckReport, Role, Row, severity_text
from duoseg.scans.comparing import (
    Inspected,
    SeenLabel,
    channel_problems,
    class_problems,
    duplicate_problems,
    segment_problems,
    side_problems,
    spacing_problems,
)
from duoseg.scans.dataset import Dataset
from duoseg.scans.formats import exists, read_scan
from duoseg.scans.inspection import (
    content_hash,
    count_label,
    cropped_problems,
    grid_problems,
    image_problems,
    label_problems,
    problem_from,
    value_range,
)
from duoseg.scans.mixups import crossed_persons, misspelt_persons, shared_labels, swapped_labels
from duoseg.scans.origins import NO_ORIGIN, Origin, label_origin_problems
from duoseg.scans.scan import Grid, Pairs, content_box
from duoseg.scans.segments import by_name, strangers, with_ignored
from duoseg.scans.side_by_side import Room, in_threads, voxels_to_hold
from duoseg.scans.values import fill_not_finite, not_finite_text

__all__ = ["CheckReport", "Problem", "Role", "Row", "check_dataset"]

Progress = Callable[[int, int], None]

VOXEL_BYTES = 8
"""Memory that a voxel of a scan takes, at most, while it is read and looked at; measured."""


def check_dataset(
    dataset: Dataset, *, labelled: int | None = None, threads: int = 1, progress: Progress | None = None
) -> CheckReport:
    """Read every scan of a data set and tell what is there and what is wrong.

    Args:
        dataset: best loaded with ``tolerant=True``, so that errors of its layout are told with all others.
        labelled: keep the labels of the first so many training cases; those of the others are not opened.
        threads: how many share the scans, as far as memory allows.
        progress: called with (scans read, scans in all) after each.

    Raises:
        InputError: there are fewer than ``labelled`` labels.
    """
    cases = list(_cases(dataset, labelled))
    read: list[Inspected] = []
    room = Room()

    def inspect(one: tuple[Case, Role]) -> Inspected:
        case, role = one
        if threads == 1:
            return _inspect(dataset, case, role)
        largest = max(map(voxels_to_hold, case.images))  # one channel is read at a time
        with room.taken(VOXEL_BYTES * largest):
            return _inspect(dataset, case, role)

    for one in in_threads(inspect, cases, threads=threads):
        read.append(one)
        if progress is not None:
            progress(len(read), len(cases))
    inspected = [one for one, (case, _) in zip(read, cases, strict=True) if not _is_left_out(dataset, case)]
    found = [
        *dataset.problems,
        *(problem for one in read for problem in one.problems),
        *class_problems(dataset, inspected),
        *segment_problems(dataset, inspected),
        *side_problems(dataset, inspected),
        *spacing_problems(inspected),
        *channel_problems(dataset, inspected),
        *duplicate_problems(inspected),
        *shared_labels(inspected),
        *swapped_labels(inspected),
        *misspelt_persons(dataset, inspected),
        *crossed_persons(dataset, inspected),
    ]
    names = {value: name for name, value in dataset.classes.items()}
    if dataset.ignore_value is not None:
        names[dataset.ignore_value] = "ignore"
    return CheckReport(
        rows=tuple(_with_verdicts([(one.row, case) for one, (case, _) in zip(read, cases, strict=True)], found)),
        problems=tuple(sorted(found, key=lambda problem: SEVERITIES.index(problem.severity))),
        class_names=names,
    )


def _cases(dataset: Dataset, labelled: int | None) -> Iterator[tuple[Case, Role]]:
    with_label = sum(case.label is not None for case in dataset.train)
    if labelled is not None and any(problem.severity == "error" for problem in dataset.problems):
        # the labels that are missing may be those with errors
        labelled = min(labelled, with_label) if with_label else None
    split = dataset.split(labelled=labelled)
    chosen = {case.name: case for case in split.labelled}
    rest = {case.name: case for case in split.unlabelled}
    for case in dataset.train:
        held = case.name in dataset.holdout
        if case.name in chosen:
            yield chosen[case.name], "holdout" if held else "labelled"
        else:
            yield rest[case.name], "holdout" if held else "unlabelled"
    for one in dataset.left_out:
        if not one.test:
            yield one.case, "labelled" if one.case.label and labelled is None else "unlabelled"
    for case in dataset.test:
        yield case, "test"
    for one in dataset.left_out:
        if one.test:
            yield one.case, "test"


def _inspect(dataset: Dataset, case: Case, role: Role) -> Inspected:
    """Read a case; of one that is left out, only the images that are there."""
    left_out = _is_left_out(dataset, case)
    images = [image for image in case.images if exists(image)] if left_out else case.images
    problems: list[Problem] = []
    digests: dict[Path, str] = {}
    lowest: dict[int, float] = {}
    boxes: list[Pairs] = []
    first: tuple[Path, Grid] | None = None
    origins: list[Origin] = []
    twice = [image for image, times in Counter(images).items() if times > 1]
    if twice:
        text = f"is given for {len(images) - len({*images}) + 1} channels of the case"
        problems.append(Problem("warning", twice[0], text, "give each channel a file of its own"))
    for number, image in enumerate(images):
        try:
            scan = read_scan(image)
        except InputError as error:
            problems.append(problem_from(error, image))
            continue
        problems += image_problems(scan)
        digests[image] = content_hash(scan)
        origins.append(scan.origin)
        low, _ = value_range(scan.voxels)
        if low is not None:
            lowest[number] = low
        if first is None:
            first = image, scan.grid
        else:
            problems += grid_problems(scan, *first)
            scan = scan.onto(first[1]) or scan
        if not_finite_text(scan.voxels) and low is not None:  # as it will be prepared
            scan = replace(scan, voxels=fill_not_finite(scan.voxels, scan.source))
        boxes.append(content_box(scan.voxels[None]))
        del scan  # before the next channel is read
    label = SeenLabel()
    if case.label is not None and not left_out:
        label = _inspect_label(dataset, case, first, origins, _union(boxes), problems)
    row = Row(case.name, role, first[1] if first else None, len(images), label.values, "")
    origin = origins[0] if origins else NO_ORIGIN
    return Inspected(row, case, digests, lowest, tuple(problems), label, origin)


def _is_left_out(dataset: Dataset, case: Case) -> bool:
    return any(case is one.case for one in dataset.left_out)


def _inspect_label(
    dataset: Dataset,
    case: Case,
    image: tuple[Path, Grid] | None,
    origins: Sequence[Origin],
    box: Pairs | None,
    problems: list[Problem],
) -> SeenLabel:
    """Read the label of a case that has one."""
    file = case.label
    assert file is not None
    try:
        scan = read_scan(file)
    except InputError as error:
        problems.append(problem_from(error, file))
        return SeenLabel()
    declared = with_ignored(dataset.classes, dataset.ignore_value)
    problems += strangers(file, scan.segments, declared)
    try:
        scan = by_name(scan, declared)
    except InputError as error:
        problems.append(problem_from(error, file))
    if image is not None:
        problems += label_origin_problems(file, scan.origin, origins, case.name)
        problems += grid_problems(scan, *image)
    placed = scan.onto(image[1]) if image is not None else None
    if placed is not None and box is not None:
        problems += cropped_problems(placed, box, dataset.ignore_value)
    count = count_label(scan.voxels)
    problems += label_problems(scan, count, dataset.classes, dataset.ignore_value)
    volumes = {value: voxels * scan.grid.voxel_volume_ml for value, voxels in sorted(count.voxels.items())}
    return SeenLabel(
        volumes,
        scan.segments,
        digest=content_hash(scan) if any(voxels for value, voxels in count.voxels.items() if value) else "",
        strange_grid=scan.grid if image is not None and placed is None else None,
    )


def _union(boxes: Sequence[Pairs]) -> Pairs | None:
    """The box around all channels' boxes."""
    if not boxes:
        return None
    x, y, z = ((min(low for low, _ in axis), max(high for _, high in axis)) for axis in zip(*boxes, strict=True))
    return x, y, z


def _with_verdicts(rows: Sequence[tuple[Row, Case]], found: Sequence[Problem]) -> Iterator[Row]:
    """Yield the rows with all that was told of their files, also what only showed among the others."""
    told: defaultdict[Path, list[Problem]] = defaultdict(list)
    for problem in found:
        told[problem.file].append(problem)
    for row, case in rows:
        files = dict.fromkeys(case.files)
        yield replace(row, verdict=severity_text(problem for file in files for problem in told[file]) or "ok")
