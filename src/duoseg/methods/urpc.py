"""Uncertainty Rectified Pyramid Consistency: Luo et al., MICCAI 2021, arXiv 2012.07042.

One network that segments at S scales of its decoder, each brought to full size. On unlabelled patches every scale is
drawn to their mean, the more the closer it already is; the distance itself is kept small, lest the network buy low
weights with it:

    p_bar = 1/S sum_s p_s        D_s = sum_c p_bar log(p_bar / p_s)        w_s = exp(-D_s)
    L_c   = 1/S sum_s [ mean(w_s (p_bar - p_s)^2) / mean(w_s) + mean(D_s) ]        unlabelled patches
    L     = 1/S sum_s (CE(p_s, y) + Dice(p_s, y)) / 2 + lambda(t) L_c        lambda(t) = weight exp(-5 (1 - t)^2)

as in the code for 3-D scans (SSL4MIS): neither the mean nor the weights are detached, lambda rises to 0.1 every 150 of
60,000 steps, the finest scale predicts. Their network drops out channels of each decoder level, more of the coarse ones
(0.5, 0.3, 0.2, 0.1); here dropout, like all of the network, is the plan's. Dice is that of the harness, over foreground
classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from duoseg.methods.base import Batch, Method, Settings
from duoseg.model.losses import class_probabilities, gaussian_ramp, masked_mean, region_loss
from duoseg.model.networks import NetworkFactory


class UrpcSettings(Settings):
    """The constants of URPC; the defaults are the published ones.

    Attributes:
        scales: S; fewer where the network has fewer levels above its deepest.
        weight: largest weight of the consistency.
        ramp_levels: the weight rises in so many equal intervals; 0 makes it rise at every step.
    """

    scales: Annotated[int, Field(ge=2)] = 4
    weight: Annotated[float, Field(ge=0)] = 0.1
    ramp_levels: Annotated[int, Field(ge=0)] = 400


class Urpc(Method):
    """A network whose scales must agree where they nearly do."""

    Settings = UrpcSettings

    def __init__(self, networks: NetworkFactory, settings: UrpcSettings) -> None:
        super().__init__(networks, settings)
        self.network = networks.pyramid(settings.scales)
        self.settings = settings

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The labelled loss of all scales, and their weighted consistency on unlabelled patches."""
        n = batch.labelled
        scales = self.network(batch.image)
        region = torch.stack([region_loss(logits[:n], batch.label) for logits in scales]).mean()
        weight = self.settings.weight * gaussian_ramp(progress, self.settings.ramp_levels)
        return {"region": region, "consistency": weight * rectified_consistency([logits[n:] for logits in scales])}

    def members(self, image: Tensor) -> Iterator[Tensor]:
        """Each scale's probabilities, first those of the finest, which predict."""
        return map(class_probabilities, self.network(image))


def rectified_consistency(scales: list[Tensor]) -> Tensor:
    """L_c of the scales' logits, each (B, K + 1, *spatial); 0 where B is 0."""
    precision = torch.promote_types(scales[0].dtype, torch.float32)
    log_p = torch.stack([torch.log_softmax(logits, dim=1, dtype=precision) for logits in scales])
    # Logarithms throughout: a class that no scale believes in has a probability of 0, but a finite logarithm.
    log_mean = log_p.logsumexp(dim=0) - math.log(len(scales))
    mean = log_mean.exp()
    terms = []
    for own in log_p:
        distance = (mean * (log_mean - own)).sum(dim=1, keepdim=True)
        terms.append(masked_mean((mean - own.exp()).square(), (-distance).exp()) + masked_mean(distance))
    return torch.stack(terms).mean()
