"""The networks of the students: a compact residual U-Net that the plan sizes, or the V-Net of the papers."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duoseg.model.vnet import VNet
from duoseg.planning.fitting import require_fitting_patch
from duoseg.planning.plan import NetworkPlan, Triple

NEGATIVE_SLOPE = 0.01
CUBE: Triple = (3, 3, 3)


class NetworkFactory:
    """Builds fresh, independently initialised students for one plan.

    Args:
        plan: the network section of the plan.
        in_channels: image channels.
        classes: foreground classes, K.
        patch: spatial size that the network will see, in voxels.

    Raises:
        InputError: the patch does not fit the network; the message gives the sizes that do.
    """

    def __init__(self, plan: NetworkPlan, *, in_channels: int, classes: int, patch: Triple) -> None:
        require_fitting_patch(plan, patch)
        self.plan = plan
        self.in_channels = in_channels
        self.classes = classes

    def region(self) -> nn.Module:
        """A network from an image (B, in_channels, *spatial) to logits (B, K + 1, *spatial)."""
        return self._build(self.classes + 1)

    def distance(self) -> nn.Module:
        """A network from an image to one unbounded map per foreground class, (B, K, *spatial)."""
        return self._build(self.classes)

    def _build(self, out_channels: int) -> nn.Module:
        if self.plan.architecture == "vnet":
            return VNet(self.in_channels, out_channels, channels=self.plan.channels, dropout=self.plan.dropout)
        return ResidualUNet(
            self.in_channels,
            out_channels,
            channels=self.plan.channels,
            strides=self.plan.strides,
            kernels=self.plan.kernels or None,
            strided_stem=self.plan.stem == "strided",
            dropout=self.plan.dropout,
        )


class InstanceNorm(nn.Module):
    """Instance normalisation with learned scale and shift: exact, and fast in the channels-last layout of CPUs.

    PyTorch's own falls back to the slow layout in its backward pass on CPUs. Batch normalisation of one sample by
    its own statistics is the same formula and does not.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, *spatial) over the spatial axes of each sample and channel."""
        if x.device.type != "cpu":
            return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        return torch.cat(
            [
                F.batch_norm(sample, None, None, self.weight, self.bias, training=True, eps=self.eps)
                for sample in x.split(1)
            ]
        )


class ResidualBlock(nn.Module):
    """Two normalised convolutions beside a shortcut (He et al., CVPR 2016), the first one strided."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: Triple = (1, 1, 1), *, kernel: Triple = CUBE
    ) -> None:
        super().__init__()
        padding = _padding(kernel)
        self.first = nn.Conv3d(in_channels, out_channels, kernel, stride=stride, padding=padding, bias=False)
        self.first_norm = InstanceNorm(out_channels)
        self.second = nn.Conv3d(out_channels, out_channels, kernel, padding=padding, bias=False)
        self.second_norm = InstanceNorm(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != (1, 1, 1):
            # Average first, so that every voxel reaches the shortcut and not only every second one.
            pool = nn.AvgPool3d(stride, stride)
            self.shortcut = nn.Sequential(pool, nn.Conv3d(in_channels, out_channels, 1, bias=False))
        elif in_channels != out_channels:
            self.shortcut = nn.Conv3d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, *spatial) to (B, out, *spatial / stride)."""
        y = F.leaky_relu(self.first_norm(self.first(x)), NEGATIVE_SLOPE, inplace=True)
        y = self.second_norm(self.second(y))
        return F.leaky_relu(y + self.shortcut(x), NEGATIVE_SLOPE, inplace=True)


class ConvolutionBlock(nn.Module):
    """One normalised convolution."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: Triple = CUBE) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(in_channels, out_channels, kernel, padding=_padding(kernel), bias=False)
        self.norm = InstanceNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, *spatial) to (B, out, *spatial)."""
        return F.leaky_relu(self.norm(self.convolution(x)), NEGATIVE_SLOPE, inplace=True)


class Merge(nn.Module):
    """One step up: a transposed convolution, the skip connection added to it, one convolution over the sum.

    Added rather than concatenated: that halves the widest convolution, on CPUs a third of the step.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: Triple, *, kernel: Triple = CUBE) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(in_channels, out_channels, stride, stride=stride, bias=False)
        self.block = ConvolutionBlock(out_channels, out_channels, kernel=kernel)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, in, *spatial) and (B, out, *spatial * stride) to the latter's shape."""
        return self.block(self.up(x) + skip)


class ResidualUNet(nn.Module):
    """A U-Net with a residual encoder and a light decoder.

    With a strided stem, a 4x4x4 convolution of stride 2 enters and its transpose leaves: no convolution works at full
    resolution, which on CPUs is where most of the time goes. ``kernels`` gives the sides of each level's convolutions,
    1 or 3; 3x3x3 on all where absent.

    Where no kernel reaches along the last axis, as for single slices, it is computed as the first one: convolutions on
    CPUs go along the last axis, and are several times slower where that is a single voxel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        channels: tuple[int, ...],
        strides: tuple[Triple, ...],
        strided_stem: bool,
        kernels: tuple[Triple, ...] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        first = channels[0]
        kernels = kernels or (CUBE,) * len(channels)
        self._turned = all(kernel[-1] == 1 for kernel in kernels)
        if self._turned:
            kernels = tuple((z, x, y) for x, y, z in kernels)
            strides = tuple((z, x, y) for x, y, z in strides)
        self.stem: nn.Module = nn.Identity()
        self.head: nn.Module = nn.Conv3d(first, out_channels, 1)
        if strided_stem:
            self.stem = nn.Conv3d(in_channels, first, 4, stride=2, padding=1)
            self.head = nn.ConvTranspose3d(first, out_channels, 4, stride=2, padding=1)
        # At full resolution one plain convolution; residual blocks from half resolution on.
        entry = (
            ResidualBlock(first, first, kernel=kernels[0])
            if strided_stem
            else ConvolutionBlock(in_channels, first, kernel=kernels[0])
        )
        self.encoder = nn.ModuleList([entry])
        self.encoder.extend(
            ResidualBlock(upper, lower, stride, kernel=kernel)
            for (upper, lower), stride, kernel in zip(pairwise(channels), strides, kernels[1:], strict=True)
        )
        self.dropout = nn.Dropout3d(dropout)
        self.decoder = nn.ModuleList(
            Merge(lower, upper, stride, kernel=kernel)
            for (upper, lower), stride, kernel in reversed(
                list(zip(pairwise(channels), strides, kernels[:-1], strict=True))
            )
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, *spatial) to (B, out_channels, *spatial)."""
        x = self.stem(image.permute(0, 1, 4, 2, 3) if self._turned else image)
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        x = self.dropout(skips.pop())
        for merge in self.decoder:
            x = merge(x, skips.pop())
        maps = self.head(x)
        return maps.permute(0, 1, 3, 4, 2) if self._turned else maps


def _padding(kernel: Triple) -> Triple:
    x, y, z = (side // 2 for side in kernel)
    return x, y, z
