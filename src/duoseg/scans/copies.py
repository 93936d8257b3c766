"""Scans that are on two sides of a split as copies, byte for byte, under other names.

A copy needs its bytes to be found: sizes first, then a few samples, and all of it only where these agree. Of folders of
slices the headers are opened only where a slice of one may be a copy of a file on another side. A copy that was stored
anew, in another format or compression, is found by ``duoseg check``, which compares voxels.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from duoseg.errors import InputError
from duoseg.files import readable
from duoseg.scans.cases import Problem
from duoseg.scans.formats import source_files
from duoseg.scans.leaks import SidedImage, folder_of, inode, is_crossed, sided_images, told

if TYPE_CHECKING:
    from duoseg.scans.dataset import Dataset

SAMPLES = 8
SAMPLE_BYTES = 4096

Progress = Callable[[int, int], None]


def shared_contents(dataset: Dataset, *, progress: Progress | None = None) -> Iterator[Problem]:
    """Yield scans that two sides have in common by content: copies, or voxels that lie in one and the same file.

    Args:
        dataset: whose training, holdout and test cases are compared.
        progress: called with how much of the comparison is done, and how much there is.

    Raises:
        InputError: a scan's file is missing, or there is no permission to read it.
    """
    images = sided_images(dataset.train, dataset.holdout, dataset.test)
    if not is_crossed(images):
        return
    files = cache(source_files)
    images = _without_unlike_folders(images, progress)
    stored: defaultdict[Hashable, list[SidedImage]] = defaultdict(list)
    for image in images:
        for file in files(image.path):
            stored[inode(file)].append(image)
    yield from told(dataset.place, stored.values(), {}, "stored in one file")

    groups: list[list[SidedImage]] = [images]
    for measure in (_sizes, _samples, _digests):
        groups = [part for group in groups for part in _divided(group, lambda image, of=measure: of(files(image.path)))]
    yield from told(dataset.place, groups, {}, "copies of one scan")


def require_apart(dataset: Dataset, *, progress: Progress | None = None) -> None:
    """Refuse a data set in which a scan is on two sides as a copy under another name.

    Args:
        dataset: whose training, holdout and test cases are compared.
        progress: called with how much of the comparison is done, and how much there is.

    Raises:
        InputError: names the cases.
    """
    for problem in shared_contents(dataset, progress=progress):
        if problem.severity == "error":
            raise InputError(str(problem))


def _without_unlike_folders(images: Sequence[SidedImage], progress: Progress | None) -> list[SidedImage]:
    """Leave out folders none of whose files can be a copy of one on another side, by sizes and then by beginnings."""
    listed = [_listed(image.path) for image in images]
    done = 0
    for measure in (_size, _beginning):
        sides: defaultdict[Hashable, set[str]] = defaultdict(set)
        measured: list[list[tuple[Hashable, Path]]] = []
        for image, files in zip(images, listed, strict=True):
            measured.append([(measure(file), file) for file in files])
            for value, _ in measured[-1]:
                sides[value].add(image.side)
            done += 1
            if progress is not None:
                progress(done, 2 * len(images))
        listed = [[file for value, file in one if len(sides[value]) > 1] for one in measured]
    return [image for image, files in zip(images, listed, strict=True) if files or folder_of(image.path) is None]


def _listed(image: Path) -> list[Path]:
    """Return the visible files of a folder, or the one file; none where it is missing, as whoever reads it tells."""
    place = folder_of(image)
    if place is None:
        return [image] if image.is_file() else []
    return visible_files(place[0])


def visible_files(folder: Path) -> list[Path]:
    """Return the files of a folder that are not hidden, in any order; ``InputError`` where it may not be read."""
    with readable(folder), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_file()]


def _size(file: Path) -> int:
    return file.stat().st_size


def _beginning(file: Path) -> bytes:
    with readable(file), file.open("rb") as stream:
        return hashlib.sha256(stream.read(SAMPLE_BYTES)).digest()


def _divided(group: Sequence[SidedImage], measure: Callable[[SidedImage], Hashable]) -> Iterator[list[SidedImage]]:
    """Yield the parts of a group that agree in a measure and are not all on one side; the others matter no more."""
    parts: defaultdict[Hashable, list[SidedImage]] = defaultdict(list)
    if is_crossed(group):
        for image in group:
            parts[measure(image)].append(image)
    yield from filter(is_crossed, parts.values())


def _sizes(files: Sequence[Path]) -> Hashable:
    return tuple(sorted(map(_size, files)))


def _samples(files: Sequence[Path]) -> Hashable:
    """Return a hash of pieces spread over each file."""
    return tuple(sorted(map(sample_of, files)))


def sample_of(file: Path) -> bytes:
    """A hash of pieces spread over a file."""
    total = hashlib.sha256()
    with readable(file), file.open("rb") as stream:
        step = max(1, _size(file) // SAMPLES)
        for index in range(SAMPLES):
            stream.seek(index * step)
            total.update(stream.read(SAMPLE_BYTES))
    return total.digest()


def _digests(files: Sequence[Path]) -> Hashable:
    return tuple(sorted(map(_digest, files)))


def _digest(file: Path) -> bytes:
    with readable(file), file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
