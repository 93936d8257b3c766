"""The windows that cover a volume, and how much each of their voxels counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from duoseg.planning.plan import Triple, WindowPlan

GAUSSIAN_SIGMA = 1 / 8
"""Of the patch side, as nnU-Net has it (Isensee et al., Nature Methods 2021)."""

AT_ONCE_ON_CPU = 4
"""Windows a batch; more are no faster."""

VOXELS_AT_ONCE = 2**22
"""Of a batch on any other device: enough to be busy with, in memory that each has."""


def most_at_once(patch: Triple, device: torch.device) -> int:
    """How many windows of ``patch`` voxels a device is given at once."""
    if device.type == "cpu":
        return AT_ONCE_ON_CPU
    return max(1, VOXELS_AT_ONCE // math.prod(patch))


def window_corners(shape: Sequence[int], patch: Triple, window: WindowPlan) -> list[list[int]]:
    """For each axis the first voxels of the windows that cover a volume at least as large as the patch."""
    return [
        window_starts(n, p, step=window.step, stride=window.stride[axis] if window.stride else None)
        for axis, (n, p) in enumerate(zip(shape, patch, strict=True))
    ]


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
