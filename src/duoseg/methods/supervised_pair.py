"""Two supervised students whose opinions are averaged: what two networks give without learning from each other.

The honest rival of methods with two students: each of these is `supervised` on the same batches, from weights of its
own, and costs what such a method's student costs (Lakshminarayanan et al., NeurIPS 2017, deep ensembles, of two).
"""

from __future__ import annotations

from torch import Tensor

from duoseg.methods.base import Batch, Method, Settings, Stage
from duoseg.model.losses import class_probabilities, region_loss
from duoseg.model.networks import NetworkFactory


class SupervisedPair(Method):
    """Two region students on batches full of labels."""

    labelled_terms = ("first", "second")
    stages = (Stage("train", batch="labelled"),)
    averages = True

    def __init__(self, networks: NetworkFactory, settings: Settings) -> None:
        super().__init__(networks, settings)
        self.first = networks.region()
        self.second = networks.region()

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """(CE + Dice) / 2 of each student on every patch."""
        return {
            "first": region_loss(self.first(batch.image), batch.label),
            "second": region_loss(self.second(batch.image), batch.label),
        }

    def members(self, image: Tensor) -> list[Tensor]:
        """Each student's probabilities; their mean predicts."""
        return [class_probabilities(self.first(image)), class_probabilities(self.second(image))]
