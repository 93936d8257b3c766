"""Scans to predict: image files, or folders of them, grouped into cases."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from duoseg.errors import InputError
from duoseg.files import readable
from duoseg.scans.cases import Case
from duoseg.scans.dataset import load_dataset
from duoseg.scans.description import require_channels
from duoseg.scans.formats import can_read, exists, is_readable, loose_slices, stem
from duoseg.scans.formats.dicom import can_read as can_read_dicom
from duoseg.scans.layouts import Found, Listing, channel_number, has_channel_numbers, image_files
from duoseg.scans.names import name_fault
from duoseg.scans.texts import some_text

MOST_CHANNELS = 4  # files of one name with more numbers than this are scans, as in pat_0000 ... pat_0017


Rows = Literal["test", "raw", "all"]
"""Of a table: its test scans, those that have no label, or all."""


def find_inputs(paths: Sequence[Path], *, channels: tuple[str, ...], rows: Rows = "test") -> list[Case]:
    """The cases among files and folders, and those of tables, by name.

    Several channels are told apart by ``_0000``, ``_0001``, ...

    Where there is one channel but other numbers than ``_0000`` occur, the numbers belong to the cases' names, unless
    they look like those of several channels.

    Args:
        paths: image files, folders of one DICOM series, and folders whose scans of either kind are all meant.
        channels: the channels that every case must have.
        rows: which ones of tables.

    Raises:
        InputError: a path is missing or of no readable format, a case lacks a channel, two files claim one name, or
            the files look like those of more channels than there are.
    """
    listed = [case for path in paths if is_table(path) for case in _of_table(path, channels, rows)]
    files: list[Path] = []
    for path in paths:
        if is_table(path):
            continue
        named = path if path.name not in ("", "..") else path.resolve()
        with readable(named):
            files += _files_of(named)
    files = list(dict.fromkeys(files))
    _require_no_slices(files, given=paths)
    if len(channels) == 1:
        _require_one_channel(files, channels[0])
    found = Found(channels=channels, too_many=("channels of the plan", "leave it out"))
    numbers = {channel_number(file) for file in files} - {None}
    numbered = has_channel_numbers([(files, ())]) and (len(channels) > 1 or numbers == {0})
    listing = Listing(files, folder=Path(), numbered=numbered)
    cases = listing.cases(found)
    problems = [*found.problems, *(problem for _, several in listing.incomplete for problem in several)]
    if problems:
        raise InputError(str(problems[0]))
    cases += listed
    for name, times in Counter(case.name for case in cases).items():
        if times > 1:
            raise InputError(
                f"{times} of the scans are called '{name}'; take them one at a time, each with its own --out."
            )
    if not cases:
        raise InputError("There is nothing to predict: give image files, or folders that hold them.")
    for case in cases:
        fault = name_fault(case.name)
        if fault:
            raise InputError(f"{case.images[0]}: its mask cannot be called {case.name!r}, which {fault}; rename it.")
    return sorted(cases, key=lambda case: case.name)


def is_table(path: Path) -> bool:
    """Return whether a path is that of a CSV table of scans."""
    return path.suffix.lower() == ".csv" and path.is_file()


def _of_table(path: Path, channels: tuple[str, ...], rows: Rows) -> list[Case]:
    """Return the cases of a table."""
    dataset = load_dataset(path)
    found = [*dataset.test] if rows == "test" else [*dataset.train, *dataset.test]
    cases = [case.without_label() for case in found if rows != "raw" or case.label is None]
    if not cases:
        lacking = {"test": "with the split test", "raw": "without a label", "all": "that is used"}[rows]
        raise InputError(f"{path}: has no row {lacking}; --rows test, raw or all says which ones are meant.")
    require_channels(dataset.channels, channels, path, "the model")
    return cases


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        inside = image_files(path)
        if loose_slices(inside) or (can_read(path) and len(inside) == 1):
            return [_as_series(path, inside)]
        below = [] if inside else [folder.name for folder in sorted(path.iterdir()) if folder.is_dir()]
        if below:
            raise InputError(
                f"{path}: holds folders ({some_text(below, 3)}) and no images. Give those that hold the images or the "
                "slices of a series themselves, or list them in a CSV table."
            )
        if not inside:
            raise InputError(
                f"{path}: holds no images that can be read. Give the folder that holds the image files itself, "
                "such as imagesTs of a data set."
            )
        return inside
    if not exists(path):
        raise InputError(f"{path}: there is no such file or folder.")
    if not is_readable(path):
        raise InputError(f"{path}: is not an image of a readable format.")
    return [path]


def _as_series(folder: Path, inside: Sequence[Path]) -> Path:
    """Return a folder that holds the slices of a DICOM series, if it holds nothing else that is a scan."""
    others = [path for path in inside if path.is_dir() or not can_read_dicom(path)]
    if others:
        names = some_text([path.name for path in others], 3)
        raise InputError(
            f"{folder}: holds slices of a DICOM series and other scans ({names}); "
            "move the slices into a folder of their own."
        )
    return folder


def _require_no_slices(files: Sequence[Path], *, given: Sequence[Path]) -> None:
    """Refuse slices of a DICOM series that were given one by one, or one that was picked out of its folder."""
    folders = dict.fromkeys(path.parent for path in given if path.is_file() and can_read_dicom(path))
    beside = [path for folder in folders for path in image_files(folder)]
    for slices in loose_slices(list(dict.fromkeys([*files, *beside]))):
        for file in slices:
            if file in files:
                raise InputError(
                    f"{file}: is one of {len(slices)} slices of a DICOM series, and no scan by itself; "
                    "give the folder that holds them."
                )


def _require_one_channel(files: Sequence[Path], channel: str) -> None:
    """Refuse files whose numbers restart for every name, or are few: they are channels rather than names."""
    names: defaultdict[str, dict[int, Path]] = defaultdict(dict)
    for file in files:
        number = channel_number(file)
        if number is not None:
            names[str(file.with_name(stem(file)[:-5]))][number] = file
    several = [numbers for numbers in names.values() if len(numbers) > 1 and 0 in numbers]
    restarts = sum(0 in numbers for numbers in names.values()) > 1
    if not several:
        return
    few = set(several[0]) == set(range(len(several[0]))) and len(several[0]) <= MOST_CHANNELS
    if restarts or few:
        example = [several[0][number].name for number in sorted(several[0])]
        raise InputError(
            f"{several[0][min(several[0])].parent}: the model takes 1 channel ({channel}), these scans have "
            f"{len(example)} by their names ({some_text(example, 3)}); give the files of that channel alone. If each "
            f"file is a scan of its own, rename them so that they do not end in _0000, _0001, ..., such as "
            f"{stem(several[0][0])[:-5]}-0."
        )
