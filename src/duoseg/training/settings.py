"""The part of a run's settings that is training's own."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from duoseg.model.draws import MOST_SEED
from duoseg.training.devices import Precision


class TrainingSettings(BaseModel):
    """How to compute, none of it part of the experiment but ``seed`` and ``precision``.

    ``checkpoint_seconds`` bounds the work that an interruption can cost.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: Annotated[int, Field(ge=0, le=MOST_SEED)] = 0
    precision: Precision = "auto"
    checkpoint_seconds: Annotated[float, Field(gt=0, le=60)] = 60.0
