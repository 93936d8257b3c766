"""What only shows when the scans of a data set are compared with each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from duoseg.scans.cases import Case, Problem
from duoseg.scans.check_report import Role, Row
from duoseg.scans.dataset import Dataset
from duoseg.scans.description import is_ct
from duoseg.scans.leaks import SIDES
from duoseg.scans.origins import NO_ORIGIN, Origin
from duoseg.scans.scan import Grid
from duoseg.scans.segments import disagreements
from duoseg.scans.sides import may_be_a_side, speak_of_sides
from duoseg.scans.strays import stray_text
from duoseg.scans.texts import mm_text, some_text
from duoseg.scans.values import MAX_CLASSES

SPACING_FACTOR = 2.0
"""A voxel side further than this factor from the data set's median is pointed out."""

EQUAL_VOLUMES = 0.25
"""Two classes may be the two sides of one organ if their volumes differ by no more than this share, on average."""

FEWEST_LABELS = 3
"""Labels from which on one that has nothing in common with the others is pointed out."""

CT_AIR = -900
"""Values as low as this are those of air in CT: no other scanner has negative values by itself."""


@dataclass(frozen=True, eq=False)
class SeenLabel:
    """All that is kept of a label.

    Attributes:
        values: value -> volume in ml; None where there is no label, or it cannot be read.
        segments: name -> value of its segments.
        digest: of its voxels; empty where nothing is in it.
        strange_grid: where it lies, if its scan does not.
    """

    values: dict[int, float] | None = None
    segments: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""
    strange_grid: Grid | None = None


@dataclass(frozen=True, eq=False)
class Inspected:
    """All that is kept of a case that was read.

    Attributes:
        row: its line in the table.
        case: as it was named.
        digests: image file -> hash of its voxels, for those that could be read.
        lowest: channel number -> least value, for those that could be read.
        problems: what is wrong with its files.
        label: what is kept of its label.
        origin: of the first image that could be read.
    """

    row: Row
    case: Case
    digests: Mapping[Path, str]
    lowest: Mapping[int, float]
    problems: tuple[Problem, ...]
    label: SeenLabel
    origin: Origin = NO_ORIGIN

    @property
    def image(self) -> Path:
        """The first image that could be read."""
        return next(iter(self.digests))


def class_problems(dataset: Dataset, inspected: Sequence[Inspected]) -> Iterator[Problem]:
    """Yield classes that no label shows, too many of them, and the lack of any label."""
    labelled = [one.row for one in inspected if one.row.role in ("labelled", "holdout") and one.row.values]
    if not labelled:
        remedy = stray_text(dataset.problems) or "annotate at least one"
        yield Problem("error", dataset.place, "no training scan has a label that can be read", remedy)
        return
    present = {value for row in labelled for value in row.values or {}}
    for name, value in dataset.classes.items():
        if value not in present:
            yield Problem(
                "error",
                dataset.place,
                f"the class '{name}' (value {value}) is in none of the {len(labelled)} labelled scans",
                "annotate a scan that shows it, or remove it from dataset.json",
            )
    classes = set(dataset.classes.values()) or present - {0, dataset.ignore_value}
    if len(classes) > MAX_CLASSES:
        yield Problem(
            "error",
            dataset.place,
            f"there are {len(classes)} classes; at most {MAX_CLASSES} are supported",
            "merge some, or leave some out",
        )
    if not classes:
        yield Problem("error", dataset.place, "all labels are empty", "annotate at least one scan")
    if not dataset.classes:
        yield from _lonely(inspected, dataset.ignore_value)


def _lonely(inspected: Sequence[Inspected], ignore_value: int | None) -> Iterator[Problem]:
    """Yield a label of one value that no other label has, as of a program that writes 255 for the first class."""
    found = {one: {*(one.row.values or {})} - {0, ignore_value} for one in inspected if one.row.values}
    holders = Counter(value for values in found.values() for value in values)
    for one, values in found.items():
        others = holders.keys() - values
        if len(found) >= FEWEST_LABELS and len(values) == 1 and others and holders[min(values)] == 1:
            yield Problem(
                "warning",
                one.case.label or one.case.images[0],
                f"has the value {min(values)} alone, and no other label has it: they have {some_text(sorted(others))}",
                "give its class the value that it has in the others, or declare all classes in dataset.json",
            )


def segment_problems(dataset: Dataset, inspected: Sequence[Inspected]) -> Iterator[Problem]:
    """Yield labels that name a segment like another label, with another value, where no class is declared."""
    if not dataset.classes:
        yield from disagreements(
            [(one.case.label, one.label.segments) for one in inspected if one.case.label is not None]
        )


