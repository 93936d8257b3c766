"""Weak and strong views of one batch, whose predictions can be carried between frames exactly."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from duoseg.model.draws import SampleGenerator
from duoseg.model.intensity import STRONG, apply_intensities, draw_intensities
from duoseg.model.reorient import Reorientation, apply_reorientations, draw_reorientations
from duoseg.planning.plan import AugmentationPlan, Triple

USUAL = AugmentationPlan()


@dataclass(frozen=True)
class View:
    """A batch as one network sees it.

    Attributes:
        image: (B, C, X, Y, Z) float32, in the view's frame.
        frames: Each sample's mirrors and quarter turns.
    """

    image: Tensor
    frames: tuple[Reorientation, ...]

    def apply(self, tensor: Tensor) -> Tensor:
        """Carry the first b <= B samples (b, ..., X, Y, Z), of any type, to the view's frame."""
        return apply_reorientations(tensor, self.frames)

    def invert(self, tensor: Tensor) -> Tensor:
        """Carry (b, ..., X, Y, Z) back to the batch's frame: ``invert(apply(t))`` equals ``t``."""
        return apply_reorientations(tensor, [frame.inverse() for frame in self.frames])


def weak_view(
    image: Tensor,
    *,
    plan: AugmentationPlan,
    generator: SampleGenerator,
    spacing: Sequence[float] | None = None,
) -> View:
    """A view that only mirrors and turns, as far as the plan allows: intensities stay as they are.

    Args:
        image: (B, C, X, Y, Z).
        plan: Which mirrors and turns the anatomy allows.
        generator: One stream per sample.
        spacing: Voxel sides in mm; equal sides where omitted.
    """
    frames = tuple(draw_reorientations(generator, plan=plan, size=_size(image), spacing=spacing))
    return View(apply_reorientations(image, frames), frames)


def strong_view(
    image: Tensor,
    *,
    plan: AugmentationPlan,
    generator: SampleGenerator,
    spacing: Sequence[float] | None = None,
) -> View:
    """A view that mirrors and turns, and changes intensities more often and strongly than ``augment``.

    Args:
        image: (B, C, X, Y, Z) float32.
        plan: Which mirrors and turns the anatomy allows. Intensities change twice as often as in a usual plan, whatever
            this one says of them: that a view is strong is part of the method that asks for it.
        generator: One stream per sample.
        spacing: Voxel sides in mm; equal sides where omitted.
    """
    view = weak_view(image, plan=plan, generator=generator, spacing=spacing)
    changes = draw_intensities(generator, plan=USUAL, channels=image.shape[1], ranges=STRONG)
    # Methods ask within autocast; images are changed in float32.
    with torch.no_grad(), _without_autocast(image.device):
        # In the batch's frame, where `spacing` holds whichever axes have been turned.
        changed = apply_intensities(image, changes, generator=generator, spacing=spacing)
    return View(view.apply(changed), view.frames)


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _size(image: Tensor) -> Triple:
    x, y, z = image.shape[-3:]
    return x, y, z
