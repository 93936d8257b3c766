"""What the scans are like: sizes, spacings, intensities, and the anatomy in the labels that may be read.

A fingerprint holds measurements and no choice; `make_plan` turns it into choices. Triples are in canonical
axis order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from duoseg.errors import InputError
from duoseg.planning.classes import class_indices, label_values
from duoseg.planning.known import Known
from duoseg.planning.orient import canonical_spacing, to_canonical
from duoseg.planning.plan import Section, Spacing, Triple
from duoseg.planning.reading import read_channels, read_label_scan
from duoseg.scans.cases import Case
from duoseg.scans.dataset import Dataset, Split
from duoseg.scans.formats import source_files
from duoseg.scans.scan import Grid, content_box
from duoseg.scans.segments import disagreements, names_of_classes, with_ignored
from duoseg.scans.side_by_side import Room, in_threads, voxels_to_hold
from duoseg.scans.strays import stray_text
from duoseg.scans.values import MAX_CLASSES

SAMPLES_PER_CASE = 10_000  # foreground voxels of one scan that enter the intensity statistics
VOXEL_BYTES = 10  # memory for a voxel: as stored, as 32-bit float, and whether it is content
FACTS = 2
"""Raised where a scan is measured in another way than before: what is known of scans is then measured anew."""
Progress = Callable[[int, int], None]

logger = logging.getLogger("duoseg")


class CaseFacts(Section):
    """One scan: its shape and content box in voxels, its spacing in mm."""

    name: str
    labelled: bool
    shape: Triple
    spacing: Spacing
    content: Triple


class ChannelFacts(Section):
    """One channel's intensities inside the labelled foreground, pooled over the labelled scans."""

    name: str
    mean: float
    std: float
    percentile_00_5: float
    median: float
    percentile_99_5: float


class ClassFacts(Section):
    """One class in the labelled scans that show it: volume (ml) and bounding box (mm) in each."""

    name: str
    value: int
    volumes_ml: tuple[float, ...] = ()
    extents_mm: tuple[tuple[float, float, float], ...] = ()


class Fingerprint(Section):
    """The measurements of a split; ``intensities`` is empty where no labelled voxel is foreground."""

    channels: tuple[str, ...]
    classes: dict[str, int]
    ignore_value: int | None = None
    labelled: int = Field(ge=0)
    unlabelled: int = Field(ge=0)
    cases: tuple[CaseFacts, ...] = Field(min_length=1)
    intensities: tuple[ChannelFacts, ...] = ()
    anatomy: tuple[ClassFacts, ...] = ()


@dataclass
class _Measured:
    """What the labels have shown so far, by file value."""

    volumes: dict[int, list[float]] = field(default_factory=dict)
    extents: dict[int, list[tuple[float, float, float]]] = field(default_factory=dict)
    named: list[tuple[Path, Mapping[str, int]]] = field(default_factory=list)
    samples: list[np.ndarray] = field(default_factory=list)