def side_problems(dataset: Dataset, inspected: Sequence[Inspected]) -> Iterator[Problem]:
    """Yield classes of nearly equal volume whose names leave open whether they are the two sides of one organ."""
    if speak_of_sides(dataset.classes):
        return
    volumes = [one.row.values for one in inspected if one.row.role in ("labelled", "holdout") and one.row.values]
    candidates = [(name, value) for name, value in dataset.classes.items() if may_be_a_side(name)]
    alike: dict[str, None] = {}
    for (first, a), (second, b) in combinations(candidates, 2):
        both = [(ml[a], ml[b]) for ml in volumes if a in ml and b in ml]
        apart = [1 - min(pair) / max(pair) for pair in both]
        if apart and sum(apart) / len(apart) <= EQUAL_VOLUMES:
            alike |= {first: None, second: None}
    if alike:
        yield Problem(
            "note",
            dataset.place,
            f"the classes {some_text([repr(name) for name in alike])} have nearly equal volumes, and no class name "
            "speaks of a side",
            "if they are the left and right of one organ, set plan.augmentation.mirror_axes = []",
        )


def spacing_problems(inspected: Sequence[Inspected]) -> Iterator[Problem]:
    """Yield scans whose voxel sides differ much from the median, compared along the body's axes."""
    known = [(one, one.row.grid) for one in inspected if one.row.grid is not None]
    if len(known) < 3:
        return
    spacings = np.array([grid.reordered(grid.canonical()).spacing for _, grid in known])
    median = np.median(spacings, axis=0)
    ratio = np.maximum(spacings / median, median / spacings).max(axis=1)
    for (one, _), spacing, factor in zip(known, spacings, ratio, strict=True):
        if factor > SPACING_FACTOR:
            yield Problem(
                "warning",
                one.image,
                f"its voxels of {mm_text(spacing)} (right x front x top) differ by a factor of {factor:.3g} "
                f"from the median of {mm_text(median)}",
                "make sure that its header is right",
            )


def channel_problems(dataset: Dataset, inspected: Sequence[Inspected]) -> Iterator[Problem]:
    """Yield channels whose values look like CT numbers while their names do not say so."""
    for number, channel in enumerate(dataset.channels):
        values = [one.lowest[number] for one in inspected if number in one.lowest]
        low = [value for value in values if value <= CT_AIR]
        if is_ct(channel) and 2 * len(low) > len(values):
            for one in inspected:
                if one.lowest.get(number, CT_AIR) >= 0:
                    yield Problem(
                        "warning",
                        one.case.images[number],
                        f"has no negative values, and {len(low)} of {len(values)} scans of the channel '{channel}' "
                        f"have those of air, down to {min(low):.4g}",
                        "make sure that it is CT, in Hounsfield units",
                    )
        if low and not is_ct(channel):
            yield Problem(
                "note",
                dataset.place,
                f"in {len(low)} of {len(values)} scans the values of the channel '{channel}' go down to "
                f"{min(low):.4g}, as in CT; by its name it is normalised scan by scan",
                "call it CT under channel_names in dataset.json if it is, for a window common to all scans",
            )


def duplicate_problems(inspected: Sequence[Inspected]) -> Iterator[Problem]:
    """Yield images that occur more than once: an error where training would see what it is scored on.

    A further channel alone may be shared for good reason: an atlas, or one that is empty where it was not acquired.
    """
    places: defaultdict[str, list[tuple[Inspected, Path]]] = defaultdict(list)
    for one in inspected:
        for image, digest in one.digests.items():
            places[digest].append((one, image))
    told: set[tuple[str, ...]] = set()
    for group in places.values():
        cases = tuple(f"{one.row.case} ({one.row.role})" for one, _ in group)
        if len(group) < 2 or cases in told:
            continue
        told.add(cases)
        if len({one.row.case for one, _ in group}) == 1:
            yield Problem(
                "warning",
                group[-1][1],
                f"holds the same voxels as {group[0][1].name}, another channel of the same case",
                "export the right series for it, or leave the channel out of all cases",
            )
            continue
        leaks = any(image == one.case.images[0] for one, image in group)
        crossed = leaks and len({side_of(one.row.role) for one, _ in group}) > 1
        yield Problem(
            "error" if crossed else "warning",
            group[-1][1],
            f"the same voxels are in {len(group)} images, of the cases {some_text(cases)}",
            "keep one of them" + (", or scores will be those of scans seen in training" if crossed else ""),
        )


def side_of(role: Role) -> str:
    """Return the side of the split that a case of some role is on, in words."""
    return {"holdout": SIDES[1], "test": SIDES[2]}.get(role, SIDES[0])
