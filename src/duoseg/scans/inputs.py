"""Scans to predict: image files, or folders of them, grouped into cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from duoseg.errors import InputError
from duoseg.scans.cases import Case
from duoseg.scans.formats import can_read
from duoseg.scans.layouts import Found, Listing, channel_number, has_channel_numbers, image_files


def find_inputs(paths: Sequence[Path], *, channels: tuple[str, ...]) -> list[Case]:
    """The cases among files and folders, by name; several channels are told apart by ``_0000``, ``_0001``, ...

    Where there is one channel but other numbers than ``_0000`` occur, the numbers belong to the cases' names.

    Args:
        paths: image files, and folders whose image files are all meant.
        channels: the channels that every case must have.

    Raises:
        InputError: a path is missing or of no readable format, a case lacks a channel, or two files claim one name.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = image_files(path)
            if not inside:
                raise InputError(
                    f"{path}: holds no images that can be read. Give the folder that holds the image files itself, "
                    "such as imagesTs of a data set."
                )
            files += inside
        elif not path.is_file():
            raise InputError(f"{path}: there is no such file or folder.")
        elif not can_read(path):
            raise InputError(f"{path}: is not an image of a readable format.")
        else:
            files.append(path)
    files = list(dict.fromkeys(files))
    found = Found(channels=channels, too_many=("channels of the plan", "leave it out"))
    numbers = {channel_number(file) for file in files} - {None}
    numbered = has_channel_numbers([(files, ())]) and (len(channels) > 1 or numbers == {0})
    cases = Listing(files, folder=Path(), numbered=numbered).cases(found)
    if found.problems:
        raise InputError(str(found.problems[0]))
    if not cases:
        raise InputError("There is nothing to predict: give image files, or folders that hold them.")
    return cases
