"""Shape-aware semi-supervised segmentation (SASSNet): Li, Zhang & He, MICCAI 2020, arXiv 2007.10732.

One network with two heads: class probabilities p, and per foreground class a signed distance map phi in (-1, 1),
negative inside. A discriminator D sees a patch with its distance maps and tells whether the patch has a label; the
network makes maps of unlabelled patches that pass for those of labelled ones, so that shapes become alike:

    L_s = Dice(p, y) + alpha mean (phi - phi_true)^2               labelled patches, maps normalised to [-1, 1]
    L_a = - mean log D(phi, x)                                     unlabelled patches, D held fixed
    L_D = - (sum_labelled log D(phi, x) + sum_unlabelled log(1 - D(phi, x))) / B    phi held fixed, B patches in all
    L   = L_s + lambda(t) L_a + L_D                                alpha = 0.3, lambda(t) = weight exp(-5 (1 - t)^2)

As in the released code: no cross-entropy (computed there, never added), lambda rising every 150 of 6000 steps to 0.01,
dropout in D only where D itself learns, and the region head alone predicts. There D has two outputs and a softmax; here
one and a sigmoid, which is the same. There D learns after the network has moved, from maps made anew without dropout;
here in the same step, from the same maps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from duoseg.methods.base import Batch, Method, Settings
from duoseg.model.adversaries import ShapeDiscriminator, judge
from duoseg.model.distance import bounded, normalised_distance, probabilities_from_distance
from duoseg.model.losses import IGNORE, class_probabilities, dice_loss, gaussian_ramp, masked_mean
from duoseg.model.networks import NetworkFactory


class SassnetSettings(Settings):
    """The constants of SASSNet; the defaults are the published ones.

    Attributes:
        distance: alpha, weight of the regression of the true map.
        weight: largest weight of the adversarial term.
        ramp_levels: the weight rises in so many equal intervals; 0 makes it rise at every step.
        adversary_width: first channels of D over the network's (published: 64 beside 16).
        adversary_rate: learning rate of D, by Adam, constant.
        k: slope of the transform from distance to mask; for the second member only, not in training.
    """

    distance: Annotated[float, Field(ge=0)] = 0.3
    weight: Annotated[float, Field(ge=0)] = 0.01
    ramp_levels: Annotated[int, Field(ge=0)] = 40
    adversary_width: Annotated[int, Field(ge=1)] = 4
    adversary_rate: Annotated[float, Field(gt=0)] = 1e-4
    k: Annotated[float, Field(gt=0)] = 1500.0


class Sassnet(Method):
    """A network of two tasks, and an adversary that looks at shapes."""

    Settings = SassnetSettings
    memory_factor = 1.4
    labelled_terms = ("region", "distance")
    apart_terms = ("adversary",)
    revision = 2  # in 1 the adversary learned by the plan's optimiser

    def __init__(self, networks: NetworkFactory, settings: SassnetSettings) -> None:
        super().__init__(networks, settings)
        self.student = networks.region_and_distance()
        self.adversary = ShapeDiscriminator(
            networks.classes,
            networks.in_channels,
            width=settings.adversary_width * networks.plan.channels[0],
            patch=networks.patch,
        )
        self.settings = settings

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Dice and map regression on labelled patches, the adversarial term on the others, and what D learns."""
        n = batch.labelled
        p, phi = self.opinions(batch.image)
        true = normalised_distance(batch.label, phi.shape[1], batch.spacing)
        known = (batch.label != IGNORE).unsqueeze(1).to(phi.dtype)

        weight = self.settings.weight * gaussian_ramp(progress, self.settings.ramp_levels)
        passed_for_labelled = judge(self.adversary, phi[n:], batch.image[n:], dropout=False)
        told_apart = self.adversary(phi.detach(), batch.image)
        has_label = (torch.arange(len(phi), device=phi.device) < n).to(told_apart.dtype)
        return {
            "region": dice_loss(p[:n, 1:], batch.label),
            "distance": self.settings.distance * masked_mean((phi[:n] - true).square(), known),
            "adversarial": weight * masked_mean(-F.logsigmoid(passed_for_labelled)),
            "adversary": F.binary_cross_entropy_with_logits(told_apart, has_label),
        }

    def opinions(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (B, K + 1, *spatial) and distance maps (B, K, *spatial)."""
        logits, maps = self.student(image)
        return class_probabilities(logits), bounded(maps)

    def members(self, image: Tensor) -> Iterator[Tensor]:
        """The region head's probabilities, which predict, then the distance head's map as probabilities."""
        p, phi = self.opinions(image)
        yield p
        yield probabilities_from_distance(phi, self.settings.k)

    def parameter_groups(self) -> list[dict]:
        """The adversary learns at a rate of its own."""
        adversary = {"params": list(self.adversary.parameters()), "adam_rate": self.settings.adversary_rate}
        return [{"params": list(self.student.parameters())}, adversary]

    def inference_modules(self) -> dict[str, nn.Module]:
        """The network without its adversary."""
        return {"student": self.student}
