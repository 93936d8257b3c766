"""Sums over all processes that train together, so that a loss is that of the global batch, however it is divided.

A ratio of sums, such as Dice over a batch or a mean over the voxels that count, is not the mean of its parts. Each
process therefore takes the ratio of everybody's sums. The gradient of a sum reaches each part, and the engine's mean
over processes makes up for every process having that loss: all learn what one process with the whole batch would.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def everywhere(values: Tensor) -> Tensor:
    """The sum of ``values`` over all processes; where there is one, ``values``. Every process must call it.

    Gradients pass.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return values
    return _Sum.apply(values)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return _summed(grad_outputs[0])


def _summed(values: Tensor) -> Tensor:
    total = values.contiguous().clone()
    dist.all_reduce(total)
    return total
