"""Mutual Consistency Network: Wu, Xu, Ge, Cai & Zhang, MICCAI 2021, arXiv 2103.02911.

One encoder and two decoders, one of which goes up by transposed convolutions, the other by trilinear interpolation.
Where they differ the network is unsure. Each one's probabilities are sharpened into a soft label for the other:

    s_i  = p_i^(1/T) / sum_c p_i^(1/T)                    T = 0.1; the paper's formula, for any number of classes
    L_c  = mean (p_A - s_B)^2 + mean (p_B - s_A)^2        all patches, all classes
    L    = beta (Dice(p_A, y) + Dice(p_B, y)) + lambda(t) L_c        lambda(t) = weight exp(-5 (1 - t)^2)

No cross-entropy. beta = 1/2 and a largest lambda of 1 are those of the authors' code for 3-D scans; the paper writes no
beta. As in that code the labels are not detached: gradients also flow through s. The weight rises every 150 of 6,000
steps, the paper's training, and its prediction is the mean of both decoders (of probabilities here, in the code of
logits, which also reports the first alone). Its
Dice divides by sums of probabilities, the one here by sums of their squares, as for the other methods, and its
interpolation aligns the corners of the voxel grids, the one here their outer edges.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from duoseg.methods.base import Batch, Method, Settings
from duoseg.model.losses import class_probabilities, dice_loss, gaussian_ramp
from duoseg.model.networks import NetworkFactory
from duoseg.model.precision import precise


class McNetSettings(Settings):
    """The constants of MC-Net; the defaults are the published ones.

    Attributes:
        temperature: T; the smaller, the harder the labels.
        dice: beta, weight of the labelled loss.
        weight: largest weight of the consistency.
        ramp_levels: the weight rises in so many equal intervals; 0 makes it rise at every step.
        predict: ``mean`` averages both decoders, ``first`` reads the one of transposed convolutions.
    """

    temperature: Annotated[float, Field(gt=0)] = 0.1
    dice: Annotated[float, Field(ge=0)] = 0.5
    weight: Annotated[float, Field(ge=0)] = 1.0
    ramp_levels: Annotated[int, Field(ge=0)] = 40
    predict: Literal["mean", "first"] = "mean"


class McNet(Method):
    """One encoder, two decoders that label each other's patches."""

    Settings = McNetSettings

    def __init__(self, networks: NetworkFactory, settings: McNetSettings) -> None:
        super().__init__(networks, settings)
        self.network = networks.several_decoders(("transposed", "trilinear"))
        self.settings = settings
        self.averages = settings.predict == "mean"

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Dice of both decoders on labelled patches, their weighted consistency on all."""
        n = batch.labelled
        maps_a, maps_b = self.network(batch.image)
        p_a, p_b = class_probabilities(maps_a), class_probabilities(maps_b)
        dice = dice_loss(p_a[:n, 1:], batch.label) + dice_loss(p_b[:n, 1:], batch.label)
        consistency = F.mse_loss(p_a, self.soft_label(maps_b)) + F.mse_loss(p_b, self.soft_label(maps_a))
        weight = self.settings.weight * gaussian_ramp(progress, self.settings.ramp_levels)
        return {"region": self.settings.dice * dice, "consistency": weight * consistency}

    def soft_label(self, logits: Tensor) -> Tensor:
        """s: a softmax to the power of 1 / T is the softmax of the logits over T."""
        return class_probabilities(precise(logits) / self.settings.temperature)

    def members(self, image: Tensor) -> list[Tensor]:
        """Each decoder's probabilities."""
        return [class_probabilities(maps) for maps in self.network(image)]
