"""What a model makes of many scans, read ahead of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from duoseg.commands.predicting.overlap import bytes_to_hold, overlapped
from duoseg.errors import InputError
from duoseg.planning.prepare import Prepared
from duoseg.planning.reading import read_channels
from duoseg.prediction.model import Model
from duoseg.prediction.result import Prediction
from duoseg.progress import Progress
from duoseg.scans.cases import Case
from duoseg.scans.side_by_side import Room
from duoseg.training.memory import naming_want_of_memory

Kept = TypeVar("Kept")

logger = logging.getLogger("duoseg")


def look_at(
    cases: Sequence[Case],
    model: Model,
    keep: Callable[[Case, Prepared, Prediction, np.ndarray], Kept],
    progress: Progress | None,
    *,
    agreement: bool = False,
) -> dict[str, Kept]:
    """What is kept of each scan that can be read, by name; the others are told of.

    Args:
        cases: the scans.
        model: what looks at them.
        keep: makes it of the prepared scan, its prediction with uncertainty, and the encoders' features (F,).
        progress: called after each scan.
        agreement: ask all students, and not those alone that predict.
    """

    def read(case: Case) -> Prepared:
        with naming_want_of_memory(case.images[0]):
            return model.prepare(*read_channels(case), name=str(case.images[0]))

    def look(case: Case, prepared: Prepared) -> Kept:
        with naming_want_of_memory(case.images[0]):
            return keep(case, prepared, *model.look(prepared, agreement=agreement))

    found: dict[str, Kept] = {}
    outcomes = overlapped(cases, read, look, lambda _, kept: kept, room=Room(), size=bytes_to_hold)
    for done, (case, outcome) in enumerate(outcomes, start=1):
        if isinstance(outcome, InputError):
            logger.warning("left out: %s", outcome)
        else:
            found[case.name] = outcome
        if progress is not None:
            progress("look", done, len(cases))
    return found
