"""From a scan's own grid to the plan's, and back.

An image is brought to the canonical axis order (right, anterior, superior) by permutation and flips alone,
cut to the box of its non-zero voxels, normalised, and resampled to the plan's spacing; a sheared scan is sampled
on a grid at right angles first. `Placement` remembers the way back. Nothing is interpolated where the spacing
already fits, so a mask then returns exactly, and the order in which a scan's axes are stored never changes a
prepared voxel.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from duoseg.errors import InputError
from duoseg.planning.classes import class_indices
from duoseg.planning.orient import canonical_spacing, from_canonical, laid_out, to_canonical
from duoseg.planning.plan import Normalisation, Plan, Triple
from duoseg.planning.resample import ordered_values, resample, resample_label, resample_masks, target_shape
from duoseg.planning.slabs import Slabs
from duoseg.planning.upright import Shear, as_matrix, sample, straighten, straighten_mask, upright_grid
from duoseg.planning.winners import most_probable
from duoseg.scans.limits import require_memory
from duoseg.scans.scan import Grid, Pairs, content_box
from duoseg.scans.texts import count_text, shape_text
from duoseg.scans.values import require_finite


@dataclass(frozen=True)
class Placement:
    """Where a prepared volume lies in its scan.

    Attributes:
        shape: the scan's shape in its own axis order; of a sheared scan, that of its upright grid.
        permutation: the scan's axis that becomes canonical axis 0, 1, 2.
        flips: which canonical axes run against the scan's.
        crop: first and one-past-last voxel kept along each canonical axis.
        prepared: the prepared volume's shape.
        shear: how a sheared scan lies in its upright grid; None where its axes are at right angles.
    """

    shape: Triple
    permutation: Triple
    flips: tuple[bool, bool, bool]
    crop: Pairs
    prepared: Triple
    shear: Shear | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the placement as plain types, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Placement:
        """Rebuild a placement from `to_dict` or from its JSON."""
        plain: dict[str, Any] = {key: tuple(value) for key, value in values.items() if key != "shear"}
        plain["crop"] = tuple(tuple(pair) for pair in plain["crop"])
        shear = values.get("shear")
        if shear is not None:
            plain["shear"] = Shear(tuple(shear["shape"]), as_matrix(shear["to_upright"]))
        return cls(**plain)

    @property
    def scan_shape(self) -> Triple:
        """The scan's own shape, sheared or not."""
        return self.shape if self.shear is None else self.shear.shape

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """The crop as slices along the canonical axes."""
        x, y, z = (slice(start, stop) for start, stop in self.crop)
        return x, y, z


@dataclass(frozen=True)
class Prepared:
    """A scan as the network will see it.

    Attributes:
        image: (C, x, y, z) float32.
        placement: the way back to the scan's grid.
        grid: that grid.
        name: of the scan, for messages.
    """

    image: np.ndarray
    placement: Placement
    grid: Grid
    name: str = "the scan"


