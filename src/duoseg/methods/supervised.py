"""The region student alone, on labelled patches: the baseline that every other method has to beat."""

from __future__ import annotations

from torch import Tensor

from duoseg.methods.base import Batch, Method, Settings, Stage
from duoseg.model.losses import class_probabilities, region_loss
from duoseg.model.networks import NetworkFactory


class Supervised(Method):
    """Cross-entropy and Dice, half and half: DTML's labelled loss of the region student, on a batch full of labels."""

    stages = (Stage("train", batch="labelled"),)

    def __init__(self, networks: NetworkFactory, settings: Settings) -> None:
        super().__init__(networks, settings)
        self.region = networks.region()

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """L_S = (CE + Dice) / 2 on every patch."""
        return {"region": region_loss(self.region(batch.image), batch.label)}

    def members(self, image: Tensor) -> list[Tensor]:
        """The student's probabilities."""
        return [class_probabilities(self.region(image))]
