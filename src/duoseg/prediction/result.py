"""What a model says of one scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from duoseg.pictures.html import figure, table, titled
from duoseg.pictures.planes import CasePicture
from duoseg.planning.orient import canonical_spacing, to_canonical
from duoseg.planning.prepare import Placement, restore_map
from duoseg.prediction.judgement import Judgement
from duoseg.prediction.trust import doubt_of
from duoseg.scans.scan import Grid
from duoseg.scans.texts import mm_text, shape_text

DIGITS = 6
"""Of a volume: that of a few voxels of a micron is no zero."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of one scan; a notebook shows it as a picture.

    Attributes:
        mask: (X, Y, Z) on the scan's own grid, with the label values of the training files.
        classes: name -> that value.
        grid: the scan's.
        placement: the way from the prepared grid to the scan's.
        probabilities: (K + 1, x, y, z) on the prepared grid; None where they were not to be kept.
        uncertainty: (X, Y, Z) float32, how probable it is that a voxel's most probable class is not its own, between 0
            and 1 - 1 / (K + 1); None where it was not asked for. It is of the mask before the largest components were
            kept.
        agreement: mean Dice of the students' masks with each other; None where it was not asked for, or there is one.
        judgement: how far the mask may be trusted, in a calibrated run with the Dice to expect; None where uncertainty
            was not asked for.
        image: (X, Y, Z), the scan's first channel, which is no copy; None where the scan was let go.
    """

    mask: np.ndarray
    classes: Mapping[str, int]
    grid: Grid
    placement: Placement
    probabilities: Tensor | None = None
    uncertainty: np.ndarray | None = None
    agreement: float | None = None
    judgement: Judgement | None = None
    image: np.ndarray | None = None

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Each class's volume in millilitres."""
        voxel = self.grid.voxel_volume_ml
        return {
            name: float(f"{np.count_nonzero(self.mask == value) * voxel:.{DIGITS}g}")
            for name, value in self.classes.items()
        }

    @property
    def doubt(self) -> float | None:
        """About the share of the mask that is wrong, as the model itself sees it; None without uncertainty."""
        return None if self.uncertainty is None else doubt_of(self.mask, self.uncertainty)

    @property
    def trust(self) -> float | None:
        """How far the mask may be trusted, 0 to 1: the students' agreement; of one student, what it does not doubt."""
        if self.agreement is not None:
            return self.agreement
        return None if self.doubt is None else 1 - self.doubt

    def class_map(self, index: int) -> np.ndarray:
        """The probability of class ``index`` (0 is background) on the scan's own grid, (X, Y, Z) float32.

        Raises:
            ValueError: the probabilities were not kept.
        """
        if self.probabilities is None:
            raise ValueError("the probabilities were not kept: predict with keep_probabilities=True")
        return restore_map(self.probabilities[index], self.placement, outside=float(index == 0))

    def _repr_html_(self) -> str:
        """Three planes with the outline of the mask, and the volumes."""
        title = f"Prediction: {shape_text(self.grid.shape)} voxels of {mm_text(self.grid.spacing)}"
        if self.judgement is not None:
            title += f", {self.judgement}"
        elif self.doubt is not None:
            title += f", {self.doubt:.1%} in doubt"
        volumes = table(["class", "ml"], [(name, f"{volume:.2f}") for name, volume in self.volumes_ml.items()])
        if self.image is None:
            return titled(title, volumes)
        order = self.grid.canonical()
        uncertainty = None if self.uncertainty is None else to_canonical(self.uncertainty, *order)
        picture = CasePicture(
            case="the scan",
            dice=None,
            image=to_canonical(self.image, *order),
            truth=None,
            prediction=to_canonical(self.mask, *order),
            spacing=canonical_spacing(self.grid),
            uncertainty=uncertainty,
        )
        return titled(title, figure(picture), volumes)
