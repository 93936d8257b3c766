"""What can be wrong with one image or label file, told from its voxels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.scans.cases import Problem
from duoseg.scans.misplacement import misplacement_text, realignment_text
from duoseg.scans.scan import Grid, Pairs, Scan, reordered
from duoseg.scans.texts import count_text, some_text
from duoseg.scans.values import LabelFault, count_values, is_finite, label_faults, mask_values, not_finite_text

_MANY_VALUES = 64
_EXPORT_ANEW = "export the scan anew, or take it out"
_MAKE_SURE = "make sure that this is right"


@dataclass(frozen=True)
class LabelCount:
    """How often each whole value occurs in a label, and what keeps the other voxels from having one."""

    voxels: dict[int, int]
    faults: tuple[LabelFault, ...] = ()


def problem_from(error: InputError, file: Path) -> Problem:
    """Return a reader's error as a problem of ``file``."""
    message, separator, remedy = str(error).removeprefix(f"{file}: ").rstrip(".").rpartition("; ")
    return Problem("error", file, message, remedy) if separator else Problem("error", file, remedy, "mend or remove it")


def content_hash(scan: Scan) -> str:
    """Return a hash of the voxels, whatever axis order, type and compression they are stored in."""
    voxels = reordered(scan.voxels, scan.grid.canonical())
    digest = hashlib.sha256(repr(voxels.shape).encode())
    with np.errstate(over="ignore"):
        for plane in np.moveaxis(voxels, -1, 0):
            digest.update(np.ascontiguousarray(plane, dtype="<f4").tobytes())
    return digest.hexdigest()


def value_range(voxels: np.ndarray) -> tuple[float | None, float | None]:
    """Return the lowest and the highest finite value; None where no voxel has one."""
    finite = voxels[is_finite(voxels)] if not_finite_text(voxels) else voxels
    return (float(finite.min()), float(finite.max())) if finite.size else (None, None)


def image_problems(scan: Scan) -> Iterator[Problem]:
    """Yield what is wrong with an image by itself."""
    yield from _notes(scan)
    voxels = scan.voxels
    wrong = not_finite_text(voxels)
    low, high = value_range(voxels)
    if wrong and low is not None:
        yield Problem("warning", scan.source, f"{wrong}; the lowest finite value is taken for them", _MAKE_SURE)
    if low is None:
        yield Problem("error", scan.source, "all voxels are NaN or infinite", _EXPORT_ANEW)
    elif low == high:
        yield Problem("error", scan.source, f"all voxels have the value {low:g}", _EXPORT_ANEW)
    elif values := mask_values(voxels):
        yield Problem(
            "warning",
            scan.source,
            f"holds no other values than {some_text(values)}, as a mask does",
            "make sure that it is a scan; take it out if it is a mask",
        )


def grid_problems(scan: Scan, image: Path, expected: Grid) -> Iterator[Problem]:
    """Yield how the grid of a label or a further channel differs from the ``expected`` one, that of ``image``."""
    file, grid = scan.source, scan.grid
    if expected.matches(grid):
        return
    if scan.onto(expected) is not None:
        yield Problem("note", file, realignment_text(grid, expected, image.name), "nothing need be done")
        return
    apart = expected.difference(grid)
    remedy = f"resample it onto the grid of {image.name}, or draw it anew on that scan"
    if apart.same_shape:
        remedy = f"if it was drawn on {image.name}, copy that file's header geometry to it; otherwise resample it"
    yield Problem("error", file, misplacement_text(grid, expected, image.name), remedy)


def count_label(voxels: np.ndarray) -> LabelCount:
    """Count the values of a label."""
    if voxels.dtype.kind == "b" or (voxels.dtype.kind in "iu" and voxels.dtype.itemsize <= 2):
        return LabelCount(count_values(voxels))
    values, counts = np.unique(voxels, return_counts=True)
    faults = label_faults(values, counts)
    whole = ~np.logical_or.reduce([np.zeros(values.shape, bool), *(fault.where for fault in faults)])
    voxels_of: dict[int, int] = {}
    for value, count in zip(np.rint(values[whole]), counts[whole], strict=True):
        voxels_of[int(value)] = voxels_of.get(int(value), 0) + int(count)
    return LabelCount(voxels_of, tuple(faults))


def cropped_problems(scan: Scan, box: Pairs, ignore_value: int | None) -> Iterator[Problem]:
    """Yield labelled voxels outside ``box``, the non-zero part of the image: preparation cuts them away."""
    labelled = scan.voxels != 0
    if ignore_value is not None:
        labelled &= scan.voxels != ignore_value
    every = int(np.count_nonzero(labelled))
    x, y, z = (slice(*pair) for pair in box)
    lost = every - int(np.count_nonzero(labelled[x, y, z]))
    if lost:
        yield Problem(
            "warning",
            scan.source,
            f"{lost} of {every} labelled voxels {'lies' if lost == 1 else 'lie'} outside the box of the image's "
            f"non-zero voxels and {'is' if lost == 1 else 'are'} cut away",
            "make sure that label and image belong together",
        )


def label_problems(
    scan: Scan, count: LabelCount, classes: Mapping[str, int], ignore_value: int | None
) -> Iterator[Problem]:
    """Yield what is wrong with a label's values; ``classes`` is empty where nobody declared them."""
    yield from _notes(scan)
    file = scan.source
    for fault in count.faults:
        yield Problem("error", file, fault.message, fault.remedy)
    negative = [value for value in count.voxels if value < 0]
    if negative:
        voxels = sum(count.voxels[value] for value in negative)
        yield Problem(
            "error",
            file,
            f"{count_text(voxels, 'voxel has', 'voxels have')} negative values ({some_text(negative)})",
            "use 0 for background",
        )
    foreign = sorted(v for v in count.voxels if v > 0 and v != ignore_value and v not in classes.values())
    if classes and foreign:
        voxels = sum(count.voxels[value] for value in foreign)
        yield Problem(
            "error",
            file,
            f"{count_text(voxels, 'voxel has', 'voxels have')} values that dataset.json does not declare: "
            f"{some_text(foreign)}",
            'declare them under "labels", or change them',
        )
    elif len(foreign) > _MANY_VALUES:
        yield Problem(
            "warning",
            file,
            f"has {len(foreign)} different values",
            "make sure that it is a label and not an image",
        )
    if not any(voxels for value, voxels in count.voxels.items() if value not in (0, ignore_value)):
        yield Problem(
            "warning",
            file,
            "is empty: no voxel belongs to any class",
            "make sure that the scan shows none of the classes",
        )


def _notes(scan: Scan) -> Iterator[Problem]:
    for note in scan.notes:
        yield Problem("warning", scan.source, note, _MAKE_SURE)
