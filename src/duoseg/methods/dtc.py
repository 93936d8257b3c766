"""Dual-task Consistency: Luo, Chen, Song & Wang, AAAI 2021, arXiv 2009.04448.

One network with two heads: class probabilities p, and per foreground class a signed distance map phi in (-1, 1),
negative inside. The map is read as a mask, and on all patches the two must agree:

    T(phi)  = 1 / (1 + exp(k phi))                                 k = 1500
    L_dist  = mean (phi - phi_true)^2                              labelled patches, maps normalised to [-1, 1]
    L_c     = mean (T(phi) - p)^2                                  all patches, foreground classes
    L       = Dice(p) + beta L_dist + lambda(t) L_c                beta = 0.3, lambda(t) = weight exp(-5 (1 - t)^2)

as in the released code: no cross-entropy, no side of L_c detached, the weight rising every 150 of 6000 steps to 1, the
region head predicting. DTML differs in having two networks, and no true map to regress.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field
from torch import Tensor

from duoseg.methods.base import Batch, Method, Settings
from duoseg.model.distance import bounded, mask_from_distance, normalised_distance, probabilities_from_distance
from duoseg.model.losses import IGNORE, class_probabilities, dice_loss, gaussian_ramp, masked_mean
from duoseg.model.networks import NetworkFactory


class DtcSettings(Settings):
    """The constants of DTC; the defaults are the published ones.

    Attributes:
        k: slope of T.
        distance: beta, weight of the regression of the true map.
        weight: largest weight of the consistency of both tasks.
        ramp_levels: the weight rises in so many equal intervals; 0 makes it rise at every step.
    """

    k: Annotated[float, Field(gt=0)] = 1500.0
    distance: Annotated[float, Field(ge=0)] = 0.3
    weight: Annotated[float, Field(ge=0)] = 1.0
    ramp_levels: Annotated[int, Field(ge=0)] = 40


class Dtc(Method):
    """One network, two tasks that must agree."""

    Settings = DtcSettings
    labelled_terms = ("region", "distance")

    def __init__(self, networks: NetworkFactory, settings: DtcSettings) -> None:
        super().__init__(networks, settings)
        self.network = networks.region_and_distance()
        self.settings = settings

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Dice and map regression on labelled patches, the weighted agreement of both heads on all."""
        n = batch.labelled
        p, phi = self.opinions(batch.image)
        foreground = p[:, 1:]
        true = normalised_distance(batch.label, phi.shape[1], batch.spacing)
        known = (batch.label != IGNORE).unsqueeze(1).to(phi.dtype)
        weight = self.settings.weight * gaussian_ramp(progress, self.settings.ramp_levels)
        return {
            "region": dice_loss(foreground[:n], batch.label),
            "distance": self.settings.distance * masked_mean((phi[:n] - true).square(), known),
            "consistency": weight * (mask_from_distance(phi, self.settings.k) - foreground).square().mean(),
        }

    def opinions(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (B, K + 1, *spatial) and distance maps (B, K, *spatial)."""
        logits, maps = self.network(image)
        return class_probabilities(logits), bounded(maps)

    def members(self, image: Tensor) -> Iterator[Tensor]:
        """The region head's probabilities, which predict, then the distance head's map as probabilities."""
        p, phi = self.opinions(image)
        yield p
        yield probabilities_from_distance(phi, self.settings.k)
