"""The plan's network: a compact residual U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duoseg.planning.plan import Triple

NEGATIVE_SLOPE = 0.01
CUBE: Triple = (3, 3, 3)

Upsampling = Literal["transposed", "trilinear", "nearest"]


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
        if torch.jit.is_tracing() or torch.compiler.is_exporting():
            # The same formula: of the two below an exporter would keep the number of samples.
            return F.group_norm(x, x.shape[1], self.weight, self.bias, self.eps)
        if x.device.type != "cpu" and len(x):  # PyTorch's own refuses a batch of nothing
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

    Added rather than concatenated: that halves the widest convolution, on CPUs a third of the step. Where ``up`` is
    another one, a 1x1x1 convolution and an interpolation take the place of the transposed convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: Triple,
        *,
        kernel: Triple = CUBE,
        up: Upsampling = "transposed",
    ) -> None:
        super().__init__()
        if up == "transposed":
            self.up: nn.Module = nn.ConvTranspose3d(in_channels, out_channels, stride, stride=stride, bias=False)
        else:
            self.up = nn.Sequential(nn.Conv3d(in_channels, out_channels, 1, bias=False), upsample(stride, up))
        self.block = ConvolutionBlock(out_channels, out_channels, kernel=kernel)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, in, *spatial) and (B, out, *spatial * stride) to the latter's shape."""
        return self.block(self.up(x) + skip)


class Encoder(nn.Module):
    """The way down; ``turned`` puts the last axis first, see `ResidualUNet`."""

    def __init__(self, stem: nn.Module, blocks: Sequence[nn.Module], *, dropout: float, turned: bool) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.ModuleList(blocks)
        self.dropout = nn.Dropout3d(dropout)
        self.turned = turned

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, in_channels, *spatial) to the features of each level, finest first."""
        x = self.stem(image.permute(0, 1, 4, 2, 3) if self.turned else image)
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        features[-1] = self.dropout(features[-1])
        return features


class Decoder(nn.Module):
    """The way up."""

    def __init__(self, merges: Sequence[nn.Module], head: nn.Module, *, turned: bool) -> None:
        super().__init__()
        self.merges = nn.ModuleList(merges)
        self.head = head
        self.turned = turned

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The features after each step up, coarsest first; the last is what the head reads."""
        *skips, x = features
        levels = []
        for merge in self.merges:
            x = merge(x, skips.pop())
            levels.append(x)
        return levels or [x]

    def read(self, level: Tensor) -> Tensor:
        """The finest level's features as maps, (B, out_channels, *spatial)."""
        return self.straight(self.head(level))

    def straight(self, maps: Tensor) -> Tensor:
        """Maps with their axes in the image's order."""
        return maps.permute(0, 1, 3, 4, 2) if self.turned else maps

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features of all levels to maps, (B, out_channels, *spatial)."""
        return self.read(self.levels(features)[-1])


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
        up: Upsampling = "transposed",
    ) -> None:
        super().__init__()
        first = channels[0]
        kernels = kernels or (CUBE,) * len(channels)
        turned = all(kernel[-1] == 1 for kernel in kernels)
        if turned:
            kernels = tuple((z, x, y) for x, y, z in kernels)
            strides = tuple((z, x, y) for x, y, z in strides)
        stem: nn.Module = nn.Identity()
        head: nn.Module = nn.Conv3d(first, out_channels, 1)
        if strided_stem:
            stem = nn.Conv3d(in_channels, first, 4, stride=2, padding=1)
            head = nn.ConvTranspose3d(first, out_channels, 4, stride=2, padding=1)
            if up != "transposed":
                head = nn.Sequential(upsample((2, 2, 2), up), nn.Conv3d(first, out_channels, 3, padding=1))
        # At full resolution one plain convolution; residual blocks from half resolution on.
        entry = (
            ResidualBlock(first, first, kernel=kernels[0])
            if strided_stem
            else ConvolutionBlock(in_channels, first, kernel=kernels[0])
        )
        steps = list(zip(pairwise(channels), strides, kernels[:-1], kernels[1:], strict=True))
        below = [ResidualBlock(upper, lower, stride, kernel=kernel) for (upper, lower), stride, _, kernel in steps]
        self.encoder = Encoder(stem, [entry, *below], dropout=dropout, turned=turned)
        merges = [
            Merge(lower, upper, stride, kernel=kernel, up=up) for (upper, lower), stride, kernel, _ in reversed(steps)
        ]
        self.decoder = Decoder(merges, head, turned=turned)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, *spatial) to (B, out_channels, *spatial)."""
        return self.decoder(self.encoder(image))


def upsample(stride: Triple, up: Upsampling) -> nn.Upsample:
    """Interpolation by whole factors."""
    factors = tuple(float(side) for side in stride)
    if up == "nearest":
        return nn.Upsample(scale_factor=factors, mode="nearest")
    return nn.Upsample(scale_factor=factors, mode="trilinear", align_corners=False)


def _padding(kernel: Triple) -> Triple:
    x, y, z = (side // 2 for side in kernel)
    return x, y, z
