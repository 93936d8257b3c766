"""The values of voxels: which of them are finite, and which are a label's whole numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duoseg.errors import InputError
from duoseg.scans.texts import count_text, number_text

MAX_CLASSES = 127
"""Foreground classes at most: class indices are kept as int8."""

MOST_OF_A_MASK = 8
"""Values of a scan that is rather a mask: scanners give hundreds, even of a phantom."""
SPARSE = 4
"""Every so many voxels along each axis are looked at first."""

WHOLE_TOLERANCE = 1e-4
"""Label values this close to a whole number count as it: scale factors leave such rounding."""

REPLACE = "replace them, with 0 where they lie outside the scan"
"""What to do about voxels of an array that are not finite."""

_INT32 = np.iinfo(np.int32)


_BLOCK = 1 << 20  # voxels counted at a time


@dataclass(frozen=True)
class LabelFault:
    """Why some values cannot be those of a label.

    Attributes:
        message: how many voxels hold them, and what is wrong.
        remedy: what to do about it.
        where: boolean, which values they are.
    """

    message: str
    remedy: str
    where: NDArray[np.bool_]


def count_values(voxels: np.ndarray) -> dict[int, int]:
    """Return value -> number of voxels, for integers that lie close together, by increasing value.

    Much faster than sorting, and without a copy of the whole: memory holds a count for each value between the extremes.
    """
    low, flat = int(voxels.min()), voxels.ravel(order="K")  # in its own order, which copies nothing
    counts = np.zeros(int(voxels.max()) - low + 1, np.int64)
    for start in range(0, flat.size, _BLOCK):
        counts += np.bincount(flat[start : start + _BLOCK].astype(np.intp) - low, minlength=counts.size)
    return {low + int(index): int(counts[index]) for index in np.flatnonzero(counts)}


def as_integers(voxels: np.ndarray, source: Path | str) -> np.ndarray:
    """Return a label's voxels as integers that fit into int32; labels are often stored as floats.

    Raises:
        InputError: a voxel is NaN, infinite, further than 0.0001 from a whole number, or beyond int32; the
            message names ``source``.
    """
    if np.can_cast(voxels.dtype, np.int32):
        return voxels.astype(np.uint8) if voxels.dtype == bool else voxels
    for fault in label_faults(voxels):
        raise InputError(f"{source}: {fault.message}; {fault.remedy}.")
    return np.rint(voxels).astype(np.int32)


def label_faults(values: np.ndarray, counts: NDArray[np.integer] | None = None) -> list[LabelFault]:
    """Return what keeps ``values`` from being a label's, of which ``counts`` says how many voxels hold each."""
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        fractional = finite & (np.abs(values - np.rint(values)) > WHOLE_TOLERANCE)
    beyond = finite & ((values < _INT32.min) | (values > _INT32.max))
    kinds = (
        ("is", "are", " NaN or infinite", "set them to 0 or to a class", ~finite),
        (
            "has",
            "have",
            " fractional values",
            "give the mask itself, saved with whole values and not interpolated",
            fractional,
        ),
        ("has", "have", " values beyond 32-bit integers", "give the classes small numbers", beyond),
    )
    faults = []
    for one, many, words, remedy, where in kinds:
        if where.any():
            number = int(where.sum() if counts is None else counts[where].sum())
            example = "" if where[~finite].any() else f" such as {values[where].flat[0]:.4g}"
            voxels = count_text(number, f"voxel {one}", f"voxels {many}")
            faults.append(LabelFault(f"{voxels}{words}{example}", remedy, where))
    return faults


def mask_values(voxels: np.ndarray) -> list[int]:
    """Return the values of voxels that look like those of a mask: a few whole numbers from 0 on; else none."""
    if voxels.dtype.kind not in "biuf" or _many_values(voxels[::SPARSE, ::SPARSE, ::SPARSE]):
        return []
    values = np.unique(voxels)
    return [] if _many_values(values) else [int(value) for value in values]


def _many_values(voxels: np.ndarray) -> bool:
    values = np.unique(voxels)
    whole = bool(np.isfinite(values).all() and (values == np.rint(values)).all() and values.min(initial=0) >= 0)
    return len(values) > MOST_OF_A_MASK or not whole


def is_finite(voxels: np.ndarray) -> NDArray[np.bool_]:
    """Return which voxels are finite as float32, the type that networks compute in."""
    with np.errstate(over="ignore"):
        return np.isfinite(voxels.astype(np.float32, copy=False))


def not_finite_text(voxels: np.ndarray) -> str | None:
    """Say how many voxels are NaN or infinite; None where all are finite."""
    if voxels.dtype.kind != "f":
        return None
    bad = voxels.size - int(np.count_nonzero(is_finite(voxels)))
    share = 100 * bad / max(1, voxels.size)
    verb = "is" if bad == 1 else "are"
    return f"{bad} of {voxels.size} voxels ({number_text(share, 2)}%) {verb} NaN or infinite" if bad else None


def fill_not_finite(voxels: np.ndarray, source: Path | str) -> np.ndarray:
    """Return an image with its lowest finite value in place of NaN and infinities.

    Scanners and registration write these outside the field of view, where the lowest value is that of air.

    Raises:
        InputError: no voxel is finite; the message names ``source``.
    """
    finite = is_finite(voxels)
    if not finite.any():
        raise InputError(f"{source}: all voxels are NaN or infinite; export the scan anew, or take it out.")
    return np.where(finite, voxels, voxels[finite].min())


def require_finite(voxels: np.ndarray, source: Path | str) -> None:
    """Refuse an array with voxels that are NaN or infinite.

    Raises:
        InputError: says how many they are, and names ``source``.
    """
    wrong = not_finite_text(voxels)
    if wrong:
        raise InputError(f"{source}: {wrong}; {REPLACE}.")
