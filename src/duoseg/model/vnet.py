"""The V-Net of the semi-supervised papers."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

VNET_CONVOLUTIONS = (1, 2, 3, 3, 3)


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
