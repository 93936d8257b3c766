"""The V-Net of the semi-supervised papers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from duoseg.model.unet import Upsampling, upsample
from duoseg.planning.plan import Triple

VNET_CONVOLUTIONS = (1, 2, 3, 3, 3)
HALF: Triple = (2, 2, 2)


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


def _up(lower: int, upper: int, up: Upsampling) -> nn.Sequential:
    if up == "transposed":
        return _resize(nn.ConvTranspose3d(lower, upper, 2, stride=2), upper)
    return nn.Sequential(upsample(HALF, up), *_resize(nn.Conv3d(lower, upper, 3, padding=1), upper))


class VNetEncoder(nn.Module):
    """The way down."""

    def __init__(self, in_channels: int, channels: tuple[int, ...], *, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([_convolutions(VNET_CONVOLUTIONS[0], in_channels, channels[0])])
        self.down = nn.ModuleList()
        for (upper, lower), count in zip(pairwise(channels), VNET_CONVOLUTIONS[1:], strict=False):
            self.down.append(_resize(nn.Conv3d(upper, lower, 2, stride=2), lower))
            self.blocks.append(_convolutions(count, lower, lower))
        self.dropout = nn.Dropout3d(dropout)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, in_channels, *spatial) to the features of each level, finest first."""
        x = self.blocks[0](image)
        features = [x]
        for down, block in zip(self.down, self.blocks[1:], strict=True):
            x = block(down(x))
            features.append(x)
        features[-1] = self.dropout(x)
        return features


class VNetDecoder(nn.Module):
    """The way up."""

    def __init__(
        self, out_channels: int, channels: tuple[int, ...], *, dropout: float, up: Upsampling = "transposed"
    ) -> None:
        super().__init__()
        self.up = nn.ModuleList()
        self.blocks = nn.ModuleList()
        for (upper, lower), count in reversed(list(zip(pairwise(channels), VNET_CONVOLUTIONS, strict=False))):
            self.up.append(_up(lower, upper, up))
            self.blocks.append(_convolutions(count, upper, upper))
        self.dropout = nn.Dropout3d(dropout)
        self.head = nn.Conv3d(channels[0], out_channels, 1)

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The features after each step up, coarsest first; the last is what the head reads."""
        *skips, x = features
        levels = []
        for up, block in zip(self.up, self.blocks, strict=True):
            x = block(up(x) + skips.pop())
            levels.append(x)
        return levels

    def read(self, level: Tensor) -> Tensor:
        """The finest level's features as maps, (B, out_channels, *spatial)."""
        return self.head(self.dropout(level))

    def straight(self, maps: Tensor) -> Tensor:
        """Maps with their axes in the image's order: they are."""
        return maps

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Features of all levels to maps, (B, out_channels, *spatial)."""
        return self.read(self.levels(features)[-1])


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
        up: Upsampling = "transposed",
    ) -> None:
        super().__init__()
        self.encoder = VNetEncoder(in_channels, channels, dropout=dropout)
        self.decoder = VNetDecoder(out_channels, channels, dropout=dropout, up=up)

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, *spatial) to (B, out_channels, *spatial)."""
        return self.decoder(self.encoder(image))
