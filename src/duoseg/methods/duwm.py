"""Double-uncertainty weighted method (DUWM): Wang, Zhang, Tian, Zhong, Shi, Zhang & He, MICCAI 2020, arXiv 2010.09298.

A mean teacher that looks T times at each patch, under noise and dropout, and is uncertain in two ways: in its
prediction (between classes) and in its features (between channels). Student and teacher are to agree in both, the less
so the more uncertain the teacher is, and the student is drawn to be certain, which in time makes the teacher so:

    p, q    = softmax over classes of the logits, over channels of the decoder's last features
    P, Q    = 1/T sum_t p(x + noise_t; theta'), 1/T sum_t q(x + noise_t; theta')         teacher
    U(r)    = - sum_c r_c log r_c / log C                                                from 0 to 1
    L(r, R) = mean exp(-U(R)) (r - R)^2 + gamma mean U(r)                                r from one look of the student
    L       = (CE + Dice) / 2 + lambda(t) (L(p, P) + L(q, Q))    lambda(t) = weight exp(-5 (1 - t)^2)

No released code was found. From the paper's abstract, and notes on its talk: teacher and student, T Bayesian looks of
the teacher, entropy between classes as segmentation uncertainty, its extension to the channels of the features, both as
weights of their own penalty on labelled and unlabelled patches, and a consistency loss that is learnable, so that
uncertainty itself falls. Inferred, as the paper's equations were not at hand: exp(-U) as the weight and + U as the
learnable part (the form of Kendall & Gal, NeurIPS 2017; the teacher has no gradient, so it is the student's), entropy
for the features too, the last level of the decoder, and the mean of the looks as target. T, decay, noise, weight and
ramp are those of UA-MT. Dropout is the network's: with a plan that has none, the noise alone tells the looks apart. The
student predicts.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from duoseg.methods.base import Batch, Method, Settings
from duoseg.model.losses import class_probabilities, entropy, gaussian_ramp, region_loss
from duoseg.model.networks import NetworkFactory
from duoseg.model.teacher import Teacher


class DuwmSettings(Settings):
    """The constants of DUWM.

    Attributes:
        decay: of the teacher's moving average.
        weight: largest weight of both consistencies.
        certainty: gamma, weight of the student's own uncertainty beside the disagreement.
        noise: standard deviation of the noise on the teacher's images, whose own is about 1; cut at twice that.
        looks: T, how often the teacher looks at a patch.
        ramp_levels: the weight rises in so many equal intervals; 0 makes it rise at every step.
    """

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    weight: Annotated[float, Field(ge=0)] = 0.1
    certainty: Annotated[float, Field(ge=0)] = 1.0
    noise: Annotated[float, Field(ge=0)] = 0.1
    looks: Annotated[int, Field(ge=1)] = 8
    ramp_levels: Annotated[int, Field(ge=0)] = 40


class Duwm(Method):
    """A student that learns from the average of itself, as far as that is sure of classes and of features."""

    Settings = DuwmSettings

    def __init__(self, networks: NetworkFactory, settings: DuwmSettings) -> None:
        super().__init__(networks, settings)
        self.student = networks.region_with_features()
        self.teacher = Teacher(self.student)
        self.settings = settings

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The labelled loss, and both weighted consistencies on all patches."""
        n = batch.labelled
        logits, features = self.student(batch.image)
        classes, channels = self.look(batch)
        weight = self.settings.weight * gaussian_ramp(progress, self.settings.ramp_levels)
        return {
            "region": region_loss(logits[:n], batch.label),
            "prediction": weight * self.consistency(class_probabilities(logits), classes),
            "features": weight * self.consistency(class_probabilities(features), channels),
        }

    @torch.no_grad()
    def look(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """P and Q: the teacher's mean distributions over classes and over channels."""
        classes = channels = torch.zeros((), device=batch.image.device)
        for _ in range(self.settings.looks):
            logits, features = self.teacher(batch.image + batch.noise(self.settings.noise))
            classes = classes + class_probabilities(logits)
            channels = channels + class_probabilities(features)
        return classes / self.settings.looks, channels / self.settings.looks

    def consistency(self, student: Tensor, teacher: Tensor) -> Tensor:
        """L(r, R), both (B, C, ...): disagreement where the teacher is sure, and the student's uncertainty."""
        agreement = (torch.exp(-uncertainty(teacher)) * (student - teacher).square()).mean()
        return agreement + self.settings.certainty * uncertainty(student).mean()

    def begin_with_weights(self) -> None:
        """The average begins with them."""
        self.teacher.become(self.student)

    def after_step(self, progress: float) -> None:
        """The teacher follows."""
        self.teacher.follow(self.student, self.settings.decay)

    def inference_modules(self) -> dict[str, nn.Module]:
        """The student alone."""
        return {"student": self.student}

    def members(self, image: Tensor) -> list[Tensor]:
        """The student's probabilities."""
        return [class_probabilities(self.student(image)[0])]


def uncertainty(distribution: Tensor) -> Tensor:
    """Entropy over axis 1 as a share of the greatest possible, (B, 1, ...)."""
    return entropy(distribution) / math.log(max(distribution.shape[1], 2))
