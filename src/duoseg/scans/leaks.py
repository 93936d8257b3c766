"""Scans that are on two sides of a split although their names differ: training would learn what it is scored on.

Two spellings of one path are told apart by the file system alone, without opening anything. A copy under another name
needs its bytes: sizes first, then a few samples, and all of it only where these agree. A copy that was stored anew, in
another format or compression, is found by ``duoseg check``, which compares voxels.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from duoseg.errors import InputError
from duoseg.scans.cases import Case, Problem
from duoseg.scans.formats import source_files
from duoseg.scans.permission import readable
from duoseg.scans.texts import count_text, some_text

if TYPE_CHECKING:
    from duoseg.scans.dataset import Dataset

SAMPLES = 8
SAMPLE_BYTES = 4096

Sided = tuple[str, Case]
"""The side of a split that a case is on, in words, and the case."""


def by_side(train: Sequence[Case], holdout: Iterable[str], test: Sequence[Case]) -> list[Sided]:
    """Return every case with its side."""
    held = set(holdout)
    return [
        *(("held out" if case.name in held else "for training", case) for case in train),
        *(("for testing", case) for case in test),
    ]


def shared_files(where: Path, cases: Sequence[Sided], rows: Mapping[str, int]) -> Iterator[Problem]:
    """Yield scans that two sides have in common: one file or folder, by whatever path it was named.

    Args:
        where: the file that says who is on which side.
        cases: of all sides.
        rows: of a table, the row of each case.
    """
    folders: defaultdict[Hashable, list[tuple[str, Sided]]] = defaultdict(list)
    for side, case in cases:
        for image in case.images:
            place, series = _identity(image)
            folders[place].append((series, (side, case)))
    groups = []
    for members in folders.values():
        for series in {series for series, _ in members}:
            # A folder named without a series means the one that it holds.
            groups.append([sided for other, sided in members if not other or not series or other == series])
    yield from _told(where, groups, rows, "one and the same scan")


def shared_contents(dataset: Dataset) -> Iterator[Problem]:
    """Yield scans that two sides have in common by content: copies, byte for byte, under other names.

    Raises:
        InputError: a scan's file is missing, or there is no permission to read it.
    """
    cases = by_side(dataset.train, dataset.holdout, dataset.test)
    groups = [[(image, sided) for sided in cases for image in sided[1].images]]
    for measure in (_sizes, _samples, _digest):
        groups = [part for group in groups for part in _divided(group, measure)]
    yield from _told(dataset.root, [[sided for _, sided in group] for group in groups], {}, "copies of one scan")


def require_apart(dataset: Dataset) -> None:
    """Refuse a data set in which a scan is on two sides as a copy under another name.

    Raises:
        InputError: names the cases.
    """
    for problem in shared_contents(dataset):
        raise InputError(str(problem))


def named(case: str, rows: Mapping[str, int]) -> str:
    """Return a case's name, with its row where it comes from a table."""
    return f"{case} (row {rows[case]})" if case in rows else case


def _told(where: Path, groups: Iterable[Sequence[Sided]], rows: Mapping[str, int], what: str) -> Iterator[Problem]:
    told: dict[str, None] = {}
    sides: dict[str, None] = {}
    for group in groups:
        if len({side for side, _ in group}) > 1:
            told |= {" and ".join(dict.fromkeys(named(case.name, rows) for _, case in group)): None}
            sides |= {side: None for side, _ in group}
    if told:
        yield Problem(
            "error",
            where,
            f"{count_text(len(told), 'group of cases is', 'groups of cases are')} {what}, {' and '.join(sides)}: "
            f"{some_text(list(told), separator='; ')}",
            "leave each scan on one side",
        )


def _identity(image: Path) -> tuple[Hashable, str]:
    """Return what is the same for all paths of a file or folder, and the series within it."""
    folder, _, series = str(image).partition("#")
    for path, rest in ((str(image), ""), (folder, series)):
        with suppress(OSError, ValueError):
            status = os.stat(path)
            # Some network drives number no files.
            return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path), rest
    return os.path.realpath(image), ""


def _divided(
    group: Sequence[tuple[Path, Sided]], measure: Callable[[Path], Hashable]
) -> Iterator[list[tuple[Path, Sided]]]:
    """Yield the parts of a group that agree in a measure and are not all on one side; the others matter no more."""
    parts: defaultdict[Hashable, list[tuple[Path, Sided]]] = defaultdict(list)
    if len({side for _, (side, _) in group}) > 1:
        for image, sided in group:
            parts[measure(image)].append((image, sided))
    for part in parts.values():
        if len({side for _, (side, _) in part}) > 1:
            yield part


def _sizes(image: Path) -> Hashable:
    return tuple(sorted(file.stat().st_size for file in source_files(image)))


def _samples(image: Path) -> Hashable:
    """Return a hash of pieces spread over each file."""
    return _hashed(image, SAMPLES)


def _digest(image: Path) -> Hashable:
    return _hashed(image, None)


def _hashed(image: Path, samples: int | None) -> Hashable:
    hashes = []
    for file in source_files(image):
        total = hashlib.sha256()
        with readable(file), file.open("rb") as stream:
            if samples is None:
                total = hashlib.file_digest(stream, "sha256")
            else:
                step = max(1, file.stat().st_size // samples)
                for index in range(samples):
                    stream.seek(index * step)
                    total.update(stream.read(SAMPLE_BYTES))
        hashes.append(total.digest())
    return tuple(sorted(hashes))
