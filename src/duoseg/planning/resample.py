"""Separable linear resampling on the half-pixel grid, smoothed where it shrinks.

A volume keeps its extent: the outer faces of the first and last voxel stay where they are, and ``n`` voxels
become ``m``. Output voxel ``i`` has its centre at ``(i + 1/2) n / m - 1/2`` in input voxels. Where ``m > n``
this is linear interpolation with the border voxel repeated; where ``m < n`` the linear (triangle) kernel is
widened by ``n / m``, so that no input voxel is skipped. Weights are computed in float64 and sums run tap by
tap, so a result depends neither on the number of threads nor on a matrix library. What is even stays even, to the
last digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from duoseg.planning.plan import Triple


def target_shape(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> Triple:
    """Return the shape at spacing ``target`` (mm) of a volume of ``shape`` at ``spacing`` (mm)."""
    x, y, z = (max(1, round(n * mm / goal)) for n, mm, goal in zip(shape, spacing, target, strict=True))
    return x, y, z


def axis_weights(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each output voxel of one axis the input voxels it reads and their weights.

    Both arrays have the shape ``(new_size, taps)``; weights are float64 and sum to 1 along the taps.
    """
    scale = size / new_size
    width = max(scale, 1.0)
    centre = (np.arange(new_size) + 0.5) * scale - 0.5
    taps = 2 * math.ceil(width) + 1
    index = np.floor(centre).astype(np.int64)[:, None] + np.arange(taps) - (taps - 1) // 2
    weight = np.maximum(0.0, 1.0 - np.abs(index - centre[:, None]) / width)
    weight[(index < 0) | (index >= size)] = 0.0
    weight /= weight.sum(axis=1, keepdims=True)
    used = weight.any(axis=0)  # at the ends of the window whole taps may carry nothing
    return index.clip(0, size - 1)[:, used], weight[:, used]


def resample(volume: Tensor, shape: Triple) -> Tensor:
    """Resample a volume of shape ``(C, X, Y, Z)`` to ``(C, *shape)``, each channel on its own.

    Integer volumes come back as float32, floating-point ones in their own type; an axis that keeps its size
    keeps its values.
    """
    if not volume.is_floating_point():
        volume = volume.float()
    sizes = volume.shape[1:]
    for axis in axis_order(sizes, shape):
        if sizes[axis] != shape[axis]:
            volume = weigh_taps(volume, axis + 1, *axis_weights(sizes[axis], shape[axis]))
    return volume


def axis_order(sizes: Sequence[int], shape: Sequence[int]) -> list[int]:
    """The order in which axes are resampled: the one that shrinks most first, so that the others have less to do."""
    return sorted(range(3), key=lambda axis: shape[axis] / sizes[axis])


def weigh_taps(volume: Tensor, axis: int, index: np.ndarray, weight: np.ndarray) -> Tensor:
    """Resample one axis: each output voxel is the sum of the input voxels (new_size, taps) that it reads, weighed.

    The sum is that of the first of them and of the weighed differences from it: rounded weights do not sum to 1, and
    would turn an even region into an almost even one.
    """
    along = [1] * volume.ndim
    along[axis] = len(index)
    factors = torch.as_tensor(weight, dtype=volume.dtype, device=volume.device)
    first = _select(volume, axis, index[:, 0])
    if index.shape[1] == 2:  # what grows: one pass less
        return first.lerp_(_select(volume, axis, index[:, 1]), factors[:, 1].view(along))
    result = first.clone()
    for tap in range(1, index.shape[1]):
        difference = _select(volume, axis, index[:, tap]).sub_(first)
        result.add_(difference.mul_(factors[:, tap].view(along)))
    return result


def _select(volume: Tensor, axis: int, indices: np.ndarray) -> Tensor:
    """The slices of these indices along an axis, copied."""
    chosen = torch.as_tensor(np.ascontiguousarray(indices), device=volume.device)
    if axis < volume.ndim - 1:
        return volume.index_select(axis, chosen)
    # single voxels, not runs of them: on CPUs more than twice as fast so
    return volume.gather(axis, chosen.expand(*volume.shape[:-1], len(chosen)))


def resample_label(label: Tensor, shape: Triple) -> Tensor:
    """Resample a label of shape ``(X, Y, Z)``, int8 with -1 for ignored voxels, to ``shape``.

    Each value's mask is resampled linearly and the greatest wins, a tie going to the background and then to
    the smaller class. Memory holds three float32 volumes, however many classes there are.
    """
    if tuple(label.shape) == tuple(shape):
        return label.clone()
    return resample_masks(((value, label == value) for value in ordered_values(label)), shape)


def ordered_values(label: Tensor) -> list[int]:
    """Return the values of a label in the order in which ties are won: background, classes, -1."""
    return sorted(np.unique(label.numpy()).tolist(), key=lambda value: (value < 0, value))


def resample_masks(masks: Iterable[tuple[int, Tensor]], shape: Triple) -> Tensor:
    """Resample masks (X, Y, Z) of values, one at a time, to ``shape``; return the value with the greatest share, int8.

    Masks are boolean, or the float shares of earlier sampling. A tie goes to the earlier value.
    """
    winner, best = torch.zeros(shape, dtype=torch.int8), torch.full(shape, -1.0)
    for value, mask in masks:
        share = resample(mask[None], shape)[0]
        wins = share > best
        winner[wins] = value
        best = torch.where(wins, share, best)
    return winner
