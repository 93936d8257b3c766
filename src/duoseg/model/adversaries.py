"""Adversaries: small convolutional networks that judge a student's maps.

An adversary has two terms in one training step. Its own is on detached maps, so its gradient stays in it. The
student's term passes through `judge`, which holds the adversary's parameters fixed. One backward pass of the sum gives
both networks their own gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from duoseg.model.precision import precise
from duoseg.planning.plan import Triple

NEGATIVE_SLOPE = 0.2
DROPOUT = 0.5


class ShapeDiscriminator(nn.Module):
    """Tells from distance maps and image which of two sets a patch belongs to (Li et al., MICCAI 2020).

    4x4x4 convolutions of stride 2, as many channels again at each; the image and the maps have a first one of their own
    and are added; dropout after all but the last; the mean over space and a linear layer at the end.

    Args:
        maps: channels of the maps.
        in_channels: channels of the image.
        width: channels after the first convolution; published 64.
        patch: spatial size of both; sides of a single voxel are left alone.
    """

    def __init__(self, maps: int, in_channels: int, *, width: int, patch: Triple) -> None:
        super().__init__()
        first, *kernels = _kernels(patch, layers=4)
        self.maps = _halving(maps, width, first)
        self.image = _halving(in_channels, width, first)
        self.down = nn.ModuleList(
            _halving(width * 2**level, width * 2 ** (level + 1), kernel) for level, kernel in enumerate(kernels)
        )
        self.classifier = nn.Linear(width * 2 ** len(kernels), 1)

    def forward(self, maps: Tensor, image: Tensor, *, dropout: bool = True) -> Tensor:
        """(B, maps, *patch) and (B, in_channels, *patch) to one logit each, (B,)."""
        x = F.leaky_relu(self.maps(maps) + self.image(image), NEGATIVE_SLOPE)
        for convolution in self.down:
            x = F.dropout3d(x, DROPOUT, training=dropout and self.training)
            x = F.leaky_relu(convolution(x), NEGATIVE_SLOPE)
        return precise(self.classifier(x.mean(dim=(2, 3, 4))).squeeze(1))


class ConfidenceNetwork(nn.Module):
    """Says of each voxel of class probabilities how much they look like a true mask (Nie et al., MICCAI 2018).

    Fully convolutional, a reconstruction: three 4x4x4 convolutions of stride 2 (Hung et al., BMVC 2018, have five, in
    2-D; Nie's code has one at full size, three strided ones and a way up), each read by a 1x1x1 convolution; the
    readings are brought to full size and added, as in an FCN (Long et al., CVPR 2015).

    Args:
        maps: channels of the maps, K + 1.
        width: channels after the first convolution; published 64.
        patch: spatial size of the maps; sides of a single voxel are left alone.
    """

    def __init__(self, maps: int, *, width: int, patch: Triple) -> None:
        super().__init__()
        kernels = _kernels(patch, layers=3)
        channels = [maps, *(width * 2**level for level in range(len(kernels)))]
        self.down = nn.ModuleList(
            _halving(upper, lower, kernel)
            for upper, lower, kernel in zip(channels[:-1], channels[1:], kernels, strict=True)
        )
        self.readings = nn.ModuleList(nn.Conv3d(lower, 1, 1) for lower in channels[1:])

    def forward(self, maps: Tensor) -> Tensor:
        """(B, maps, *patch) to logits, (B, 1, *patch)."""
        logits, x = precise(torch.zeros_like(maps[:, :1])), maps
        for convolution, reading in zip(self.down, self.readings, strict=True):
            x = F.leaky_relu(convolution(x), NEGATIVE_SLOPE)
            logits = logits + F.interpolate(
                precise(reading(x)), size=maps.shape[2:], mode="trilinear", align_corners=False
            )
        return logits


def judge(adversary: nn.Module, *inputs: Tensor, **options: bool) -> Tensor:
    """What the adversary says, with a way back to the inputs but not to its own parameters."""
    fixed = {name: parameter.detach() for name, parameter in adversary.named_parameters()}
    return functional_call(adversary, fixed, inputs, options)


def _kernels(patch: Sequence[int], *, layers: int) -> list[Triple]:
    """Sides of each layer's convolution: 4, and 1 along an axis that has shrunk to a single voxel."""
    kernels = []
    for _ in range(layers):
        x, y, z = (4 if side > 1 else 1 for side in patch)
        kernels.append((x, y, z))
        patch = [max(side // 2, 1) for side in patch]
    return kernels


def _halving(in_channels: int, out_channels: int, kernel: Triple) -> nn.Conv3d:
    x, y, z = (2 if side > 1 else 1 for side in kernel)
    padding = (x - 1, y - 1, z - 1)
    return nn.Conv3d(in_channels, out_channels, kernel, stride=(x, y, z), padding=padding)
