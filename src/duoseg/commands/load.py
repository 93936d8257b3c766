"""``duoseg.load``: a trained model that stays in memory."""

from __future__ import annotations

from duoseg.commands.predicting.calibrated import judge_of, weights_of
from duoseg.commands.runs import load_model
from duoseg.files import StrPath
from duoseg.prediction.model import Model, PredictionSettings
from duoseg.training.devices import DeviceName


def load(*runs: StrPath, settings: PredictionSettings | None = None, device: DeviceName = "auto") -> Model:
    """Load one run, or several as an ensemble, to predict scans in memory.

    A run that is calibrated brings what it learnt with it: asked for uncertainty, the model tells which Dice to expect.

    Args:
        runs: run folders; their plans must prepare scans alike.
        settings: prediction settings; the first run's own where absent.
        device: where to compute.

    Raises:
        InputError: a folder holds no trained run, the runs' plans differ in what prediction depends on, or a
            calibration is damaged.
    """
    model = load_model(*runs, settings=settings, device=device)
    model.judge, _ = judge_of(runs, model.settings, weights_of(runs))
    return model
