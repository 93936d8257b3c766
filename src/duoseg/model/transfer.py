"""From the CPU, where numbers are drawn and patches read, to the device that computes."""

from __future__ import annotations

import torch
from torch import Tensor


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device, without waiting for what a GPU still has to do."""
    return tensor.to(device, non_blocking=device.type == "cuda")
