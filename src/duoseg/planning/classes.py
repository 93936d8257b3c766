"""From the values in label files to the classes of the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.scans.texts import count_text, some_text
from duoseg.scans.values import MAX_CLASSES, as_integers


def label_values(voxels: np.ndarray, *, name: Path | str = "the label") -> tuple[int, ...]:
    """Return the values present in a label, in increasing order.

    Raises:
        InputError: a value is not a whole number.
    """
    # in the order of memory: flattening a large label in another one takes longer than all else
    return tuple(int(value) for value in np.unique(as_integers(voxels, name).ravel(order="K")))


def class_indices(
    voxels: np.ndarray, classes: Mapping[str, int], ignore_value: int | None, *, name: Path | str = "the label"
) -> np.ndarray:
    """Return file values as class indices (int8): 1..K in the order of ``classes``, -1 for the ignore value.

    Raises:
        InputError: a value is no whole number, or neither 0, nor a class of the plan, nor its ignore value.
    """
    if len(classes) > MAX_CLASSES:
        raise InputError(f"The plan has {len(classes)} classes; at most {MAX_CLASSES} are supported.")
    voxels = as_integers(voxels, name)
    known = {0: 0, **{value: index for index, value in enumerate(classes.values(), start=1)}}
    if ignore_value is not None:
        known[ignore_value] = -1
    # laid out as the label is: masks of another layout are applied some ten times slower
    indices = np.zeros_like(voxels, np.int8)
    explained = np.zeros_like(voxels, bool)
    for value, index in known.items():
        where = voxels == value
        explained |= where
        indices[where] = index
    if not explained.all():
        strange = np.unique(voxels[~explained])
        shown = some_text(list(strange), 5)
        allowed = ", ".join(f"{value} ({label})" for label, value in classes.items())
        raise InputError(
            f"{name}: {count_text(int((~explained).sum()), 'voxel holds', 'voxels hold')} {shown}, which the plan does "
            f"not know. It knows 0 (background), {allowed}. Correct the label, or name the value in dataset.json and "
            "plan again."
        )
    return indices
