"""Where things lie in a study's folder."""

from __future__ import annotations

from pathlib import Path

SETUPS = "setup"
TRAINING = Path("training") / "scans.csv"
"""In a setup's folder: the training scans as a table."""
SCORED = Path("scored") / "scans.csv"
"""In a setup's folder: the scored scans as a table."""
MASKS = "masks"
"""In a combination's folder."""


def setup_folder(study: Path, labelled: int, fold: int | None) -> Path:
    """What all combinations of one label count and fold share."""
    return study / SETUPS / (f"{labelled}" if fold is None else f"{labelled}-fold{fold}")
