"""What a training took over all attempts at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from duoseg.commands.runs import write_json
from duoseg.config import CONFIG
from duoseg.errors import InputError
from duoseg.files import read_json
from duoseg.training.checkpoint import WEIGHTS
from duoseg.training.log import STEPS
from duoseg.training.memory import process_peak_bytes

ATTEMPTS = "attempts.json"
NOTE_SECONDS = 5.0


class Attempt(BaseModel):
    """What an attempt at a training has taken.

    Attributes:
        wall_s: wall time; None where it was not timed, as when it was killed at its first step.
        cpu_s: processor time; None likewise.
        peak_mib: the most memory that its process held; None where the system does not tell.
        gpu_peak_mib: the most memory of a GPU that its tensors took; None without one.
        resumed: whether the training had been begun before, and was not finished.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    wall_s: float | None = None
    cpu_s: float | None = None
    peak_mib: float | None = None
    gpu_peak_mib: float | None = None
    resumed: bool = False


class Attempts:
    """Time and memory of each attempt at a training, kept in a file: an attempt may be killed.

    Attributes:
        complete: whether those of all of them are known.
    """

    def __init__(self, folder: Path, *, on_gpu: bool = False) -> None:
        self._on_gpu = on_gpu
        self._path = folder / ATTEMPTS
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._noted = self._wall
        known = _read(self._path)
        self.complete = known is not None or not (folder / CONFIG).is_file()
        begun, self._finished = (folder / CONFIG).is_file(), (folder / WEIGHTS).is_file()
        self._all = [*(known or [])]
        if not self._finished:  # else all that is left is to score it
            self._all.append(Attempt(resumed=begun))
            self._write()

    def note(self) -> None:
        """Write down how long this attempt has taken so far."""
        if self._finished:
            return
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self._all[-1] = Attempt(
            wall_s=round(wall, 3),
            cpu_s=round(cpu, 3),
            peak_mib=_mib(process_peak_bytes()),
            gpu_peak_mib=_mib(torch.cuda.max_memory_allocated()) if self._on_gpu else None,
            resumed=self._all[-1].resumed,
        )
        self._write()
        self._noted = time.perf_counter()

    def _write(self) -> None:
        if self.complete:  # else a later attempt would take this one for the first
            write_json(self._path, [attempt.model_dump() for attempt in self._all])

    def noting(self, progress: Callable[..., None]) -> Callable[..., None]:
        """The same display, with a note after the first step, and every few seconds."""

        def report(what: str, done: int, total: int, detail: str = "") -> None:
            progress(what, done, total, detail)
            first = what == STEPS and done > 0 and not self._finished and self._all[-1].wall_s is None
            if first or time.perf_counter() - self._noted > NOTE_SECONDS:
                self.note()

        return report

    @property
    def total(self) -> Attempt | None:
        """The time of all attempts and the most memory that one of them took; None where one of them is not known.

        Where one of them was not timed, all that is known is whether the training was resumed.
        """
        if not self.complete:
            return None
        resumed = any(one.resumed for one in self._all)
        if not all(one.wall_s for one in self._all):  # earlier versions wrote 0, or nearly, for what had not been timed
            return Attempt(resumed=resumed)
        return Attempt(
            wall_s=sum(one.wall_s or 0.0 for one in self._all),
            cpu_s=sum(one.cpu_s or 0.0 for one in self._all),
            peak_mib=_largest(one.peak_mib for one in self._all),
            gpu_peak_mib=_largest(one.gpu_peak_mib for one in self._all),
            resumed=resumed,
        )


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _mib(count: int | None) -> float | None:
    return None if count is None else count / 2**20


def _read(path: Path) -> list[Attempt] | None:
    """What earlier attempts took; None where nobody knows, which is no reason to lose a training."""
    try:
        return TypeAdapter(list[Attempt]).validate_python(read_json(path))
    except (InputError, OSError, ValidationError):
        return None
