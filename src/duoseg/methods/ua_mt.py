"""Uncertainty-aware Mean Teacher: Yu, Wang, Li, Fu & Heng, MICCAI 2019, arXiv 1907.07034.

A mean teacher whose student learns from the teacher only where the teacher is sure. The teacher looks at each
unlabelled patch T more times, under noise and dropout; the entropy of its mean opinion is its uncertainty:

    p_bar = 1/T sum_t p(x + noise_t; theta')      u = - sum_c p_bar log p_bar
    L_c   = sum 1[u < h(t)] (p(x; theta) - p(x + noise; theta'))^2 / (C sum 1[u < h(t)])
    h(t)  = (3/4 + 1/4 exp(-5 (1 - t)^2)) ln C    ln C is the greatest entropy of C classes
    L     = (CE + Dice) / 2 + lambda(t) L_c       lambda(t) = weight exp(-5 (1 - t)^2)

as in the released code, where the consistency is on unlabelled patches, h rises at every step and lambda every 150 of
6000. The student predicts. Dropout is the network's: with a plan that has none, the noise alone tells the looks apart.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from duoseg.methods.base import Batch, Method, Settings
from duoseg.model.losses import class_probabilities, entropy, gaussian_ramp, masked_mean, region_loss
from duoseg.model.networks import NetworkFactory
from duoseg.model.teacher import Teacher


class UaMtSettings(Settings):
    """The constants of UA-MT; the defaults are the published ones.

    Attributes:
        decay: of the teacher's moving average.
        weight: largest weight of the consistency.
        noise: standard deviation of the noise on the teacher's images, whose own is about 1; cut at twice that.
        looks: T, how often the teacher looks at a patch to tell its uncertainty.
        ramp_levels: the weight rises in so many equal intervals; 0 makes it rise at every step.
    """

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    weight: Annotated[float, Field(ge=0)] = 0.1
    noise: Annotated[float, Field(ge=0)] = 0.1
    looks: Annotated[int, Field(ge=1)] = 8
    ramp_levels: Annotated[int, Field(ge=0)] = 40


class UaMt(Method):
    """A student that learns from its average where that is sure."""

    Settings = UaMtSettings

    def __init__(self, networks: NetworkFactory, settings: UaMtSettings) -> None:
        super().__init__(networks, settings)
        self.student = networks.region()
        self.teacher = Teacher(self.student)
        self.settings = settings

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The labelled loss, and the weighted consistency where the teacher is sure."""
        n = batch.labelled
        logits = self.student(batch.image)
        student, teacher = class_probabilities(logits[n:]), self.look(batch)
        mean = torch.stack([self.look(batch) for _ in range(self.settings.looks)]).mean(dim=0)
        threshold = (0.75 + 0.25 * gaussian_ramp(progress)) * math.log(mean.shape[1])
        sure = (entropy(mean) < threshold).to(mean.dtype)
        consistency = masked_mean((student - teacher).square(), sure)
        weight = self.settings.weight * gaussian_ramp(progress, self.settings.ramp_levels)
        return {"region": region_loss(logits[:n], batch.label), "consistency": weight * consistency}

    def look(self, batch: Batch) -> Tensor:
        """The teacher's opinion of the unlabelled patches under fresh noise."""
        n = batch.labelled
        noisy = batch.image[n:] + batch.noise(self.settings.noise, first=n)
        return class_probabilities(self.teacher(noisy))

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
        return [class_probabilities(self.student(image))]
