"""Dual-Task Mutual Learning: Zhang & Zhang, PRCV 2021, arXiv 2103.04708.

Two students see the same patches. S predicts the region (class probabilities p), D the boundary (a signed distance map
phi, negative inside). A transform T turns D's map into a mask, and on all patches, annotated or not, the two masks are
pulled together:

    T(phi)   = 1 / (1 + exp(k phi))                            distance to mask, k large
    L_S      = (CE(p, y) + Dice(p, y)) / 2                     labelled patches
    L_D      = Dice(T(phi), y)                                 labelled patches
    L_mutual = mean (T(phi) - p)^2                             all patches, foreground classes
    L        = L_S + L_D + 2 lambda(t) L_mutual                lambda(t) = lambda_max exp(-5 (1 - t)^2)

The published code adds lambda L_mutual to the loss of each student and runs one backward pass for each; neither side is
detached, so both passes reach both students. One backward pass of L gives the same gradients: hence the 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from duoseg.methods.base import Batch, Method, Settings
from duoseg.model.distance import bounded, mask_from_distance, probabilities_from_distance
from duoseg.model.losses import class_probabilities, cross_entropy, dice_loss, gaussian_ramp
from duoseg.model.networks import NetworkFactory

STUDENTS = 2


class DtmlSettings(Settings):
    """The constants of DTML; the defaults are the published ones.

    Attributes:
        k: slope of T. At 1500 only voxels with |phi| below about 0.005 carry gradient.
        weight: lambda_max, the largest weight of the mutual term.
        ramp_levels: lambda rises in so many equal intervals of the training (published: every 150 of 6000 steps);
            0 makes it rise at every step.
        predict: ``region`` reads S alone, as published; ``mean`` averages both students.
    """

    k: Annotated[float, Field(gt=0)] = 1500.0
    weight: Annotated[float, Field(ge=0)] = 1.0
    ramp_levels: Annotated[int, Field(ge=0)] = 40
    predict: Literal["region", "mean"] = "region"


class Dtml(Method):
    """Two students of unlike tasks that teach each other."""

    Settings = DtmlSettings
    labelled_terms = ("region", "boundary")

    def __init__(self, networks: NetworkFactory, settings: DtmlSettings) -> None:
        super().__init__(networks, settings)
        self.region = networks.region()
        self.boundary = networks.distance()
        self.settings = settings
        self.averages = settings.predict == "mean"

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """L_S and L_D on the labelled patches, the weighted mutual term on all."""
        logits = self.region(batch.image)
        p = class_probabilities(logits)[:, 1:]
        mask = mask_from_distance(bounded(self.boundary(batch.image)), self.settings.k)

        y, n = batch.label, batch.labelled
        weight = self.settings.weight * gaussian_ramp(progress, self.settings.ramp_levels)
        return {
            "region": (cross_entropy(logits[:n], y) + dice_loss(p[:n], y)) / 2,
            "boundary": dice_loss(mask[:n], y),
            "mutual": STUDENTS * weight * (mask - p).square().mean(),
        }

    def members(self, image: Tensor) -> Iterator[Tensor]:
        """S's probabilities, then D's map as probabilities."""
        yield class_probabilities(self.region(image))
        yield probabilities_from_distance(bounded(self.boundary(image)), self.settings.k)
