"""What a report is made from: plain data about runs and scans, no folders and no networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class RunSummary:
    """One training run, as the page shows it.

    Attributes:
        name: How the page calls the run; unique on a page.
        method: The method's name.
        steps: Training steps taken.
        seconds: Wall time of training.
        records: The log: one mapping a logged step, ``step`` and each loss term by name.
        scores: The content of a scores file, or ``None`` where the run has not been scored.
        plan: The plan as JSON values, with its ``reasons``.
        environment: Versions, device and the like, by name.
        settings: The method's and the run's settings, by name.
        source: Where the method comes from, such as the paper to cite.
    """

    name: str
    method: str
    steps: int
    seconds: float
    records: Sequence[Mapping[str, float]] = ()
    scores: Mapping[str, Any] | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class CasePicture:
    """One scan with its true and its predicted mask, in right-anterior-superior axis order.

    Attributes:
        case: The scan's name.
        dice: Its Dice, mean over classes; ``None`` where there is none.
        image: (X, Y, Z) intensities; x runs to the patient's right, y to the front, z to the head.
        truth: (X, Y, Z) class indices, 0 is background; None where it is not known.
        prediction: (X, Y, Z) class indices.
        spacing: Voxel sides in mm.
    """

    case: str
    dice: float | None
    image: np.ndarray
    truth: np.ndarray | None
    prediction: np.ndarray
    spacing: tuple[float, float, float]

    def __post_init__(self) -> None:
        shapes = [self.image.shape, *(mask.shape for mask in self.masks.values())]
        if len(set(shapes)) > 1 or self.image.ndim != 3:
            raise ValueError(f"picture of {self.case}: image and masks need one (X, Y, Z) shape, got {shapes}")

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """The masks that there are, by name: ``truth``, ``prediction``."""
        found = {"truth": self.truth, "prediction": self.prediction}
        return {name: mask for name, mask in found.items() if mask is not None}