def prepare_image(
    voxels: np.ndarray, grid: Grid, plan: Plan, *, name: str = "the scan"
) -> tuple[np.ndarray, Placement]:
    """Bring an image ``(C, X, Y, Z)`` to the plan's grid and intensities.

    Returns the prepared image, float32 of shape ``(C, x, y, z)`` in canonical axis order, and its placement.
    ``name`` stands for the scan in messages.

    Raises:
        InputError: the number of channels is not the plan's, the grid's shape is another, or a voxel is not
            finite.
    """
    if voxels.ndim != 4 or len(voxels) != len(plan.channels):
        raise InputError(
            f"{name}: {count_text(len(voxels) if voxels.ndim == 4 else 1, 'channel')}, but the plan has "
            f"{len(plan.channels)} ({', '.join(plan.channels)}). Give one image per channel, in that order."
        )
    if voxels.shape[1:] != tuple(grid.shape):
        raise InputError(
            f"{name}: there are {shape_text(voxels.shape[1:])} voxels, but {shape_text(grid.shape)} on their grid."
        )
    require_finite(voxels, name)
    upright = upright_grid(grid)
    shear = within = None
    if upright is not grid:
        shear = Shear.between(grid, upright)
        require_memory(Path(name), (4 * len(voxels) + 1) * math.prod(upright.shape))
        voxels, within = straighten(np.asarray(voxels, np.float32), shear, upright.shape)
    permutation, flips = upright.canonical()
    canonical = to_canonical(voxels, permutation, flips)
    if within is None:
        crop = content_box(canonical)
    else:
        within = to_canonical(within, permutation, flips)
        crop = content_box((canonical != 0) & within)
    # a copy in C order: sums then run in the same order however the scan was stored
    box = tuple(slice(*pair) for pair in crop)
    inner = laid_out(canonical[(slice(None), *box)], np.float32)
    prepared = target_shape(inner.shape[1:], canonical_spacing(upright), plan.spacing)
    require_memory(Path(name), inner.itemsize * len(inner) * math.prod(prepared))
    placement = Placement(tuple(upright.shape), permutation, flips, crop, prepared, shear)
    for channel, rule in zip(inner, plan.normalisation, strict=True):
        _normalise(channel, rule, None if within is None else within[box])
    return resample(torch.from_numpy(inner), prepared).numpy(), placement


def prepare_label(voxels: np.ndarray, placement: Placement, plan: Plan, *, name: str = "the label") -> np.ndarray:
    """Bring a label ``(X, Y, Z)`` of file values onto the grid of its prepared image.

    Returns class indices, int8 of shape ``(x, y, z)``: 0 background, 1..K in the order of ``plan.classes``,
    -1 ignored.

    Raises:
        InputError: the shape is not the image's, or a voxel holds a value that is no class of the plan.
    """
    if voxels.shape != placement.scan_shape:
        raise InputError(
            f"{name}: its shape is {shape_text(voxels.shape)}, but that of its image "
            f"{shape_text(placement.scan_shape)}. Draw it on the image's grid."
        )
    indices = class_indices(voxels, plan.classes, plan.ignore_value, name=name)
    if placement.shear is not None:
        return _prepare_sheared_label(indices, placement.shear, placement)
    canonical = to_canonical(indices, placement.permutation, placement.flips)
    inner = laid_out(canonical[placement.box])
    return resample_label(torch.from_numpy(inner), placement.prepared).numpy()


def _prepare_sheared_label(indices: np.ndarray, shear: Shear, placement: Placement) -> np.ndarray:
    """Bring class indices of a sheared scan to the prepared grid; voxels beyond the scan are ignored."""

    def shares(value: int) -> Tensor:
        share = straighten_mask(indices == value, shear, placement.shape, outside=float(value < 0))
        return torch.from_numpy(to_canonical(share, placement.permutation, placement.flips)[placement.box].copy())

    values = dict.fromkeys([*ordered_values(torch.from_numpy(indices)), -1])
    return resample_masks(((value, shares(value)) for value in values), placement.prepared).numpy()


def restore_mask(probabilities: Tensor | Slabs, placement: Placement) -> np.ndarray:
    """Return the most probable class per voxel of the scan's own grid, uint8 class indices.

    Outside the crop is background. ``probabilities`` has the shape ``(K + 1, x, y, z)``. Beside the mask, memory
    holds little: a slab and a tile; where the scan is sheared all slabs and a few volumes of one class. A tie goes to
    the smaller class.
    """
    return _restored(probabilities, placement, None)


