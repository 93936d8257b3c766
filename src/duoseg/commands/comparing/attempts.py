"""How long a training took over all attempts at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from duoseg.commands.runs import write_json
from duoseg.config import CONFIG
from duoseg.errors import InputError
from duoseg.files import read_json

ATTEMPTS = "attempts.json"
NOTE_SECONDS = 5.0


class Attempt(BaseModel):
    """What an attempt at a training has taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wall_s: float = 0.0
    cpu_s: float = 0.0


class Attempts:
    """The wall and processor time of each attempt at a training, kept in a file: an attempt may be killed.

    Attributes:
        complete: whether the time of all of them is known.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ATTEMPTS
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._noted = self._wall
        known = _read(self._path)
        self.complete = known is not None or not (folder / CONFIG).is_file()
        self._all = [*(known or []), Attempt()]
        self.note()

    @property
    def resumed(self) -> bool:
        """Whether this is not the first attempt."""
        return len(self._all) > 1 or not self.complete

    def note(self) -> None:
        """Write down how long this attempt has taken so far."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self._all[-1] = Attempt(wall_s=round(wall, 3), cpu_s=round(cpu, 3))
        if self.complete:  # else a later attempt would take this one for the first
            write_json(self._path, [attempt.model_dump() for attempt in self._all])
        self._noted = time.perf_counter()

    def noting(self, progress: Callable[..., None]) -> Callable[..., None]:
        """The same display, with a note every few seconds."""

        def report(what: str, done: int, total: int, detail: str = "") -> None:
            progress(what, done, total, detail)
            if time.perf_counter() - self._noted > NOTE_SECONDS:
                self.note()

        return report

    @property
    def total(self) -> Attempt | None:
        """The sum of all attempts; None where one of them is not known."""
        if not self.complete:
            return None
        return Attempt(wall_s=sum(one.wall_s for one in self._all), cpu_s=sum(one.cpu_s for one in self._all))


def _read(path: Path) -> list[Attempt] | None:
    """What earlier attempts took; None where nobody knows, which is no reason to lose a training."""
    try:
        return TypeAdapter(list[Attempt]).validate_python(read_json(path))
    except (InputError, OSError, ValidationError):
        return None
