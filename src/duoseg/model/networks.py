"""The students' networks, built as a plan says: one map or several, from one decoder or several."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from duoseg.model.unet import ResidualUNet, Upsampling
from duoseg.model.vnet import VNet
from duoseg.planning.fitting import require_fitting_patch
from duoseg.planning.plan import NetworkPlan, Triple


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
        self.patch = patch

    def region(self) -> ResidualUNet | VNet:
        """A network from an image (B, in_channels, *spatial) to logits (B, K + 1, *spatial)."""
        return self._network(self.classes + 1)

    def distance(self) -> ResidualUNet | VNet:
        """A network from an image to one unbounded map per foreground class, (B, K, *spatial)."""
        return self._network(self.classes)

    def region_with_features(self) -> nn.Module:
        """A network from an image to the pair of logits and the features (B, channels, ...) that they are read from."""
        return WithFeatures(self._network(self.classes + 1))

    def region_and_distance(self) -> nn.Module:
        """One network with both heads: from an image to the pair of what `region` and `distance` give."""
        return TwoHeads(self._network(2 * self.classes + 1), self.classes + 1)

    def several_decoders(self, ways_up: Sequence[Upsampling]) -> nn.Module:
        """One encoder and a decoder for each way of upsampling: from an image to a list of logits."""
        whole = [self._network(self.classes + 1, up=up) for up in ways_up]
        return SeveralDecoders(whole[0].encoder, [network.decoder for network in whole])

    def pyramid(self, scales: int) -> nn.Module:
        """A network that segments at several scales: from an image to a list of logits at full size, finest first."""
        network = self._network(self.classes + 1)
        coarser = self.plan.channels[1 : min(scales, len(self.plan.strides))]
        return Pyramid(network, [nn.Conv3d(channels, self.classes + 1, 1) for channels in coarser])

    def _network(self, out_channels: int, up: Upsampling = "transposed") -> ResidualUNet | VNet:
        plan = self.plan
        if plan.architecture == "vnet":
            return VNet(self.in_channels, out_channels, channels=plan.channels, dropout=plan.dropout, up=up)
        return ResidualUNet(
            self.in_channels,
            out_channels,
            channels=plan.channels,
            strides=plan.strides,
            kernels=plan.kernels or None,
            strided_stem=plan.stem == "strided",
            dropout=plan.dropout,
            up=up,
        )


class TwoHeads(nn.Module):
    """A network whose last layer gives two kinds of maps; as two last layers side by side would."""

    def __init__(self, network: nn.Module, first: int) -> None:
        super().__init__()
        self.network = network
        self.first = first

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, in_channels, *spatial) to (B, first, *spatial) and (B, rest, *spatial)."""
        maps = self.network(image)
        return maps[:, : self.first], maps[:, self.first :]


class WithFeatures(nn.Module):
    """A network that also shows what its last layer reads."""

    def __init__(self, network: ResidualUNet | VNet) -> None:
        super().__init__()
        self.encoder = network.encoder
        self.decoder = network.decoder

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, in_channels, *spatial) to maps (B, out_channels, *spatial) and features (B, channels, ...)."""
        finest = self.decoder.levels(self.encoder(image))[-1]
        return self.decoder.read(finest), finest


class SeveralDecoders(nn.Module):
    """One encoder whose features several decoders read."""

    def __init__(self, encoder: nn.Module, decoders: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoders = nn.ModuleList(decoders)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, in_channels, *spatial) to each decoder's maps, (B, out_channels, *spatial)."""
        features = self.encoder(image)
        return [decoder(features) for decoder in self.decoders]


class Pyramid(nn.Module):
    """A network that also reads coarser levels of its decoder, by a 1x1x1 convolution each, brought to full size."""

    def __init__(self, network: ResidualUNet | VNet, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoder = network.encoder
        self.decoder = network.decoder
        self.heads = nn.ModuleList(heads)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, in_channels, *spatial) to maps of that size from each level, finest first."""
        *coarser, finest = self.decoder.levels(self.encoder(image))
        maps = [self.decoder.read(finest)]
        for head, level in zip(self.heads, reversed(coarser), strict=False):
            straight = self.decoder.straight(head(level))
            maps.append(F.interpolate(straight, size=image.shape[2:], mode="trilinear", align_corners=False))
        return maps


ENCODER_DECODERS = (ResidualUNet, VNet, WithFeatures, SeveralDecoders, Pyramid)
"""The networks that work on whole patches; `TwoHeads` holds one of them."""
