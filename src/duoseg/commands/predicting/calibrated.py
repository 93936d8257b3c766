"""The calibration of a run, written and read."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from duoseg.commands.runs import write_json
from duoseg.errors import InputError
from duoseg.files import StrPath, atomic_path, read_json
from duoseg.prediction.calibration import Calibration, Evidence
from duoseg.prediction.judge import Judge
from duoseg.prediction.model import PredictionSettings
from duoseg.prediction.typical import PARTS, Typical
from duoseg.scores.output import read_scores
from duoseg.scores.results import Scores
from duoseg.training.checkpoint import WEIGHTS

CALIBRATION, TYPICAL = "calibration.json", "typical.safetensors"
ANNOTATED, PERSON = "annotated", "person"
DICE_OF, PRESENT = "dice_of", "present"
"""Over which classes the Dice is a mean: over those that are in mask or truth; earlier versions took all."""
CROSSED = "calibration"
"""The folder of what the annotated scans were predicted as, by models that had not seen them."""
SCORES, MASKS, HELD = "scores.json", "masks", Path("held") / "scans.csv"

FEWEST = 2
"""Persons of a calibration."""

logger = logging.getLogger("duoseg")


def judge_of(runs: Sequence[StrPath], settings: PredictionSettings, weights: Sequence[str]) -> tuple[Judge, str | None]:
    """The judge of one run's masks, and the digest of its calibration; that of several runs' mean has none.

    Args:
        runs: folders.
        settings: how scans are predicted.
        weights: digests of the runs' weights.

    Raises:
        InputError: a calibration is there and cannot be read.
    """
    if len(runs) != 1:
        return Judge(), None
    folder = Path(runs[0])
    if not (folder / CALIBRATION).is_file():
        return Judge(), None
    content = read_json(folder / CALIBRATION)
    try:
        if content["weights"] != weights[0]:
            logger.warning(
                f"{folder}: was trained again after its calibration, which is not used; `duoseg calibrate` renews it."
            )
            return Judge(), None
        if "settings" not in content or content.get(DICE_OF) != PRESENT:
            return _of_an_earlier_version(folder)
        if content["settings"] != settings.model_dump():
            logger.warning(
                f"{folder}: was calibrated with other prediction settings ({_told(content['settings'])}), so which "
                "Dice to expect is not known of these masks; `duoseg calibrate` takes the settings of the run."
            )
            return Judge(), None
        calibration = Calibration(tuple(Evidence(**scan) for scan in content["scans"]))
        if len(calibration.persons) < FEWEST:
            raise ValueError("no calibration has so few persons")
        kept = load_file(folder / TYPICAL)
        if PERSON not in kept:
            return _of_an_earlier_version(folder)
        typical = Typical(**{part: np.asarray(values) for part, values in kept.items()})
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as fault:
        raise InputError(f"{folder}: its calibration is damaged; `duoseg calibrate` makes it anew.") from fault
    return Judge(calibration, typical), _digest(folder / CALIBRATION)


def _of_an_earlier_version(folder: Path) -> tuple[Judge, None]:
    logger.warning(f"{folder}: was calibrated by an earlier version; `duoseg calibrate` renews it.")
    return Judge(), None


def crossed_scores(run: Path) -> Scores | None:
    """The scores of a run's annotated scans, cross-predicted; None where it is not calibrated as it is.

    Raises:
        InputError: a calibration is there and cannot be read.
    """
    if not (run / CALIBRATION).is_file() or not (run / WEIGHTS).is_file():
        return None
    if read_json(run / CALIBRATION).get("weights") != weights_of([run])[0]:
        return None
    return read_scores(run / CROSSED / SCORES)


def weights_of(runs: Sequence[StrPath]) -> list[str]:
    """The SHA-256 of each run's weights."""
    return [_digest(Path(run) / WEIGHTS) for run in runs]


def save_calibration(
    folder: Path,
    calibration: Calibration,
    typical: Typical,
    *,
    weights: str,
    settings: PredictionSettings,
    made: dict[str, Any],
) -> None:
    """Write a run's calibration.

    Args:
        folder: of the run.
        calibration: what annotated scans told.
        typical: the training scans.
        weights: digest of the run's weights.
        settings: how scans were predicted.
        made: how it was done.
    """
    with atomic_path(folder / TYPICAL) as temporary:
        save_file(
            {part: np.ascontiguousarray(getattr(typical, part)) for part in [*PARTS, ANNOTATED, PERSON]}, temporary
        )
    scans = [asdict(one) for one in calibration.evidence]
    about = {"weights": weights, "settings": settings.model_dump(), **made, "modelled": calibration.modelled}
    write_json(folder / CALIBRATION, {**about, DICE_OF: PRESENT, "scans": scans})


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _told(settings: Mapping[str, bool]) -> str:
    return ", ".join(f"{name} {'on' if value else 'off'}" for name, value in settings.items())
