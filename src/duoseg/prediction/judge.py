"""From what a model says of a scan to how far that may be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from duoseg.planning.prepare import Prepared
from duoseg.prediction.calibration import Calibration, Expected
from duoseg.prediction.judgement import Judgement
from duoseg.prediction.result import Prediction
from duoseg.prediction.typical import Typical, impression_of


@dataclass(frozen=True)
class Judge:
    """What is known of how far a model is to be trusted.

    Attributes:
        calibration: of its run; None where there is none.
        typical: the training scans; None where there is no calibration.
    """

    calibration: Calibration | None = None
    typical: Typical | None = None

    def judgement(self, prepared: Prepared, prediction: Prediction, features: np.ndarray) -> Judgement:
        """Judge a mask.

        Args:
            prepared: its scan.
            prediction: with uncertainty.
            features: what the encoders of all students made of the scan, (F,).
        """
        assert prediction.doubt is not None and prediction.trust is not None
        unlike: tuple[str, ...] | None = None
        trained_on = False
        if self.typical is not None:
            impression = impression_of(prepared, prediction.mask, features)
            unlike, trained_on = self.typical.unlike(impression), self.typical.is_annotated(impression)
        expected: Expected | None = None
        if self.calibration is not None and prediction.mask.any() and not unlike and not trained_on:
            expected = self.calibration.expected(prediction.trust)
        return Judgement(prediction.doubt, prediction.trust, expected, unlike, trained_on)
