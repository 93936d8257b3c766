"""Finding the cases of a data set in each layout: nnU-Net's raw folders, plain folders, a CSV table."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from duoseg.errors import InputError
from duoseg.files import readable
from duoseg.scans.cases import Case, LeftOut, Problem, Side
from duoseg.scans.description import MOST_CHANNELS, Description, default_channels, too_high_a_channel
from duoseg.scans.formats import can_read, format_suffix, has_ending, loose_slices, readable_suffixes, stem
from duoseg.scans.strays import by_spelling, misnamed_folders, stray_label, unread_files

_CHANNEL = re.compile(r"_(\d{4})$")


@dataclass
class Found:
    """What lies on disk, before splits are applied.

    Attributes:
        train: cases of the training folder (or rows), by name.
        unlabelled: cases of ``imagesUn``, by name.
        test: cases of the test folder (or rows), by name.
        holdout: names that a table marks as holdout.
        channels: channel names; every case has as many images.
        broken: names of cases that exist but cannot be used, each with a problem.
        left_out: the incomplete ones among these.
        rows: of a table, the row of each case.
        problems: what was found wrong on the way, but for those of cases left out.
        too_many: of a channel too many, who says how many there are, and what to do.
    """

    train: list[Case] = field(default_factory=list)
    unlabelled: list[Case] = field(default_factory=list)
    test: list[Case] = field(default_factory=list)
    holdout: list[str] = field(default_factory=list)
    channels: tuple[str, ...] = ()
    broken: set[str] = field(default_factory=set)
    left_out: list[LeftOut] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    too_many: tuple[str, str] = ("that dataset.json names", "name it in channel_names, or remove the file")


def find_in_folders(root: Path, description: Description) -> Found | None:
    """Find the cases of an nnU-Net raw folder or a plain ``images`` folder; None where it is neither.

    Raises:
        InputError: the declared file ending is of no readable format.
    """
    ending = description.file_ending
    if ending is not None and not format_suffix(Path(f"x{ending}")):
        raise InputError(
            f"{root / 'dataset.json'}: files ending in '{ending}' cannot be read; "
            f"these can: {', '.join(readable_suffixes())}."
        )
    if (root / "imagesTr").is_dir():
        folders = [("imagesTr", "labelsTr"), ("imagesUn", None), ("imagesTs", "labelsTs")]
    elif (root / "images").is_dir():
        folders = [("images", "labels"), ("imagesUn", None), ("imagesTs", "labelsTs")]
    else:
        return None
    found = Found()
    files = [
        (root / images, image_files(root / images, ending), image_files(root / labels, ending) if labels else [])
        for images, labels in folders
    ]
    numbered = has_channel_numbers((images, labels) for _, images, labels in files)
    listings = [Listing(images, folder=folder, labels=labels, numbered=numbered) for folder, images, labels in files]
    highest = max((number for listing in listings for number in listing.channel_numbers()), default=0)
    if highest >= MOST_CHANNELS and not description.channels:
        numbered_so = (file for _, images, _ in files for file in images if channel_number(file) == highest)
        raise too_high_a_channel(next(numbered_so, root), highest)
    found.channels = description.channels or default_channels(highest + 1)
    sides: list[tuple[list[Case], Side]] = [(found.train, "train"), (found.unlabelled, "raw"), (found.test, "test")]
    for (target, side), listing in zip(sides, listings, strict=True):
        target.extend(listing.cases(found))
        found.left_out.extend(LeftOut(case, side, problems) for case, problems in listing.incomplete)
    for (folder, images, of_folder), (_, labels) in zip(files, folders, strict=True):
        if folder.is_dir():
            found.problems.extend(unread_files(folder, images))
        if labels and (root / labels).is_dir():
            found.problems.extend(unread_files(root / labels, of_folder, severity="warning"))
        found.problems.extend(_slices_problems(folder, images))
    for name, meant in misnamed_folders(root):
        found.problems.append(Problem("warning", root / name, "this folder is not read", f"call it {meant}"))
    return found


def _slices_problems(folder: Path, images: Sequence[Path]) -> Iterable[Problem]:
    for slices in loose_slices(images):
        message = (
            f"{len(slices)} files in {folder.name} are slices of one DICOM series, not scans ({slices[0].name}, ...)"
        )
        yield Problem("error", slices[0], message, f"move them into {folder.name}/<case>_0000/, a folder of their own")


def has_channel_numbers(folders: Iterable[tuple[Sequence[Path], Sequence[Path]]]) -> bool:
    """Return whether ``_0000``, ``_0001``, ... at the end of file names number the channels of a case.

    A case may itself be called patient_0001: most of the label files tell, whose names are those of the cases.

    Args:
        folders: image files and their label files, of all folders of the data set.
    """
    first, for_numbers, for_names = False, 0, 0
    for images, labels in folders:
        cases = {stem(label) for label in labels}
        for name in map(stem, images):
            if match := _CHANNEL.search(name):
                first |= int(match[1]) == 0
                for_numbers += name[: match.start()] in cases
                for_names += name in cases
    return first and for_numbers >= for_names


def channel_number(image: Path) -> int | None:
    """Return the number at the end of a file's name, ``_0001`` and the like."""
    match = _CHANNEL.search(stem(image))
    return int(match[1]) if match else None


