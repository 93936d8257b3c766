"""The random changes that every training patch goes through, on whichever device holds the batch.

Each change is drawn first, as plain parameters, and then applied to the samples that drew it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from duoseg.model.draws import SampleGenerator
from duoseg.model.intensity import apply_intensities, draw_intensities
from duoseg.model.reorient import apply_reorientations, draw_reorientations
from duoseg.model.spatial import Warp, apply_warps, centre_crop, draw_warps
from duoseg.model.views import View, strong_view, weak_view
from duoseg.planning.plan import AugmentationPlan, Triple

__all__ = ["SampleGenerator", "View", "augment", "strong_view", "weak_view"]


@torch.no_grad()
def augment(
    image: Tensor,
    label: Tensor | None,
    *,
    size: Triple,
    plan: AugmentationPlan,
    generator: SampleGenerator,
    spacing: Sequence[float] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Change a batch of patches at random: space first (image and label alike), then intensities.

    Args:
        image: (B, C, X, Y, Z) normalised intensities. A patch larger than ``size`` gives rotations something
            to turn in; the output is cut about its centre.
        label: (L, X, Y, Z) int64 class indices of the first L samples, -1 where unknown; or None.
        size: Shape of the output patch in voxels.
        plan: Probabilities and ranges.
        generator: One stream per sample, on the image's device.
        spacing: Voxel sides in mm; equal sides where omitted.

    Returns:
        (B, C, *size) float32, and (L, *size) int64 or None. What lies outside the input patch is 0 and -1.

    Raises:
        ValueError: If the shapes of image, label, size and generator do not fit together.
    """
    _check(image, label, size, generator)
    warps = draw_warps(generator, plan=plan, size=size, spacing=spacing)
    frames = draw_reorientations(generator, plan=plan, size=size, spacing=spacing)
    changes = draw_intensities(generator, plan=plan, channels=image.shape[1])
    image, label = _warped(image.float(), label, warps, size)
    image = apply_intensities(image, changes, generator=generator, spacing=spacing)
    image = apply_reorientations(image, frames)
    return image, None if label is None else apply_reorientations(label, frames)


def _warped(
    image: Tensor, label: Tensor | None, warps: Sequence[Warp | None], size: Triple
) -> tuple[Tensor, Tensor | None]:
    """Interpolate only the samples that drew a warp; the others are cropped."""
    drawn = {row: warp for row, warp in enumerate(warps) if warp is not None}
    rows = list(drawn)
    # Always a fresh dense copy: a sum's rounding depends on the memory layout, which must not depend on the
    # batch.
    result = centre_crop(image, size).clone(memory_format=torch.contiguous_format)
    result_label = None if label is None else centre_crop(label, size).clone()
    if not rows:
        return result, result_label
    labelled = [] if label is None else [row for row in rows if row < len(label)]
    some_labels = torch.stack([label[row] for row in labelled]) if label is not None and labelled else None
    some = torch.stack([image[row] for row in rows])  # one by one: a list of them is an index that a GPU waits for
    moved, moved_label = apply_warps(some, some_labels, warps=list(drawn.values()), size=size)
    for row, one in zip(rows, moved, strict=True):
        result[row] = one
    if result_label is not None and moved_label is not None:
        for row, one in zip(labelled, moved_label, strict=True):
            result_label[row] = one
    return result, result_label


def _check(image: Tensor, label: Tensor | None, size: Triple, generator: SampleGenerator) -> None:
    shape = tuple(image.shape[-3:])
    if image.dim() != 5 or any(n < s for n, s in zip(shape, size, strict=True)):
        raise ValueError(f"patches of shape {tuple(image.shape)} cannot give (B, C, *{size})")
    if label is not None and (tuple(label.shape[1:]) != shape or len(label) > len(image)):
        raise ValueError(f"labels of shape {tuple(label.shape)} do not fit images of shape {tuple(image.shape)}")
    if len(generator) != len(image):
        raise ValueError(f"{len(generator)} random streams for {len(image)} samples")
