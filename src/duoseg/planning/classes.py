"""From the values in label files to the classes of the network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from duoseg.errors import InputError

MAX_CLASSES = 127  # a label is int8


def label_values(voxels: np.ndarray, *, name: str = "the label") -> tuple[int, ...]:
    """Return the values present in a label, in increasing order.

    Raises:
        InputError: a value is not a whole number.
    """
    values = np.unique(voxels)
    strange = values[values != np.rint(values)] if np.issubdtype(values.dtype, np.inexact) else values[:0]
    if strange.size:
        raise InputError(
            f"{name}: holds {strange[0]:g}, but a label's values are whole numbers. "
            "It may have been interpolated or be an image: give the mask itself."
        )
    return tuple(int(value) for value in values)


def class_indices(
    voxels: np.ndarray, classes: Mapping[str, int], ignore_value: int | None, *, name: str = "the label"
) -> np.ndarray:
    """Return file values as class indices (int8): 1..K in the order of ``classes``, -1 for the ignore value.

    Raises:
        InputError: a value is neither 0, nor a class of the plan, nor its ignore value.
    """
    if len(classes) > MAX_CLASSES:
        raise InputError(f"The plan has {len(classes)} classes; at most {MAX_CLASSES} are supported.")
    known = {0: 0, **{value: index for index, value in enumerate(classes.values(), start=1)}}
    if ignore_value is not None:
        known[ignore_value] = -1
    indices = np.zeros(voxels.shape, np.int8)
    explained = np.zeros(voxels.shape, bool)
    for value, index in known.items():
        where = voxels == value
        explained |= where
        indices[where] = index
    if not explained.all():
        strange = np.unique(voxels[~explained])
        shown = ", ".join(f"{value:g}" for value in strange[:5]) + (", ..." if len(strange) > 5 else "")
        allowed = ", ".join(f"{value} ({label})" for label, value in classes.items())
        raise InputError(
            f"{name}: {int((~explained).sum())} voxel(s) hold {shown}, which the plan does not know. "
            f"It knows 0 (background), {allowed}. Correct the label, or name the value in dataset.json and "
            "plan again."
        )
    return indices