def restore_mask_and_doubt(probabilities: Tensor | Slabs, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask as `restore_mask` does, and for each voxel the probability that it is of another class.

    The second is float32, 0 outside the crop.
    """
    shares = np.ones(_inner_shape(placement) if placement.shear is None else placement.shear.shape, np.float32)
    mask = _restored(probabilities, placement, shares)
    doubt = np.clip(1 - shares, 0, 1, out=shares)
    return mask, doubt if placement.shear is not None else _put_back(doubt, placement, 0)


def _restored(probabilities: Tensor | Slabs, placement: Placement, shares: np.ndarray | None) -> np.ndarray:
    """The mask; ``shares`` is filled with the winners' probabilities within the crop, or of a whole sheared scan."""
    slabs = probabilities if isinstance(probabilities, Slabs) else Slabs.of(probabilities)
    _require_prepared(slabs.shape, placement)
    if placement.shear is None:
        return _put_back(most_probable(slabs, _inner_shape(placement), shares=shares), placement, 0)
    volume = slabs.whole()
    best = _to_sheared(volume[0], placement, 1.0)
    winner = np.zeros(best.shape, np.uint8)
    for index in range(1, len(volume)):
        value = _to_sheared(volume[index], placement, 0.0)
        winner[value > best] = index
        np.maximum(best, value, out=best)
    if shares is not None:
        shares[...] = best
    return winner


def restore_map(values: Tensor, placement: Placement, *, outside: float) -> np.ndarray:
    """Return a map ``(x, y, z)`` on the scan's own grid, float32, ``outside`` beyond the crop."""
    _require_prepared(values.shape, placement)
    if placement.shear is not None:
        return _to_sheared(values, placement, outside)
    inner = resample(values[None].float().cpu(), _inner_shape(placement))[0].numpy()
    return _put_back(inner, placement, outside)


def _to_sheared(values: Tensor, placement: Placement, outside: float) -> np.ndarray:
    """Sample a prepared map at the voxels of a sheared scan, in the scan's own axis order."""
    assert placement.shear is not None
    restored = np.empty(placement.shear.shape, np.float32)
    matrix = _upright_to_prepared(placement) @ np.asarray(placement.shear.to_upright)
    sample(values.float().cpu().numpy(), matrix, restored, outside=outside)
    return restored


def _upright_to_prepared(placement: Placement) -> np.ndarray:
    """Return the matrix (4, 4) from a voxel index of the upright grid to one of the prepared volume."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1.0
    inner = _inner_shape(placement)
    for axis, (source, flip) in enumerate(zip(placement.permutation, placement.flips, strict=True)):
        scale = placement.prepared[axis] / inner[axis]
        start = placement.crop[axis][0]
        first = placement.shape[source] - 1 - start if flip else -start
        matrix[axis, source] = -scale if flip else scale
        matrix[axis, 3] = (first + 0.5) * scale - 0.5
    return matrix


def _normalise(channel: np.ndarray, rule: Normalisation, within: np.ndarray | None) -> None:
    """Bring one channel to a common scale, in place; statistics in float64, of what lies ``within`` a sheared scan."""
    if rule.scheme == "ct":
        if rule.window is None or rule.mean is None or rule.std is None:
            raise InputError(f"Plan: channel {rule.channel!r} has scheme 'ct' but lacks a window, mean or std.")
        np.clip(channel, *rule.window, out=channel)
        mean, std = rule.mean, rule.std
    else:
        content = channel[channel != 0] if within is None else channel[(channel != 0) & within]
        mean = float(content.mean(dtype=np.float64)) if content.size else 0.0
        std = float(content.std(dtype=np.float64)) if content.size else 1.0
    # an even channel has no contrast: a floor keeps rounding noise from becoming an image
    channel -= np.float32(mean)
    channel /= np.float32(max(std, 1e-6 * abs(mean), 1e-12))


def _require_prepared(shape: tuple[int, ...], placement: Placement) -> None:
    if tuple(shape) != tuple(placement.prepared):
        raise ValueError(f"shape {tuple(shape)} is not the prepared shape {placement.prepared}")


def _inner_shape(placement: Placement) -> Triple:
    x, y, z = (stop - start for start, stop in placement.crop)
    return x, y, z


def _put_back(inner: np.ndarray, placement: Placement, outside: float) -> np.ndarray:
    whole = np.full([placement.shape[axis] for axis in placement.permutation], outside, dtype=inner.dtype)
    whole[placement.box] = inner
    return laid_out(from_canonical(whole, placement.permutation, placement.flips))
