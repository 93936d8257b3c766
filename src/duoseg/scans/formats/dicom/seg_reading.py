"""Reading DICOM segmentations (SEG): frames of single segments become one volume of segment numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.scans.formats.dicom.frames import Frame, lookup
from duoseg.scans.formats.dicom.headers import Header, damaged, read_whole
from duoseg.scans.formats.dicom.pixels import NATIVE, PixelFormat, stored_planes
from duoseg.scans.formats.dicom.seg_writing import LABEL_VALUE
from duoseg.scans.formats.dicom.series import Series
from duoseg.scans.formats.dicom.stacking import Stack, same_place_mm, stack, tolerance
from duoseg.scans.formats.streams import cut_short
from duoseg.scans.limits import require_memory
from duoseg.scans.segments import distinct
from duoseg.scans.texts import some_text

_MOST_SLICES = 65535
_MOST_LEFT_OUT = 7  # between the two slices that are nearest to each other; of more, nothing tells them from noise
_LARGEST_VALUE = 2**31 - 1


def segmentation_grid(series: Series) -> Stack:
    """Return the slices of a SEG, each once, and its grid.

    Programs often leave out slices without any segment. Where slices between two others are missing, the grid has them.

    Raises:
        InputError: it is no volume, or its values are shares, not segments.
    """
    return _slices(series, series.frames())[0]


def read_segmentation(series: Series) -> tuple[np.ndarray, Stack, dict[str, int]]:
    """Read the voxels (X, Y, Z) of a SEG, its slices and grid, and name -> value of its segments.

    A voxel has the number of its segment, or the class's value where that is told; 0 where there is none.

    Raises:
        InputError: it is no volume, damaged, its values are shares, or two segments overlap.
    """
    header = series.headers[0]
    frames = series.frames()
    found, places = _slices(series, frames)
    columns, rows, slices = found.grid.shape
    labels = header.text("SegmentationType") == "LABELMAP"
    numbers = [0] * len(frames) if labels else [_segment(frame) for frame in frames]
    dtype = np.min_scalar_type(PixelFormat.of(header).limits[1] if labels else max(numbers))
    require_memory(series.path, slices * rows * columns * dtype.itemsize + header.path.stat().st_size)
    planes = np.zeros((slices, rows, columns), dtype)
    whole = read_whole(header.path)
    if labels:
        for place, plane in zip(places, stored_planes(whole, columns, rows), strict=True):
            planes[place] = plane
        return planes.T, found, _named(header, {})
    overlaps: Counter[tuple[int, int]] = Counter()
    for index, (place, number) in enumerate(zip(places, numbers, strict=True)):
        inside = _mask(whole, index, columns, rows)
        for other in set(np.unique(planes[place][inside]).tolist()) - {0, number}:
            overlaps[min(other, number), max(other, number)] += int((planes[place][inside] == other).sum())
        planes[place][inside] = number
    if overlaps:
        raise _overlapping(header, overlaps)
    values = _class_values(header)
    return _renumbered(planes, values).T, found, _named(header, values)


def _class_values(header: Header) -> dict[int, int]:
    """Return number -> class value, where every segment tells one of its own; else nothing."""
    values = {0: 0}
    for item in header.items("SegmentSequence"):
        told = re.fullmatch(rf"{LABEL_VALUE}([0-9]{{1,10}})", item.text("SegmentDescription"))
        if told is None or int(told[1]) > _LARGEST_VALUE:
            return {}
        values[item.whole("SegmentNumber", 0)] = int(told[1])
    return values if len(set(values.values())) == len(values) else {}


def _renumbered(planes: np.ndarray, values: Mapping[int, int]) -> np.ndarray:
    if all(number == value for number, value in values.items()):
        return planes
    table = np.zeros(int(planes.max()) + 1, np.min_scalar_type(max(values.values())))
    for number in range(len(table)):
        table[number] = values.get(number, 0)
    return table[planes]


def _named(header: Header, values: Mapping[int, int]) -> dict[str, int]:
    """Return label -> value in the voxels; the value is the number where ``values`` has none for it."""
    numbers = [(item.text("SegmentLabel"), item.whole("SegmentNumber", 0)) for item in header.items("SegmentSequence")]
    return distinct((label, values.get(number, number)) for label, number in numbers if label and number)


def _slices(series: Series, frames: Sequence[Frame]) -> tuple[Stack, list[int]]:
    """Return the slices that the frames lie in, and for each frame in which."""
    path, header = series.path, series.headers[0]
    if len(series.headers) > 1:
        names = some_text([header.path.name for header in series.headers], most=3)
        raise InputError(f"{path}: holds several segmentations ({names}); give the file of one.")
    kind = header.text("SegmentationType")
    if kind not in ("BINARY", "LABELMAP"):
        raise InputError(
            f"{path}: holds shares of segments in each voxel ({kind or 'of no stated type'}), not the segments; "
            "save it as a binary segmentation."
        )
    heights = np.array([frame.position @ frames[0].normal for frame in frames])
    order = np.argsort(heights, kind="stable")
    apart = np.diff(heights[order], prepend=-np.inf) > same_place_mm(frames[0])
    if kind == "LABELMAP" and not apart.all():
        stack(path, frames)  # which refuses two frames of all segments in one place
    first = [frames[at] for at in order[apart]]
    filled = _filled(path, first)
    found = stack(path, filled)
    places = np.rint((heights - filled[0].position @ frames[0].normal) / _gap(found)).astype(int)
    return found, places.tolist()


def _filled(path: Path, first: Sequence[Frame]) -> list[Frame]:
    """Return the slices with those that were left out between them, where whole steps lead from each to the next."""
    normal = first[0].normal
    gaps = np.diff([float(frame.position @ normal) for frame in first])
    if not len(gaps):
        return list(first)
    step = _step(gaps, first[0].step)
    if gaps.sum() / step > _MOST_SLICES:
        raise damaged(path, f"its slices are {step:.3g} to {gaps.max():.3g} mm apart")
    filled: list[Frame] = [first[0]]
    for before, after, gap in zip(first, first[1:], gaps, strict=False):
        steps = round(float(gap) / step)
        way = (after.position - before.position) / max(1, steps)
        filled += [replace(before, position=before.position + way * part) for part in range(1, steps)]
        filled.append(after)
    return filled


def _step(gaps: np.ndarray, announced: float | None) -> float:
    """Return how far apart slices are: the largest step, but for that which the header tells, that fits all gaps."""
    least = float(gaps.min())
    parts = [least / number for number in range(1, _MOST_LEFT_OUT + 2)]
    for step in (announced, *parts) if announced and 0 < announced < least else parts:
        if (np.abs(np.rint(gaps / step) * step - gaps) <= tolerance(step)).all():
            return step
    return least


def _gap(found: Stack) -> float:
    first, last = found.frames[0], found.frames[-1]
    return float((last.position - first.position) @ first.normal) / max(1, len(found.frames) - 1) or 1.0


def _segment(frame: Frame) -> int:
    number = lookup(frame.groups, "ReferencedSegmentNumber").whole("ReferencedSegmentNumber", 0)
    if not 1 <= number <= 65535:
        raise damaged(frame.path, f"{frame.name} is of segment {number}")
    return number


def _mask(header: Header, index: int, columns: int, rows: int) -> np.ndarray:
    """Return where one frame of single bits is set, (rows, columns); the first pixel is the lowest bit (PS3.5, 8.1)."""
    path, data, size = header.path, header.get("PixelData"), columns * rows
    if header.syntax not in NATIVE or header.whole("BitsAllocated", 0) != 1:
        raise InputError(f"{path}: its binary segments are compressed, which is not supported; decompress it.")
    start, end = index * size, (index + 1) * size
    there = 0 if data is None else len(data)
    if there * 8 < end:
        raise cut_short(path, f"frame {index + 1} ends at byte {(end + 7) // 8} of its pixels, {there} are there")
    bits = np.unpackbits(np.frombuffer(data[start // 8 : (end + 7) // 8], np.uint8), bitorder="little")
    return bits[start % 8 : start % 8 + size].reshape(rows, columns).astype(bool)


def _overlapping(header: Header, overlaps: Counter[tuple[int, int]]) -> InputError:
    names = {item.whole("SegmentNumber", 0): item.text("SegmentLabel") for item in header.items("SegmentSequence")}
    (one, two), voxels = overlaps.most_common(1)[0]
    first, second = (f"{number} ({names[number]})" if names.get(number) else str(number) for number in (one, two))
    more = f", and {len(overlaps) - 1} more pairs" if len(overlaps) > 1 else ""
    return InputError(
        f"{header.path}: its segments {first} and {second} overlap in {voxels} voxels{more}, and a label has one "
        "class a voxel; save the segments without overlap."
    )
