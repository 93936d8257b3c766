"""Where half precision ends."""

from __future__ import annotations

import torch
from torch import Tensor


def precise(tensor: Tensor) -> Tensor:
    """The tensor in float32 at least: losses are computed in it, whatever the networks compute in."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
