"""Loss terms on their way from the device to the loggers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from duoseg.errors import InputError
from duoseg.training.log import CIRCUMSTANCES, NOTED, TRAINING_DICE, Logger, Record

LOSS = "loss"
"""What a record calls the sum of all terms."""
YOUNG = 1
"""Steps in which no learning rate can have ruined the weights: none has been taken before."""
RESERVED = (LOSS, *CIRCUMSTANCES)


def require_free_names(terms: Iterable[str]) -> None:
    """Refuse a loss term that has the name of something else in the log.

    Raises:
        InputError: names it.
    """
    taken = [name for name in terms if name in RESERVED or name.startswith((TRAINING_DICE, NOTED))]
    if taken:
        raise InputError(
            f"The method calls a loss term '{taken[0]}', which the log uses for something else. Give it another name "
            f"than {', '.join(RESERVED)}, without {TRAINING_DICE} or {NOTED} before it."
        )


class Recorder:
    """Keeps each step's loss terms on the device until they are asked for all at once.

    Fetching them every step would make the device wait for the host.

    Args:
        loggers: receive the records of finished steps.
        run: what error messages call the training.
    """

    def __init__(self, loggers: Sequence[Logger], *, run: str) -> None:
        self._loggers = loggers
        self._run = run
        self._pending: list[tuple[Record, dict[str, Tensor]]] = []

    def add(self, circumstances: Record, terms: dict[str, Tensor]) -> None:
        """Take over a finished step: number, learning rate, clock and scores; its loss terms and notes, detached."""
        self._pending.append((circumstances, terms))

    def report(self) -> None:
        """Hand all steps since the last report to the loggers.

        Raises:
            InputError: a term is infinite or undefined; the message names the step and the term.
        """
        if not self._pending:
            return
        values = iter(torch.stack([term for _, terms in self._pending for term in terms.values()]).tolist())
        records = [
            self._record(circumstances, {name: next(values) for name in terms})
            for circumstances, terms in self._pending
        ]
        self._pending.clear()
        for logger in self._loggers:
            logger.write(records)

    def _record(self, circumstances: Record, terms: dict[str, float]) -> Record:
        noted = {name: value for name, value in terms.items() if name.startswith(NOTED)}
        terms = {name: value for name, value in terms.items() if name not in noted}
        for name, value in terms.items():
            if not math.isfinite(value):
                early = circumstances["step"] <= YOUNG
                remedy = (
                    "So early it is the mean of nothing, which `masked_mean` takes for 0, or of odd intensities, which "
                    "`duoseg check` finds."
                    if early
                    else "Lower the learning rate, or look for odd intensities with `duoseg check`; in a new method "
                    "for gradients that are undefined, as that of a root at 0, which ruin all other terms."
                )
                raise InputError(
                    f"{self._run}: the loss term '{name}' became {value} at step {circumstances['step']}. Training "
                    f"stopped; the last checkpoint is untouched. {remedy}"
                )
        defined = {name: value for name, value in noted.items() if math.isfinite(value)}
        return {"step": circumstances["step"], LOSS: sum(terms.values()), **terms, **defined, **circumstances}
