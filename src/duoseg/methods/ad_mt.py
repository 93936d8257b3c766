"""Alternate Diverse Mean Teacher: Zhao et al., ECCV 2024, arXiv 2311.17325.

A student and two moving averages of it that take turns. For a random number of steps, 1 to the period, only one teacher
follows the student, and the student's view of unlabelled patches u is that teacher's own: changed intensities in the
first one's turn, boxes of another patch pasted in (CutMix) in the second's. So they average over different steps,
patches and views. Both label every u, and neither their agreement nor their conflict is left out:

    q  = (w_1 q_1 + w_2 q_2) / (w_1 + w_2)        w_i = exp(-H(q_i)), entropy in bits
    y~ = argmax q;  where argmax q_1 != argmax q_2 and the student, of u itself, is surer of another class: that one
    L  = (CE + Dice) / 2 + lambda(t) CE(p(view(u)), view(y~)), mean of voxels where the one asked is sure enough

as in the authors' code for 3-D scans: surer is who gives the larger probability, threshold 0.8, lambda up to 2 in the
first 6,000 of 15,000 steps, a period of 19 steps (half an epoch of the left atrium), decay 0.99, dropout only in the
teacher whose turn it is, the student predicts. Here the student's opinion of u, too, is carried to the view (the code
forgets it under CutMix) and has no backward pass; each item draws a box of its own, from the patch before; a single one
gets it from an annotated patch; where the plan allows mirrors and quarter turns, the first view makes them; the
averages begin at the first step, not after 80 of plain copies, and are of weights alone, not of running statistics too;
Dice is that of the harness, over foreground classes.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from duoseg.methods.base import Batch, Method, Settings
from duoseg.model.losses import IGNORE, class_probabilities, cross_entropy, entropy, gaussian_ramp, region_loss
from duoseg.model.networks import NetworkFactory
from duoseg.model.teacher import Teacher

TURNS = 4096  # drawn ahead; even, so that turns still alternate where they begin anew


class AdMtSettings(Settings):
    """The constants of AD-MT; the defaults are those of the published code for the left atrium.

    Attributes:
        decay: of the teachers' moving averages.
        period: steps of a teacher's longest turn.
        threshold: the least probability at which a pseudo-label counts.
        weight: largest weight of the unlabelled loss.
        ramp_share: the weight is full after this share of the training.
        ramp_levels: it rises in so many equal intervals until then; 0 makes it rise at every step.
    """

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    period: Annotated[int, Field(ge=1)] = 19
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.8
    weight: Annotated[float, Field(ge=0)] = 2.0
    ramp_share: Annotated[float, Field(gt=0, le=1)] = 0.4
    ramp_levels: Annotated[int, Field(ge=0)] = 40


class AdMt(Method):
    """A student of two teachers that take turns in following it."""

    Settings = AdMtSettings
    step: Tensor
    switches: Tensor

    def __init__(self, networks: NetworkFactory, settings: AdMtSettings) -> None:
        super().__init__(networks, settings)
        self.student = networks.region()
        self.teachers = nn.ModuleList([Teacher(self.student), Teacher(self.student)])
        # All turns are drawn here, like the weights: an interruption cannot change them.
        self.register_buffer("switches", torch.randint(1, settings.period + 1, (TURNS,)).cumsum(0))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.settings = settings

    def turn(self) -> int:
        """Which teacher follows in this step, 0 or 1."""
        return int(torch.searchsorted(self.switches, self.step % self.switches[-1], right=True)) % 2

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The labelled loss, and the weighted loss of a view of the unlabelled patches against their pseudo-labels."""
        n, turn = batch.labelled, self.turn()
        for number, teacher in enumerate(self.teachers):
            teacher.train(self.training and number == turn)
        with torch.no_grad():
            networks = (*self.teachers, self.student)
            label = self.combat(*(class_probabilities(network(batch.image[n:])) for network in networks))
        view = batch.pasted_view() if turn else batch.strong_view(first=n)
        logits = self.student(torch.cat([batch.image[:n], view.image]))
        weight = self.settings.weight * gaussian_ramp(progress / self.settings.ramp_share, self.settings.ramp_levels)
        return {
            "region": region_loss(logits[:n], batch.label),
            "unlabelled": weight * cross_entropy(logits[n:], view.apply(label)),
        }

    def combat(self, first: Tensor, second: Tensor, student: Tensor) -> Tensor:
        """y~ of the probabilities (B, K + 1, *spatial) of both teachers and the student: classes, -1 where unsure."""
        share = torch.sigmoid((entropy(second) - entropy(first)) / math.log(2))  # w_1 / (w_1 + w_2)
        confidence, label = (share * first + (1 - share) * second).max(dim=1)
        own_confidence, own_label = student.max(dim=1)
        conflict = first.argmax(dim=1) != second.argmax(dim=1)
        own = conflict & (own_label != label) & (own_confidence > confidence)
        sure = torch.where(own, own_confidence, confidence) >= self.settings.threshold
        return torch.where(own, own_label, label).masked_fill(~sure, IGNORE)

    def begin_with_weights(self) -> None:
        """Both averages begin with them."""
        for teacher in self.teachers:
            assert isinstance(teacher, Teacher)
            teacher.become(self.student)

    def after_step(self, progress: float) -> None:
        """The teacher whose turn it is follows."""
        teacher = self.teachers[self.turn()]
        assert isinstance(teacher, Teacher)
        teacher.follow(self.student, self.settings.decay)
        self.step += 1

    def inference_modules(self) -> dict[str, nn.Module]:
        """The student alone."""
        return {"student": self.student}

    def members(self, image: Tensor) -> list[Tensor]:
        """The student's probabilities."""
        return [class_probabilities(self.student(image))]
