"""Transformation-consistent self-ensembling (TCSE, TCSM): Li, Yu, Chen, Fu, Xing & Heng, TNNLS 2020, arXiv 1903.00348.

Convolutions do not turn with the image, segmentations must. The student sees each patch mirrored and turned by pi, the
teacher, a moving average of the student, as it is; both under noise of their own:

    theta' <- a theta' + (1 - a) theta                  after each step, a = min(1 - 1 / (n + 1), decay)
    z  = p(pi(x) + noise; theta)                        student
    z' = pi(p(x + noise'; theta'))                      teacher
    L  = (CE(z, pi(y)) + Dice(z, pi(y))) / 2 + lambda(t) mean (z - z')^2
    lambda(t) = weight exp(-5 (1 - min(1, t / ramp_share))^2)

labelled loss on labelled patches, consistency on all and over all classes. pi draws from the mirrors and quarter turns
that the plan allows this anatomy; the paper's also rescales a little. Decay and ramp (600 of 800 epochs) are those of
the released code, of which copies were read. They compute the outputs of both networks without a gradient, so that the
weight there, 1 or 10, never acts; here the student learns from the consistency, as the paper says, and predicts (the
code scores both). The code's noise, 0.5 on grey values of 0 to 255, is next to none; here it is that of the 3-D mean
teachers. Its labelled loss is cross-entropy on the straight image, with weights for two classes of skin, which has no
counterpart on other data: the (CE + Dice) / 2 of all mean teachers here takes its place. Where a plan allows neither
mirrors nor turns, this is a mean teacher.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from duoseg.methods.base import Batch, Method, Settings
from duoseg.model.losses import class_probabilities, gaussian_ramp, region_loss
from duoseg.model.networks import NetworkFactory
from duoseg.model.teacher import Teacher


class TcseSettings(Settings):
    """The constants of TCSE.

    Attributes:
        decay: of the teacher's moving average.
        weight: largest weight of the consistency.
        noise: standard deviation of the noise on both networks' images, whose own is about 1; cut at twice that.
        ramp_share: the weight is full after this share of the training.
        ramp_levels: it rises in so many equal intervals until then; 0 makes it rise at every step.
    """

    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    weight: Annotated[float, Field(ge=0)] = 1.0
    noise: Annotated[float, Field(ge=0)] = 0.1
    ramp_share: Annotated[float, Field(gt=0, le=1)] = 0.75
    ramp_levels: Annotated[int, Field(ge=0)] = 0


class Tcse(Method):
    """A student on turned patches, its average on straight ones."""

    Settings = TcseSettings

    def __init__(self, networks: NetworkFactory, settings: TcseSettings) -> None:
        super().__init__(networks, settings)
        self.student = networks.region()
        self.teacher = Teacher(self.student)
        self.settings = settings

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The labelled loss in the turned frame, and the weighted consistency on all patches."""
        n, view = batch.labelled, batch.weak_view()
        logits = self.student(view.image + batch.noise(self.settings.noise))
        teacher = view.apply(class_probabilities(self.teacher(batch.image + batch.noise(self.settings.noise))))
        weight = self.settings.weight * gaussian_ramp(progress / self.settings.ramp_share, self.settings.ramp_levels)
        return {
            "region": region_loss(logits[:n], view.apply(batch.label)),
            "consistency": weight * (class_probabilities(logits) - teacher).square().mean(),
        }

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