def take_fingerprint(
    split: Split,
    dataset: Dataset,
    *,
    known: Known | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Fingerprint:
    """Measure every image of the split and the labels of ``split.labelled``.

    An unlabelled scan that was measured before, as ``known`` says, is not read again. ``threads`` share the unlabelled
    scans, each with one of them in memory, as far as there is room.

    Where the data set names no classes they are the values found in these labels, called as the labels' segments are
    where all agree, else "1", "2", ...
    ``progress(done, all)`` is called after each scan.

    Raises:
        InputError: there is no scan, a scan is not usable, a label holds a value that is no class, or no scan has a
            label while some label files match no image.
    """
    cases = (*split.labelled, *split.unlabelled)
    if not cases:
        raise InputError(f"{dataset.place}: there is no scan to train on.")
    stray = stray_text(dataset.problems)
    if stray and not split.labelled:
        raise InputError(f"{dataset.place}: no training scan has a label; {stray}.")
    facts: list[CaseFacts] = []
    measured = _Measured()
    room = Room() if threads > 1 else None
    labelled = (_measure(case, dataset, measured) for case in split.labelled)
    unlabelled = in_threads(lambda case: _unlabelled_facts(case, known, room), split.unlabelled, threads=threads)
    for one in chain(labelled, unlabelled):
        facts.append(one)
        if progress is not None:
            progress(len(facts), len(cases))
    if not dataset.classes:
        _require_agreement(measured.named)
    classes = dataset.classes or names_of_classes(sorted(measured.volumes), [names for _, names in measured.named])
    return Fingerprint(
        channels=dataset.channels,
        classes=dict(classes),
        ignore_value=dataset.ignore_value,
        labelled=len(split.labelled),
        unlabelled=len(split.unlabelled),
        cases=tuple(facts),
        intensities=_channel_facts(dataset.channels, measured.samples),
        anatomy=tuple(
            ClassFacts(
                name=name,
                value=value,
                volumes_ml=tuple(measured.volumes.get(value, ())),
                extents_mm=tuple(measured.extents.get(value, ())),
            )
            for name, value in classes.items()
        ),
    )


def _require_agreement(named: Sequence[tuple[Path, Mapping[str, int]]]) -> None:
    """Refuse labels that call another organ by a value than others do; tell of those that may.

    Raises:
        InputError: names the labels.
    """
    for problem in disagreements(named):
        if problem.severity == "error":
            raise InputError(str(problem))
        logger.warning(str(problem))


def _unlabelled_facts(case: Case, known: Known | None, room: Room | None) -> CaseFacts:
    """The facts of an unlabelled scan, whatever it was called when they became known."""

    def find() -> CaseFacts:
        with room.taken(VOXEL_BYTES * sum(map(voxels_to_hold, case.images))) if room else nullcontext():
            return _facts(case, *read_channels(case))

    def parse(kept: dict[str, Any]) -> CaseFacts:
        return CaseFacts.model_validate({**kept, "name": case.name, "labelled": False})

    if known is None:
        return find()
    return known.recall(
        f"facts {FACTS}",
        [file for image in case.images for file in source_files(image)],
        find,
        parse=parse,
        plain=lambda facts: facts.model_dump(mode="json", exclude={"name", "labelled"}),
    )


def _measure(case: Case, dataset: Dataset, measured: _Measured) -> CaseFacts:
    """Measure a scan and its label."""
    voxels, grid = read_channels(case)
    scan = read_label_scan(case, grid, with_ignored(dataset.classes, dataset.ignore_value))
    assert case.label is not None
    measured.named.append((case.label, scan.segments))
    order = grid.canonical()
    label, image = to_canonical(scan.voxels, *order), to_canonical(voxels, *order)
    _measure_label(label, image, grid, dataset, measured, str(case.label))
    return _facts(case, voxels, grid)


def _facts(case: Case, voxels: np.ndarray, grid: Grid) -> CaseFacts:
    voxels = to_canonical(voxels, *grid.canonical())
    x, y, z = voxels.shape[1:]
    i, j, k = (stop - start for start, stop in content_box(voxels))
    return CaseFacts(
        name=case.name,
        labelled=case.label is not None,
        shape=(x, y, z),
        spacing=canonical_spacing(grid),
        content=(i, j, k),
    )


def _measure_label(
    label: np.ndarray,
    image: np.ndarray,
    grid: Grid,
    dataset: Dataset,
    measured: _Measured,
    name: str,
) -> None:
    spacing = canonical_spacing(grid)
    found = [value for value in label_values(label, name=name) if value not in (0, dataset.ignore_value)]
    if dataset.classes and not set(found) <= set(dataset.classes.values()):
        class_indices(label, dataset.classes, dataset.ignore_value, name=name)  # which says what is wrong
    elif not dataset.classes and found and found[0] < 0:
        raise InputError(f"{name}: holds {found[0]}, but a label's values are 0 (background) and above.")
    if len(found) > MAX_CLASSES:
        raise InputError(
            f"{name}: holds {len(found)} different values, and at most {MAX_CLASSES} classes are supported; is it an "
            "image?"
        )
    inside = np.zeros_like(label, bool)
    for value in found:
        mask = label == value
        inside |= mask
        sides = [stop - start for start, stop in content_box(mask[None])]
        x, y, z = (side * mm for side, mm in zip(sides, spacing, strict=True))
        measured.volumes.setdefault(value, []).append(int(mask.sum()) * grid.voxel_volume_ml)
        measured.extents.setdefault(value, []).append((x, y, z))
    # canonical order first: the sample must not depend on how the axes are stored
    foreground = np.flatnonzero(inside)
    if len(foreground) > SAMPLES_PER_CASE:
        foreground = np.random.default_rng(0).choice(foreground, SAMPLES_PER_CASE, replace=False)
    if len(foreground):
        measured.samples.append(image[(slice(None), *np.unravel_index(np.sort(foreground), label.shape))])


def _channel_facts(channels: tuple[str, ...], samples: list[np.ndarray]) -> tuple[ChannelFacts, ...]:
    if not samples:
        return ()
    pooled = np.concatenate(samples, axis=1).astype(np.float64)
    facts = []
    for name, values in zip(channels, pooled, strict=True):
        low, middle, high = (float(value) for value in np.percentile(values, (0.5, 50, 99.5)))
        facts.append(
            ChannelFacts(
                name=name,
                mean=float(values.mean()),
                std=float(values.std()),
                percentile_00_5=low,
                median=middle,
                percentile_99_5=high,
            )
        )
    return tuple(facts)
