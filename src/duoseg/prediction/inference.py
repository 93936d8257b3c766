"""Sliding-window prediction of a prepared volume."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from duoseg.planning.plan import Triple, WindowPlan

WINDOWS_AT_ONCE = 4
GAUSSIAN_SIGMA = 1 / 8
"""Of the patch side, as nnU-Net has it (Isensee et al., Nature Methods 2021)."""

Predictor = Callable[[Tensor], Tensor]


def predict_volume(
    image: Tensor,
    predict: Predictor,
    *,
    classes: int,
    patch: Triple,
    window: WindowPlan,
    mirror_axes: Sequence[int] = (),
    device: torch.device,
) -> Tensor:
    """Class probabilities of a whole prepared volume, from overlapping windows blended by weight.

    Args:
        image: (C, x, y, z) float32, on the CPU.
        predict: from (B, C, *patch) on ``device`` to probabilities (B, K + 1, *patch).
        classes: K + 1.
        patch: window size in voxels; a smaller volume is padded with zeros, as in training, around its middle.
        window: overlap and blending.
        mirror_axes: also predict the volume flipped along every combination of these axes, and average.
        device: where ``predict`` computes.

    Returns:
        (K + 1, x, y, z) float32 on the CPU, summing to 1 over classes.
    """
    shape = image.shape[1:]
    missing = [max(p - n, 0) for p, n in zip(patch, shape, strict=True)]
    before = [m // 2 for m in missing]
    padding = [side for b, m in zip(reversed(before), reversed(missing), strict=True) for side in (b, m - b)]
    padded = F.pad(image, padding)
    weight = window_weight(patch, window.blending).to(device)
    total = torch.zeros((classes, *padded.shape[1:]))
    coverage = torch.zeros(padded.shape[1:])
    for boxes in _batches(list(window_boxes(tuple(padded.shape[1:]), patch, window)), WINDOWS_AT_ONCE):
        patches = torch.stack([padded[(slice(None), *box)] for box in boxes]).to(device)
        weighted = (_mirrored(predict, patches, mirror_axes).float() * weight).cpu()
        for box, part in zip(boxes, weighted, strict=True):
            total[(slice(None), *box)] += part
            coverage[box] += weight.cpu()
    inner = tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))
    return total[(slice(None), *inner)] / coverage[inner]


def window_boxes(shape: Sequence[int], patch: Triple, window: WindowPlan) -> Iterator[tuple[slice, slice, slice]]:
    """The windows that cover a volume at least as large as the patch."""
    starts = [
        window_starts(n, p, step=window.step, stride=window.stride[axis] if window.stride else None)
        for axis, (n, p) in enumerate(zip(shape, patch, strict=True))
    ]
    for corner in itertools.product(*starts):
        x, y, z = (slice(start, start + side) for start, side in zip(corner, patch, strict=True))
        yield x, y, z


def window_starts(size: int, side: int, *, step: float, stride: int | None) -> list[int]:
    """First voxels of windows of ``side`` voxels that cover ``size`` voxels, the last one flush with the end.

    With ``stride``, the fixed shift of the semi-supervised literature's test code; otherwise shifts of at most
    ``step * side``, spread evenly.
    """
    room = size - side
    if stride is not None:
        return sorted({*range(0, room, stride), room})
    count = min(room, math.ceil(room / (step * side))) + 1
    return [round(room * index / max(count - 1, 1)) for index in range(count)]


def window_weight(patch: Triple, blending: str) -> Tensor:
    """Each window voxel's weight, (x, y, z), at most 1: uniform, or a Gaussian that trusts the centre most."""
    if blending == "uniform":
        return torch.ones(patch)
    axes = []
    for side in patch:
        offset = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
        axes.append(torch.exp(-0.5 * (offset / (GAUSSIAN_SIGMA * side)) ** 2))
    weight = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    # A floor keeps a voxel that only corners cover from being divided by almost nothing.
    return (weight / weight.max()).clamp(min=1e-4)


def _mirrored(predict: Predictor, patches: Tensor, axes: Sequence[int]) -> Tensor:
    """The mean prediction over all combinations of flips (the identity is one of them)."""
    flips = [combo for count in range(len(axes) + 1) for combo in itertools.combinations(axes, count)]
    total: Tensor | None = None
    for flip in flips:
        dims = [2 + axis for axis in flip]
        opinion = predict(patches.flip(dims)).flip(dims)
        total = opinion if total is None else total + opinion
    assert total is not None
    return total / len(flips)


def _batches(items: list[tuple[slice, slice, slice]], size: int) -> Iterator[list[tuple[slice, slice, slice]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