class Listing:
    """Image files grouped by case and channel, with the label files that belong to them.

    Args:
        images: image files.
        folder: where they lie, for messages.
        labels: label files.
        numbered: whether numbers at the end of names are those of channels; a folder without any has one channel.
    """

    def __init__(
        self, images: Sequence[Path], *, folder: Path, labels: Sequence[Path] = (), numbered: bool = True
    ) -> None:
        self.folder = folder
        self.labels = _by_stem(labels)
        files = _by_stem(images)
        self.images: dict[str, dict[int, list[Path]]] = defaultdict(dict)
        self.unnumbered: list[Path] = []
        self.incomplete: list[tuple[Case, tuple[Problem, ...]]] = []
        numbered = numbered and any(_CHANNEL.search(name) for name in files)
        for name, paths in files.items():
            match = _CHANNEL.search(name)
            if not numbered:
                self.images[name][0] = paths
            elif match:
                self.images[name[: match.start()]][int(match[1])] = paths
            else:
                self.unnumbered.extend(paths)

    def channel_numbers(self) -> Iterable[int]:
        """Yield the channel number of every image file."""
        return (number for channels in self.images.values() for number in channels)

    def cases(self, found: Found) -> list[Case]:
        """Return the complete cases, by name; keep the others in ``incomplete``, with what is wrong with each."""
        for path in self.unnumbered:
            found.problems.append(
                Problem(
                    "error",
                    path,
                    "its name lacks the channel number that other images here have",
                    "name it <case>_0000, <case>_0001, ... or take it out",
                )
            )
        cases = []
        for name in sorted(self.images):
            problems = list(self._channel_problems(name, found)) + list(self._label_problems(name))
            if problems:
                found.broken.add(name)
                self.incomplete.append((self._as_it_should_be(name, len(found.channels)), tuple(problems)))
                continue
            images = tuple(self.images[name][number][0] for number in range(len(found.channels)))
            cases.append(Case(name, images, self.labels.get(name, [None])[0], name))
        found.problems.extend(self._orphans())
        return cases

    def _as_it_should_be(self, name: str, channels: int) -> Case:
        numbers = sorted({*range(channels), *self.images[name]})
        files = (self.images[name].get(number, [self._missing(name, number)])[0] for number in numbers)
        return Case(name, tuple(files), self.labels.get(name, [None])[0], name)

    def _missing(self, name: str, number: int) -> Path:
        example = next(iter(self.images[name].values()))[0]
        return example.with_name(f"{name}_{number:04d}{format_suffix(example)}")

    def _channel_problems(self, name: str, found: Found) -> Iterable[Problem]:
        present, channels = self.images[name], found.channels
        for number, channel in enumerate(channels):
            if number not in present:
                yield Problem(
                    "error",
                    self._missing(name, number),
                    f"{_channel_text(number, channel)} of '{name}' is missing",
                    "add the file, or take the case out",
                )
        for number in sorted(present):
            if number >= len(channels):
                declared, remedy = found.too_many
                message = f"channel {number} is one more than the {len(channels)} {declared}"
                yield Problem("error", present[number][0], message, remedy)
            yield from _doubled(present[number])

    def _label_problems(self, name: str) -> Iterable[Problem]:
        yield from _doubled(self.labels.get(name, []))

    def _orphans(self) -> Iterable[Problem]:
        orphans = sorted(set(self.labels) - set(self.images))
        spelt = by_spelling(self.images) if orphans else {}
        for name in orphans:
            yield stray_label(self.labels[name][0], name, self.images, spelt, self.folder)


def _channel_text(number: int, channel: str) -> str:
    return channel if channel == f"channel {number}" else f"channel {number} ({channel})"


def _doubled(paths: list[Path]) -> Iterable[Problem]:
    apart = len({path.parent for path in paths}) > 1 or any("#" in path.name for path in paths)
    if len(paths) > 1 and apart:
        number = "two" if len(paths) == 2 else len(paths)
        message = f"this and {', '.join(map(str, paths[1:]))} are {number} scans of one name"
        yield Problem("error", paths[0], message, "rename one, or take them one at a time, each with its own --out")
    elif len(paths) > 1:
        others = ", ".join(path.name for path in paths[1:])
        yield Problem("error", paths[0], f"the same file is there in another format too ({others})", "keep one of them")


def image_files(folder: Path, ending: str | None = None) -> list[Path]:
    """Return the visible scans of a folder that can be read (or have that ending), by name, if it exists.

    A folder within it is a scan where it holds a DICOM series.
    """
    if not folder.is_dir():
        return []
    with readable(folder):
        visible = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return [path for path in visible if (has_ending(path, ending) if ending else can_read(path))]


def _by_stem(paths: Sequence[Path]) -> dict[str, list[Path]]:
    stems: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        stems[stem(path)].append(path)
    return dict(stems)
