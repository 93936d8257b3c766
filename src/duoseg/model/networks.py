"""The networks of the students: a compact residual U-Net that the plan sizes, and the V-Net of the papers."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from duoseg.planning.fitting import require_fitting_patch
from duoseg.planning.plan import NetworkPlan, Triple

VNET_CONVOLUTIONS = (1, 2, 3, 3, 3)
NEGATIVE_SLOPE = 0.01


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
    """Two normalised 3x3x3 convolutions beside a shortcut (He et al., CVPR 2016), the first one strided."""

    def __init__(self, in_channels: int, out_channels: int, stride: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.first = nn.Conv3d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.first_norm = InstanceNorm(out_channels)
        self.second = nn.Conv3d(out_channels, out_channels, 3, padding=1, bias=False)
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
    """One normalised 3x3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = InstanceNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, *spatial) to (B, out, *spatial)."""
        return F.leaky_relu(self.norm(self.convolution(x)), NEGATIVE_SLOPE, inplace=True)


class Merge(nn.Module):
    """One step up: a transposed convolution, the skip connection added to it, one convolution over the sum.

    Added rather than concatenated: that halves the widest convolution, on CPUs a third of the step.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: Triple) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(in_channels, out_channels, stride, stride=stride, bias=False)
        self.block = ConvolutionBlock(out_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, in, *spatial) and (B, out, *spatial * stride) to the latter's shape."""
        return self.block(self.up(x) + skip)


class ResidualUNet(nn.Module):
    """A U-Net with a residual encoder and a light decoder.

    With a strided stem, a 4x4x4 convolution of stride 2 enters and its transpose leaves: no convolution works at full
    resolution, which on CPUs is where most of the time goes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        channels: tuple[int, ...],
        strides: tuple[Triple, ...],
        strided_stem: bool,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        first = channels[0]
        self.stem: nn.Module = nn.Identity()
        self.head: nn.Module = nn.Conv3d(first, out_channels, 1)
        if strided_stem:
            self.stem = nn.Conv3d(in_channels, first, 4, stride=2, padding=1)
            self.head = nn.ConvTranspose3d(first, out_channels, 4, stride=2, padding=1)
        # At full resolution one plain convolution; residual blocks from half resolution on.
        entry = ResidualBlock(first, first) if strided_stem else ConvolutionBlock(in_channels, first)
        self.encoder = nn.ModuleList([entry])
        self.encoder.extend(
            ResidualBlock(upper, lower, stride)
            for (upper, lower), stride in zip(pairwise(channels), strides, strict=True)
        )
        self.dropout = nn.Dropout3d(dropout)
        self.decoder = nn.ModuleList(
            Merge(lower, upper, stride)
            for (upper, lower), stride in reversed(list(zip(pairwise(channels), strides, strict=True)))
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, *spatial) to (B, out_channels, *spatial)."""
        x = self.stem(image)
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        x = self.dropout(skips.pop())
        for merge in self.decoder:
            x = merge(x, skips.pop())
        return self.head(x)


def _convolutions(count: int, in_channels: int, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(count):
        layers += [
            nn.Conv3d(in_channels if index == 0 else out_channels, out_channels, 3, padding=1),
            nn.BatchNorm3d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _resize(convolution: nn.Module, out_channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm3d(out_channels), nn.ReLU(inplace=True))


class VNet(nn.Module):
    """The V-Net of the semi-supervised literature (Yu et al., MICCAI 2019, after Milletari et al., 3DV 2016).

    3x3x3 convolutions (1, 2, 3, 3, 3 of them on the levels), batch normalisation, additive skip connections, dropout of
    whole channels after the deepest and the last level, no residual shortcut.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        channels: tuple[int, ...] = (16, 32, 64, 128, 256),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        levels = list(zip(pairwise(channels), VNET_CONVOLUTIONS, VNET_CONVOLUTIONS[1:], strict=False))
        self.encoder = nn.ModuleList([_convolutions(VNET_CONVOLUTIONS[0], in_channels, channels[0])])
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for (upper, lower), _, count in levels:
            self.down.append(_resize(nn.Conv3d(upper, lower, 2, stride=2), lower))
            self.encoder.append(_convolutions(count, lower, lower))
        for (upper, lower), count, _ in reversed(levels):
            self.up.append(_resize(nn.ConvTranspose3d(lower, upper, 2, stride=2), upper))
            self.decoder.append(_convolutions(count, upper, upper))
        self.dropout = nn.Dropout3d(dropout)
        self.head = nn.Conv3d(channels[0], out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, *spatial) to (B, out_channels, *spatial)."""
        x = self.encoder[0](image)
        skips = []
        for down, block in zip(self.down, self.encoder[1:], strict=True):
            skips.append(x)
            x = block(down(x))
        x = self.dropout(x)
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(up(x) + skips.pop())
        return self.head(self.dropout(x))
