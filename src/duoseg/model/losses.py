"""Losses on probabilities, and the ramps that weight them.

Labels are class indices 0..K with -1 for voxels that carry no annotation; those take no part in any loss here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from duoseg.model.everywhere import everywhere

IGNORE = -1
TINY = 1e-6


def class_probabilities(logits: Tensor) -> Tensor:
    """Softmax over classes (axis 1), in float32 at least."""
    return torch.softmax(logits, dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))


def one_hot(label: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Split class indices into a float one-hot volume and a mask of annotated voxels.

    Args:
        label: (B, *spatial), integers -1..K.
        classes: K + 1, background included.

    Returns:
        (B, K + 1, *spatial), zero where not annotated, and (B, 1, *spatial).
    """
    annotated = (label != IGNORE).unsqueeze(1)
    index = torch.arange(classes, device=label.device).view(1, -1, *[1] * (label.ndim - 1))
    return (label.unsqueeze(1) == index).float(), annotated.float()


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy over annotated voxels; 0 where there are none.

    Args:
        logits: (B, K + 1, *spatial).
        label: (B, *spatial).
    """
    total = F.cross_entropy(logits, label.long(), ignore_index=IGNORE, reduction="sum")
    return everywhere(total) / everywhere((label != IGNORE).sum()).clamp(min=1)


def dice_loss(foreground: Tensor, label: Tensor, *, smooth: float = 1e-5) -> Tensor:
    """1 - Dice with squared volumes (Milletari et al. 2016, eq. 3), over the batch, mean over foreground classes.

    Args:
        foreground: probabilities of classes 1..K, (B, K, *spatial).
        label: (B, *spatial).
        smooth: keeps an absent class defined.
    """
    truth, annotated = one_hot(label, foreground.shape[1] + 1)
    truth = truth[:, 1:]
    foreground = foreground * annotated  # annotated is float32: half precision ends here
    axes = (0, *range(2, foreground.ndim))
    intersection = everywhere((foreground * truth).sum(axes))
    volumes = everywhere(foreground.square().sum(axes) + truth.square().sum(axes))
    return 1 - ((2 * intersection + smooth) / (volumes + smooth)).mean()


def patch_volumes(foreground: Tensor, label: Tensor, *, smooth: float = 1e-5) -> tuple[Tensor, Tensor, Tensor]:
    """Of each patch and class: twice the overlap, the sum of both volumes, and whether the class is there; (B, K) each.

    Args:
        foreground: probabilities of classes 1..K, (B, K, *spatial).
        label: (B, *spatial).
        smooth: keeps an absent class defined; in the first two.
    """
    truth, annotated = one_hot(label, foreground.shape[1] + 1)
    truth, foreground = truth[:, 1:], foreground * annotated
    axes = tuple(range(2, foreground.ndim))
    true = truth.sum(axes)
    return 2 * (foreground * truth).sum(axes) + smooth, foreground.square().sum(axes) + true + smooth, true > 0


def region_loss(logits: Tensor, label: Tensor) -> Tensor:
    """(CE + Dice) / 2, the labelled loss of most methods.

    Args:
        logits: (B, K + 1, *spatial).
        label: (B, *spatial).
    """
    return (cross_entropy(logits, label) + dice_loss(class_probabilities(logits)[:, 1:], label)) / 2


def masked_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of the values where the mask is 1; 0 where there are none, such as without an unlabelled patch.

    Args:
        values: any shape.
        mask: weights that broadcast to that shape; 1 everywhere where absent.
    """
    if mask is None:
        return values.sum() / max(values.numel(), 1)
    mask = mask.expand_as(values)
    return everywhere((values * mask).sum()) / everywhere(mask.sum()).clamp(min=TINY)


def entropy(p: Tensor) -> Tensor:
    """Entropy over classes in nats, (B, 1, *spatial), of probabilities (B, K + 1, *spatial)."""
    return -(p * (p + 1e-6).log()).sum(dim=1, keepdim=True)


def gaussian_ramp(progress: float, levels: int = 0) -> float:
    """exp(-5 (1 - t)^2), from 0.007 at t = 0 to 1 at t = 1 (Laine & Aila, ICLR 2017).

    Args:
        progress: share of the training that is done.
        levels: t rises in so many equal intervals, as published code does every 150 of 6000 steps (40); 0 makes it
            rise at every step.
    """
    t = min(max(progress, 0.0), 1.0)
    if levels:
        t = math.floor(t * levels + 1e-9) / levels  # 29 / 200 * 200 is a little less than 29
    return math.exp(-5 * (1 - t) ** 2)
