"""The boundary student of DTML alone, on labelled patches: a signed distance map read as a mask."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from duoseg.methods.base import Batch, Method, Settings, Stage
from duoseg.model.distance import bounded, mask_from_distance, probabilities_from_distance
from duoseg.model.losses import dice_loss
from duoseg.model.networks import NetworkFactory


class BoundarySettings(Settings):
    """k: slope of the transform from distance to mask."""

    k: Annotated[float, Field(gt=0)] = 1500.0


class Boundary(Method):
    """DTML's distance student without its peer (the ablation "SDM only" of arXiv 2103.04708)."""

    Settings = BoundarySettings
    labelled_terms = ("boundary",)
    stages = (Stage("train", batch="labelled"),)

    def __init__(self, networks: NetworkFactory, settings: BoundarySettings) -> None:
        super().__init__(networks, settings)
        self.boundary = networks.distance()
        self.k = settings.k

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """L_D = Dice(T(phi)) on every patch."""
        phi = bounded(self.boundary(batch.image))
        return {"boundary": dice_loss(mask_from_distance(phi, self.k), batch.label)}

    def members(self, image: Tensor) -> list[Tensor]:
        """The mask of each class's map, made into probabilities that sum to 1."""
        return [probabilities_from_distance(bounded(self.boundary(image)), self.k)]
