"""What can be wrong with one image or label file, told from its voxels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.scans.cases import Problem
from duoseg.scans.scan import Grid, Scan, shape_text

FRACTION_TOLERANCE = 1e-4
"""Label values this close to a whole number count as it: scale factors leave such rounding."""

_MANY_VALUES = 64


@dataclass(frozen=True)
class LabelCount:
    """How often each whole value occurs in a label, and how many voxels hold no whole value at all."""

    voxels: dict[int, int]
    fractional: int
    not_finite: int
    example: float


def problem_from(error: InputError, file: Path) -> Problem:
    """Return a reader's error as a problem of ``file``."""
    message, separator, remedy = str(error).removeprefix(f"{file}: ").rstrip(".").rpartition("; ")
    return Problem("error", file, message, remedy) if separator else Problem("error", file, remedy, "mend or remove it")


def content_hash(scan: Scan) -> str:
    """Return a hash of the voxels, whatever axis order, type and compression they are stored in."""
    permutation, flips = scan.grid.canonical()
    voxels = np.flip(scan.voxels.transpose(permutation), tuple(axis for axis in range(3) if flips[axis]))
    digest = hashlib.sha256(repr(voxels.shape).encode())
    for plane in np.moveaxis(voxels, -1, 0):
        digest.update(np.ascontiguousarray(plane, dtype="<f4").tobytes())
    return digest.hexdigest()


def image_problems(scan: Scan) -> Iterator[Problem]:
    """Yield what is wrong with an image by itself."""
    yield from _notes(scan)
    voxels = scan.voxels
    bad = voxels.size - int(np.count_nonzero(np.isfinite(voxels))) if voxels.dtype.kind == "f" else 0
    if bad:
        share = 100 * bad / voxels.size
        yield Problem(
            "error",
            scan.source,
            f"{bad} of {voxels.size} voxels ({share:.2g}%) are NaN or infinite",
            "replace them, with 0 where they lie outside the scan",
        )
    elif voxels.min() == voxels.max():
        yield Problem(
            "error",
            scan.source,
            f"all voxels have the value {voxels.flat[0]:g}",
            "export the scan anew, or take it out",
        )


def grid_problems(file: Path, grid: Grid, image: Path, expected: Grid) -> Iterator[Problem]:
    """Yield how ``grid`` of ``file`` (a label or a further channel) differs from that of ``image``."""
    if expected.matches(grid):
        return
    apart = expected.difference(grid)
    remedy = f"resample it onto the grid of {image.name}, or draw it anew on that scan"
    if apart.reordered:
        message = (
            f"holds the same points in the world as {image.name}, but stores them in the axis order "
            f"{grid.orientation} rather than {expected.orientation}"
        )
        remedy = f"save it in the axis order of {image.name}"
    elif not apart.same_shape:
        message = f"its shape {shape_text(grid.shape)} is not the {shape_text(expected.shape)} of {image.name}"
    else:
        message = (
            f"its voxels lie up to {apart.corner_mm:.3g} mm ({apart.corner_voxels:.3g} voxels) "
            f"away from those of {image.name}"
        )
        if not np.allclose(grid.spacing, expected.spacing, rtol=1e-3):
            message += f", with a spacing of {_mm(grid.spacing)} rather than {_mm(expected.spacing)}"
        remedy = f"if it was drawn on {image.name}, copy that file's header geometry to it; otherwise resample it"
    yield Problem("error", file, message, remedy)


def count_label(voxels: np.ndarray) -> LabelCount:
    """Count the values of a label."""
    if voxels.dtype.kind == "b" or (voxels.dtype.kind in "iu" and voxels.dtype.itemsize <= 2):
        low = int(voxels.min())
        # The array is Fortran-ordered as read; raveling in its own order copies nothing.
        counts = np.bincount(voxels.ravel(order="K").astype(np.int32) - low)
        return LabelCount({low + int(i): int(counts[i]) for i in np.flatnonzero(counts)}, 0, 0, 0.0)
    values, counts = np.unique(voxels, return_counts=True)
    finite = np.isfinite(values)
    not_finite, values, counts = int(counts[~finite].sum()), values[finite], counts[finite]
    rounded = np.rint(values)
    whole = np.abs(values - rounded) <= FRACTION_TOLERANCE
    voxels_of: dict[int, int] = {}
    for value, count in zip(rounded[whole], counts[whole], strict=True):
        voxels_of[int(value)] = voxels_of.get(int(value), 0) + int(count)
    example = float(values[~whole][0]) if not whole.all() else 0.0
    return LabelCount(voxels_of, int(counts[~whole].sum()), not_finite, example)


def label_problems(
    scan: Scan, count: LabelCount, classes: Mapping[str, int], ignore_value: int | None
) -> Iterator[Problem]:
    """Yield what is wrong with a label's values; ``classes`` is empty where nobody declared them."""
    yield from _notes(scan)
    file = scan.source
    if count.not_finite:
        yield Problem("error", file, f"{count.not_finite} voxels are NaN or infinite", "set them to 0 or to a class")
    if count.fractional:
        yield Problem(
            "error",
            file,
            f"{count.fractional} voxels have fractional values such as {count.example:.4g}",
            "save the label with whole values, without interpolating it",
        )
    negative = [value for value in count.voxels if value < 0]
    if negative:
        voxels = sum(count.voxels[value] for value in negative)
        yield Problem(
            "error", file, f"{voxels} voxels have negative values ({_some(negative)})", "use 0 for background"
        )
    foreign = sorted(v for v in count.voxels if v > 0 and v != ignore_value and v not in classes.values())
    if classes and foreign:
        voxels = sum(count.voxels[value] for value in foreign)
        yield Problem(
            "error",
            file,
            f"{voxels} voxels have values that dataset.json does not declare: {_some(foreign)}",
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
        yield Problem("warning", scan.source, note, "make sure that this is right")


def _mm(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{side:.4g}" for side in spacing) + " mm"


def _some(values: list[int], most: int = 8) -> str:
    return ", ".join(map(str, values[:most])) + (f" and {len(values) - most} more" if len(values) > most else "")
