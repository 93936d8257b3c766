"""Scans that are on two sides of a split although their names differ: training would learn what it is scored on.

It is a leak where the first channel of a case is on another side, too. A further channel alone may be shared for good
reason: an atlas, or one that is empty where it was not acquired.

Two spellings of one path are told apart by the file system alone; only where a folder is named in two ways do headers
tell which of its files are meant. Copies are looked for in `duoseg.scans.copies`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from duoseg.errors import InputError
from duoseg.scans.cases import Case, Problem
from duoseg.scans.formats import source_files
from duoseg.scans.texts import count_text, some_text

SIDES = ("for training", "held out", "for testing")
"""Of a split, in words."""

MOST_NAMES = 6
"""Cases of one group that are named."""


@dataclass(frozen=True)
class SidedImage:
    """One image of a case.

    Attributes:
        path: as it was named.
        case: the case's name.
        side: of the split, one of `SIDES`.
        first: whether it is the case's first channel.
    """

    path: Path
    case: str
    side: str
    first: bool


def sided_images(train: Iterable[Case], holdout: Iterable[str], test: Iterable[Case]) -> list[SidedImage]:
    """Return every image of every case, with the side that it is on."""
    held = set(holdout)
    sided = [
        *((SIDES[case.name in held], case) for case in train),
        *((SIDES[2], case) for case in test),
    ]
    return [
        SidedImage(path, case.name, side, first=number == 0)
        for side, case in sided
        for number, path in enumerate(case.images)
    ]


def shared_files(where: Path, images: Iterable[SidedImage], rows: Mapping[str, int]) -> Iterator[Problem]:
    """Yield scans that two sides have in common: one file or folder, by whatever path it was named, or a part of it.

    Args:
        where: the file that says who is on which side.
        images: of all sides.
        rows: of a table, the row of each case.
    """
    places: defaultdict[Hashable, list[tuple[str, SidedImage]]] = defaultdict(list)
    for image in images:
        place, series = _place(image.path)
        places[place].append((series, image))
    for members in list(places.values()):
        name, folder = members[0][1].path.name, inode(members[0][1].path.parent)
        if folder in places:  # a slice of what is named as a whole, too
            places[folder] += [(f"/{name}", image) for _, image in members]
    yield from told(where, [group for members in places.values() for group in _overlapping(members)], rows)


def told(
    where: Path, groups: Iterable[Sequence[SidedImage]], rows: Mapping[str, int], what: str = "one and the same scan"
) -> Iterator[Problem]:
    """Yield one problem for all groups that are leaks, and a warning for those that share a further channel only."""
    crossed = [sorted(group, key=lambda image: SIDES.index(image.side)) for group in groups if is_crossed(group)]
    leaks = [group for group in crossed if any(image.first for image in group)]
    if leaks:
        yield Problem(
            "error",
            where,
            f"{count_text(len(_texts(leaks, rows)), 'group of cases is', 'groups of cases are')} {what}, "
            f"{_sides(leaks)}: {some_text(_texts(leaks, rows), separator='; ')}",
            "leave each scan on one side",
        )
    further = [group for group in crossed if not any(image.first for image in group)]
    if further:
        yield Problem(
            "warning",
            where,
            f"{count_text(len(_texts(further, rows)), 'group of cases has', 'groups of cases have')} a further channel "
            f"in common, {_sides(further)}: {some_text(_texts(further, rows), separator='; ')}",
            "make sure that it shows what may be known of all scans, such as an atlas",
        )


def is_crossed(images: Iterable[SidedImage]) -> bool:
    """Return whether images are on more than one side."""
    return len({image.side for image in images}) > 1


def named(case: str, rows: Mapping[str, int]) -> str:
    """Return a case's name, with its row where it comes from a table."""
    return f"{case} (row {rows[case]})" if case in rows else case


def inode(path: Path) -> Hashable:
    """Return what is the same for all paths of one file or folder."""
    with suppress(OSError, ValueError):
        status = os.stat(path)
        if status.st_ino:  # some network drives number no files
            return status.st_dev, status.st_ino
    return os.path.realpath(path)


def folder_of(image: Path) -> tuple[Path, str] | None:
    """Return the folder that a scan is all or a part of, and the series within it; None where it is a file."""
    if image.is_dir():
        return image, ""
    name, _, series = image.name.rpartition("#")
    folder = image.with_name(name) if name else image
    return (folder, series) if name and folder.is_dir() else None


def _place(image: Path) -> tuple[Hashable, str]:
    folder, series = folder_of(image) or (image, "")
    return inode(folder), series


def _overlapping(members: Sequence[tuple[str, SidedImage]]) -> Iterator[list[SidedImage]]:
    """Yield the images of one place that are one scan, or of which one holds the other.

    They are named by the place alone (""), a series ("1.2.3"), or a file in it ("/slice.dcm").
    """
    spelt: defaultdict[str, list[SidedImage]] = defaultdict(list)
    for spelling, image in members:
        spelt[spelling].append(image)
    yield from spelt.values()
    if len(spelt) < 2 or not is_crossed(image for _, image in members):
        return
    files: dict[str, set[Hashable]] = {}
    for one, other in combinations(spelt, 2):
        if _kind(one) == _kind(other):
            continue
        for spelling in {one, other} - files.keys():  # a series is found by reading all of its folder
            files[spelling] = _files(spelt[spelling][0].path)
        if files[one] & files[other]:
            yield [*spelt[one], *spelt[other]]


def _kind(spelling: str) -> str:
    return spelling[:1] if spelling[:1] in ("", "/") else "series"


def _files(image: Path) -> set[Hashable]:
    try:
        return {inode(file) for file in source_files(image)}
    except InputError:  # told when it is to be read
        return set()


def _texts(groups: Iterable[Sequence[SidedImage]], rows: Mapping[str, int]) -> list[str]:
    texts = []
    for group in groups:
        names = list(dict.fromkeys(named(image.case, rows) for image in group))
        texts.append(" and ".join(names) if len(names) <= MOST_NAMES else some_text(names, most=MOST_NAMES))
    return list(dict.fromkeys(texts))


def _sides(groups: Iterable[Sequence[SidedImage]]) -> str:
    return " and ".join(dict.fromkeys(image.side for group in groups for image in group))
