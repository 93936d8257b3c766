"""What the text headers of NRRD and MetaImage files share: numbers, lengths, and a limit to their size."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from duoseg.errors import InputError
from duoseg.scans.formats.streams import Stream, cut_short
from duoseg.scans.texts import shape_text

_LONGEST_HEADER = 1 << 24  # bytes; a segmentation with thousands of named segments has a few MB
_LONGEST_AXIS = 2**31 - 1
_MOST_DIGITS = 30
_GREATEST = 1e12  # of all numbers about positions

_MILLIMETRES: dict[str, float] = {
    "": 1.0,
    "?": 1.0,
    "???": 1.0,
    "mm": 1.0,
    "millimeter": 1.0,
    "millimetre": 1.0,
    "cm": 10.0,
    "centimeter": 10.0,
    "m": 1000.0,
    "meter": 1000.0,
    "metre": 1000.0,
    "um": 0.001,
    "µm": 0.001,  # the micro sign
    "μm": 0.001,  # the Greek letter
    "micron": 0.001,
    "micrometer": 0.001,
    "nm": 1e-6,
}


# Only what readers in other languages take for numbers, too: Python's own also knows 1_0 and digits of other scripts.
_SEPARATED = re.compile(r"[^\s,]+", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf)", re.IGNORECASE)


def header_lines(stream: Stream) -> Iterator[str]:
    """Yield the lines of the header with which ``stream`` begins, without their line ends, up to the end of the file.

    The caller stops where the header ends; the stream then stands at the first byte after that line.

    Raises:
        InputError: the header is longer than any is.
    """
    room = _LONGEST_HEADER
    while line := stream.file.readline(room):
        room -= len(line)
        if not room:
            raise InputError(f"{stream.path}: its header has no end; copy or download the file again.")
        yield line.decode("utf-8", "replace").rstrip()


def integers(path: Path, field: str, text: str) -> list[int]:
    """Return whole numbers separated by blanks.

    Raises:
        InputError: the text of this ``field`` holds anything else.
    """
    words = words_of(text)
    if not all(_INTEGER.fullmatch(word) and len(word) < _MOST_DIGITS for word in words):
        raise _no_numbers(path, field, text, "whole numbers")
    return [int(word) for word in words]


def numbers(path: Path, field: str, text: str, count: int | None = None) -> list[float]:
    """Return finite numbers separated by blanks or commas, ``count`` of them where that is given.

    Raises:
        InputError: the text of this ``field`` holds anything else.
    """
    if not are_numbers(text):
        raise _no_numbers(path, field, text, "numbers" if count is None else f"{count} numbers")
    found = [float(word) for word in words_of(text)]
    if count is not None and len(found) != count:
        raise _no_numbers(path, field, text, f"{count} numbers")
    if not all(abs(number) < _GREATEST for number in found):  # nor is NaN less
        raise _no_numbers(path, field, text, "finite numbers")
    return found


def words_of(text: str) -> list[str]:
    """Return what is separated by blanks or commas."""
    return _SEPARATED.findall(text)


def are_numbers(text: str) -> bool:
    """Return whether a text holds nothing but numbers, NaN and infinity among them, separated by blanks or commas."""
    return all(_NUMBER.fullmatch(word) for word in words_of(text))


def voxel_count(path: Path, sizes: list[int]) -> int:
    """Return the number of voxels.

    Raises:
        InputError: an axis has none, fewer, or more than any scan.
    """
    if not sizes or min(sizes) < 1 or max(sizes) > _LONGEST_AXIS:
        raise damaged_header(path, f"its axes have {shape_text(sizes)[:100] or 'no'} voxels")
    return math.prod(sizes)


def in_mm(unit: str) -> tuple[float, tuple[str, ...]]:
    """Return how many mm a unit of length is, and what to note about it."""
    name = unit.strip().lower()
    factor = _MILLIMETRES.get(name, _MILLIMETRES.get(name.removesuffix("s")))
    if factor is None:
        return 1.0, (f"its unit of length {unit[:40]!r} is not known: taken as mm",)
    if factor == 1.0:
        return 1.0, ()
    return factor, (f"its lengths are in {unit}, and were converted to mm; 3D Slicer and ITK take them as mm",)


def damaged_header(path: Path, why: str) -> InputError:
    """Return the error for a header that does not say what it must."""
    return InputError(f"{path}: its header is damaged: {why}; copy or download the file again.")


def require_packed(stream: Stream, announced: int) -> None:
    """Refuse a file that holds fewer packed bytes from here on than its header announces.

    Raises:
        InputError: as said.
    """
    there = stream.path.stat().st_size - stream.file.tell()
    if stream.is_plain and there < announced:
        raise cut_short(stream.path, f"{announced} compressed bytes are announced, {there} are there")


def _no_numbers(path: Path, field: str, text: str, wanted: str) -> InputError:
    return damaged_header(path, f"{field} is {text[:60]!a} where {wanted} are needed")
