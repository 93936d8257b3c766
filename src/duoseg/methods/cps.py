"""Cross Pseudo Supervision: Chen, Yuan, Zeng & Wang, CVPR 2021, arXiv 2106.01226.

Two networks that start from different weights see the same patches. Each learns the hard label that the other gives, as
if it were the truth; no gradient flows into a label:

    y_1 = argmax p_1      y_2 = argmax p_2
    L_cps = CE(p_1, y_2) + CE(p_2, y_1)            all patches, with annotation and without
    L     = L_s(p_1, y) + L_s(p_2, y) + lambda(t) L_cps        lambda(t) = weight exp(-5 (1 - t)^2)

As in the authors' code, each term of L_cps is one mean over all patches of the batch, the weight is 1.5 (their PASCAL
VOC; 6 for Cityscapes), and at test the first network reads alone. Their L_s is cross-entropy; here (CE + Dice) / 2, as
for the other methods. Their networks come trained on ImageNet and have the full weight from the first step on
(``rises = false``). From random weights that teaches the first mistakes for good: a class may never come back. So
here the weight rises, as in the 3-D port in SSL4MIS. That port takes L_cps on unlabelled patches only, and 0.1
of it over 30,000 steps: ``weight = 0.1``, ``ramp_levels = 200``, ``cross = "unlabelled"``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from duoseg.methods.base import Batch, Method, Settings
from duoseg.model.losses import class_probabilities, cross_entropy, gaussian_ramp, region_loss
from duoseg.model.networks import NetworkFactory


class CpsSettings(Settings):
    """The constants of CPS; the defaults are the paper's, but for the rise.

    Attributes:
        weight: the largest weight of what the networks teach each other.
        rises: whether the weight rises, or is full from the first step on.
        ramp_levels: it rises in so many equal intervals of the training; 0 makes it rise at every step.
        cross: on which patches they teach each other: ``all`` or the ``unlabelled``.
        predict: ``first`` reads the first network alone, as published; ``mean`` averages both.
    """

    weight: Annotated[float, Field(ge=0)] = 1.5
    rises: bool = True
    ramp_levels: Annotated[int, Field(ge=0)] = 40
    cross: Literal["all", "unlabelled"] = "all"
    predict: Literal["first", "mean"] = "first"


class Cps(Method):
    """Two networks, each of which believes the other."""

    Settings = CpsSettings
    labelled_terms = ("first", "second")
    averages = True

    def __init__(self, networks: NetworkFactory, settings: CpsSettings) -> None:
        super().__init__(networks, settings)
        self.first = networks.region()
        self.second = networks.region()
        self.settings = settings

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The labelled loss of each network, and the weighted loss of each against the other's labels."""
        n = batch.labelled
        first, second = self.first(batch.image), self.second(batch.image)
        taught = slice(n if self.settings.cross == "unlabelled" else 0, None)
        cross = cross_entropy(first[taught], hard_label(second[taught]))
        cross = cross + cross_entropy(second[taught], hard_label(first[taught]))
        return {
            "first": region_loss(first[:n], batch.label),
            "second": region_loss(second[:n], batch.label),
            "cross": self.weight(progress) * cross,
        }

    def weight(self, progress: float) -> float:
        """lambda(t), rising or full."""
        ramp = gaussian_ramp(progress, self.settings.ramp_levels) if self.settings.rises else 1.0
        return self.settings.weight * ramp

    def inference_modules(self) -> dict[str, nn.Module]:
        """The networks that predict."""
        return {"first": self.first} if self.settings.predict == "first" else dict(self.named_children())

    def members(self, image: Tensor) -> list[Tensor]:
        """The probabilities of each network that predicts: of the first, or of both."""
        return [class_probabilities(network(image)) for network in self.inference_modules().values()]


def hard_label(logits: Tensor) -> Tensor:
    """The likeliest class, (B, *spatial); no gradient passes."""
    return logits.detach().argmax(dim=1)
