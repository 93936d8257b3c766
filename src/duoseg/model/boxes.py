"""Boxes at random places in a patch, for pasting one patch into another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from duoseg.model.draws import SampleGenerator
from duoseg.model.transfer import moved


def pasting_boxes(generator: SampleGenerator, shape: Sequence[int], share: float) -> Tensor:
    """Boxes with ``share`` of each side, wholly within the patch, at any place (BCP).

    Args:
        generator: One stream per sample.
        shape: Of the patch, in voxels.
        share: Side of the box over the patch's, rounded down to whole voxels, one at least.

    Returns:
        (B, *shape) bool, True in the box, on the generator's device.
    """
    places = generator.host.uniform(0.0, 1.0, len(shape))
    first = torch.empty(len(generator), len(shape), dtype=torch.long)
    last = torch.empty_like(first)
    for axis, length in enumerate(shape):
        side = max(1, int(share * length))
        first[:, axis] = (places[:, axis] * (length - side + 1)).long()
        last[:, axis] = first[:, axis] + side
    return moved(_between(first, last, shape), generator.device)


def cutmix_boxes(generator: SampleGenerator, shape: Sequence[int]) -> Tensor:
    """Boxes with sides sqrt(1 - l) of the patch's, l from Beta(4, 4), cut off at its border (CutMix as AD-MT has it).

    Args:
        generator: One stream per sample.
        shape: Of the patch, in voxels.

    Returns:
        (B, *shape) bool, True in the box, on the generator's device.
    """
    # The median of seven uniform draws is distributed as Beta(4, 4).
    side = (1 - generator.host.uniform(0.0, 1.0, 7).median(dim=1).values).sqrt()
    places = generator.host.uniform(0.0, 1.0, len(shape))
    first = torch.empty(len(generator), len(shape), dtype=torch.long)
    last = torch.empty_like(first)
    for axis, length in enumerate(shape):
        half = (side * length).long().div(2, rounding_mode="floor").clamp(min=1)
        lowest = length // 8
        centre = (lowest + places[:, axis] * (length - lowest)).long()
        first[:, axis], last[:, axis] = centre - half, centre + half
    return moved(_between(first, last, shape), generator.device)


def pasted(patches: Tensor, inside: Tensor, spare: Tensor) -> Tensor:
    """Patches with a box of the one before pasted into each (CutMix).

    Args:
        patches: (B, ..., *shape): images, or what is said of their voxels.
        inside: (B, *shape) bool, True in the boxes.
        spare: (1, ..., *shape), from which the box is taken where B is 1 and there is no other; (0, ...) where there is
            none either, and the patch stays as it is.
    """
    donors = spare if len(patches) == 1 and len(spare) else patches.roll(1, dims=0)
    return torch.where(inside.unflatten(0, (len(inside), *[1] * (patches.ndim - inside.ndim))), donors, patches)


@dataclass(frozen=True)
class PastedView:
    """Patches with a box of the one before pasted into each, and how to carry what is said of their voxels.

    Attributes:
        image: (B, C, *shape).
        inside: (B, *shape) bool, True in the boxes.
        spare: (1, *shape), the classes of the patch from which a lone one has its box.
    """

    image: Tensor
    inside: Tensor
    spare: Tensor

    def apply(self, label: Tensor) -> Tensor:
        """The classes (B, *shape) of the patches as they were, with those of the boxes pasted in.

        Raises:
            ValueError: they are no classes of all its patches: a lone patch has none but classes to paste.
        """
        if label.shape != self.inside.shape:
            raise ValueError(f"a label of shape {tuple(label.shape)} is none of patches of {tuple(self.inside.shape)}")
        return pasted(label, self.inside, self.spare)


def _between(first: Tensor, last: Tensor, shape: Sequence[int]) -> Tensor:
    """Masks of the voxels from ``first`` up to, not including, ``last``, (B, axes) each."""
    mask = torch.ones((len(first), *shape), dtype=torch.bool)
    for axis, length in enumerate(shape):
        at = torch.arange(length)
        along = (at >= first[:, axis, None]) & (at < last[:, axis, None])
        mask &= along.view(len(first), *(length if axis == other else 1 for other in range(len(shape))))
    return mask
