"""Pseudo-labels by hand: train, label the rest, train again; after Lee, ICML 2013 workshop on representation learning.

What users of any supervised tool can do themselves. A first network learns from the labelled scans. It is then frozen
as teacher f', and a fresh network f with weights of its own learns from both, its teacher's labels as good as true:

    y~ = argmax f'(u)                                         unlabelled patches u
    L  = (CE + Dice) / 2 of f on (x, y) and (u, y~) together

Half of the steps go to each, so that both together cost what one method does. A voxel whose likeliest class has a
probability below the threshold counts as not annotated; by hand nothing is left out, hence 0. Lee has the network in
training relabel at every step, and lets the weight of y~ rise; here, as by hand, labels are final and count fully.

The teacher does not write scans of labels first: frozen, it would write the same each time, so it labels each patch as
the student is about to see it, moved and changed alike. Two things differ: close to a patch's border it sees less than
windows over the whole scan do, and it reads the changed intensities, such as it was trained on. Its dropout is off.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from duoseg.methods.base import Batch, Method, Settings, Stage
from duoseg.model.losses import IGNORE, class_probabilities, region_loss
from duoseg.model.networks import NetworkFactory
from duoseg.model.teacher import Teacher

STUDENT = "student"


class PseudoLabelSettings(Settings):
    """What one may change.

    Attributes:
        threshold: the least probability at which a pseudo-label counts.
    """

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0


class PseudoLabel(Method):
    """A network trained on what an earlier one labelled."""

    Settings = PseudoLabelSettings
    stages = (Stage("teacher", share=0.5, batch="labelled"), Stage(STUDENT, share=0.5))

    def __init__(self, networks: NetworkFactory, settings: PseudoLabelSettings) -> None:
        super().__init__(networks, settings)
        self.network = networks.region()
        self.teacher = Teacher(self.network)
        # The second network's first weights, frozen until its turn: whichever is in training is `network`.
        self.fresh = Teacher(networks.region())
        self.settings = settings

    def begin_with_weights(self) -> None:
        """Both networks begin with them."""
        self.fresh.become(self.network)

    def start_stage(self, stage: Stage) -> None:
        """The trained network becomes the teacher, the fresh one takes its place."""
        if stage.name == STUDENT:
            self.teacher.become(self.network)
            self.network.load_state_dict(self.fresh.network.state_dict())

    def train(self, mode: bool = True) -> PseudoLabel:
        """Training or not, the teacher labels as it would predict."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The labelled loss on all patches; the first stage has only annotated ones."""
        label = torch.cat([batch.label, self.pseudo_label(batch.image[batch.labelled :])])
        own = batch.labelled == len(batch.image)
        return {"region" if own else "mixed": region_loss(self.network(batch.image), label)}

    def pseudo_label(self, image: Tensor) -> Tensor:
        """The teacher's classes, (B, *spatial), -1 where it is not sure enough."""
        confidence, label = class_probabilities(self.teacher(image)).max(dim=1)
        return label.masked_fill(confidence < self.settings.threshold, IGNORE)

    def inference_modules(self) -> dict[str, nn.Module]:
        """The network in training, at the end the student."""
        return {"network": self.network}

    def members(self, image: Tensor) -> list[Tensor]:
        """Its probabilities."""
        return [class_probabilities(self.network(image))]
