"""Where loss terms go: a protocol for loggers, and the run's own ``log.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from duoseg.errors import InputError
from duoseg.files import naming, read_text, write_text
from duoseg.progress import Progress

LOG = "log.jsonl"
STEPS = "train"
"""What progress calls the steps of a training."""
CIRCUMSTANCES = ("step", "learning_rate", "seconds", "waited_seconds")
"""What a record holds besides loss terms."""
TRAINING_DICE = "training_dice/"
"""Before the name of a class: its Dice on patches that were learned from; see `looks`."""
NOTED = "noted/"
"""Before the name of a number that the method notes and does not learn from."""
MOST_LOG_BYTES = 2**30
Record = dict[str, float]


def is_loss(name: str) -> bool:
    """Whether a value of a record is a loss term, or their sum."""
    return name not in CIRCUMSTANCES and not name.startswith((TRAINING_DICE, NOTED))


class Logger(Protocol):
    """Receives the records of finished steps, in order, a few at a time."""

    def write(self, records: Sequence[Record]) -> None:
        """Take over these records."""
        ...


class JsonLinesLog:
    """One JSON object a step; on resume, steps after the checkpoint are dropped, so that each stands here once.

    Args:
        folder: the run's folder.
        steps_done: steps that the checkpoint holds; 0 for a new run.
    """

    def __init__(self, folder: Path, *, steps_done: int) -> None:
        self._path = folder / LOG
        kept = [record for record in read_log(folder) if record["step"] <= steps_done]
        write_text(self._path, "".join(json.dumps(record) + "\n" for record in kept))

    def write(self, records: Sequence[Record]) -> None:
        """Append the records and hand them to the operating system at once."""
        with naming(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(record) + "\n" for record in records))


class ProgressLog:
    """Tells a progress display how far the training is and what the loss terms are."""

    def __init__(self, progress: Progress, *, steps: int) -> None:
        self._progress = progress
        self._steps = steps

    def write(self, records: Sequence[Record]) -> None:
        """Show the latest record."""
        last = records[-1]
        terms = (f"{name} {value:.4f}" for name, value in last.items() if is_loss(name))
        self._progress(STEPS, int(last["step"]), self._steps, " ".join(terms))


class TensorBoardLog:
    """The same records as TensorBoard scalars.

    Raises:
        InputError: the ``tensorboard`` extra is not installed.
    """

    def __init__(self, folder: Path, *, steps_done: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as fault:
            raise InputError("--tensorboard needs the package tensorboard: pip install tensorboard.") from fault
        self._writer = SummaryWriter(str(folder), purge_step=steps_done + 1)

    def write(self, records: Sequence[Record]) -> None:
        """Add every value of every record under its own name."""
        for record in records:
            for name, value in record.items():
                if name != "step":
                    self._writer.add_scalar(name, value, int(record["step"]))
        self._writer.flush()


def read_log(folder: Path) -> list[Record]:
    """The records of a run so far, without a line that was cut while being written or damaged since."""
    path = folder / LOG
    if not path.is_file():
        return []
    lines = read_text(path, limit=MOST_LOG_BYTES).split("\n")
    return [*_records(lines[:-1])]


def _records(lines: Iterable[str]) -> Iterator[Record]:
    for line in lines:
        try:
            record = json.loads(line)
            whole = isinstance(record["step"], int)
        except (ValueError, KeyError, TypeError):
            continue
        if whole:
            yield record
