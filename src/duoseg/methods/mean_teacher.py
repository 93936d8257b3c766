"""Mean Teacher: Tarvainen & Valpola, NeurIPS 2017, arXiv 1703.01780.

The teacher's weights are a moving average of the student's. On patches without annotation the student is drawn to what
the teacher says of the same patch under other noise:

    theta' <- a theta' + (1 - a) theta                      after each step, a = min(1 - 1 / (n + 1), decay)
    L_c    = mean (p(x; theta) - p(x + noise; theta'))^2    unlabelled patches, all classes
    L      = (CE + Dice) / 2 + lambda(t) L_c                lambda(t) = weight exp(-5 (1 - t)^2)

Decay, noise, weight and ramp are those of its customary form for 3-D scans (UA-MT's released code without the
uncertainty mask); the paper tunes them per data set. As in the paper, the teacher predicts; in UA-MT the student does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from duoseg.methods.base import Batch, Method, Settings
from duoseg.model.losses import class_probabilities, gaussian_ramp, region_loss
from duoseg.model.networks import NetworkFactory
from duoseg.model.teacher import Teacher


class MeanTeacherSettings(Settings):
    """The constants of Mean Teacher.

    Attributes:
        decay: of the teacher's moving average.
        weight: largest weight of the consistency.
        noise: standard deviation of the noise on the teacher's images, whose own is about 1; cut at twice that.
        ramp_levels: the weight rises in so many equal intervals; 0 makes it rise at every step.
        predict: who predicts, ``teacher`` or ``student``.
    """

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    weight: Annotated[float, Field(ge=0)] = 0.1
    noise: Annotated[float, Field(ge=0)] = 0.1
    ramp_levels: Annotated[int, Field(ge=0)] = 40
    predict: Literal["teacher", "student"] = "teacher"


class MeanTeacher(Method):
    """A student, and the average of all that it has been."""

    Settings = MeanTeacherSettings

    def __init__(self, networks: NetworkFactory, settings: MeanTeacherSettings) -> None:
        super().__init__(networks, settings)
        self.student = networks.region()
        self.teacher = Teacher(self.student)
        self.settings = settings

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The labelled loss, and the weighted consistency on unlabelled patches."""
        n = batch.labelled
        # Without an unlabelled patch they agree on labelled ones: a teacher that sees none has no statistics of them.
        first = n if n < len(batch.image) else 0
        logits = self.student(batch.image)
        noisy = batch.image[first:] + batch.noise(self.settings.noise, first=first)
        student, teacher = class_probabilities(logits[first:]), class_probabilities(self.teacher(noisy))
        weight = self.settings.weight * gaussian_ramp(progress, self.settings.ramp_levels)
        return {
            "region": region_loss(logits[:n], batch.label),
            "consistency": weight * (student - teacher).square().mean(),
        }

    def begin_with_weights(self) -> None:
        """The average begins with them."""
        self.teacher.become(self.student)

    def after_step(self, progress: float) -> None:
        """The teacher follows."""
        self.teacher.follow(self.student, self.settings.decay)

    def members(self, image: Tensor) -> Iterator[Tensor]:
        """The probabilities of teacher and student; first of the one that predicts, in the paper the teacher."""
        both = (self.teacher, self.student) if self.settings.predict == "teacher" else (self.student, self.teacher)
        return (class_probabilities(network(image)) for network in both)
