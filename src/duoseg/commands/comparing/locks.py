"""Several calls of ``duoseg compare`` in one folder: each combination is computed by one of them."""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from duoseg.errors import InputError
from duoseg.files import try_lock

LOCK = ".lock"
CLAIM = ".claim"

SOON = 3.0
"""Seconds of waiting that need no word: tables are written in less."""

logger = logging.getLogger("duoseg")


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the files of a study for this process, which waits while another one has them.

    Raises:
        InputError: the file system has no locks.
    """
    with (out / LOCK).open("w") as lock:
        until = time.monotonic() + SOON
        while not (held := _try(lock, out)) and time.monotonic() < until:
            time.sleep(0.05)
        if not held:
            logger.warning(
                f"{out}: another `duoseg compare` prepares this study, or writes its tables; waiting for it."
            )
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Claims:
    """The combinations that this process computes. A claim ends with its process, however that ends."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._held: dict[str, IO[str]] = {}

    def take(self, name: str) -> bool:
        """Claim a combination; return False where another process has it."""
        path = self._out / name / CLAIM
        path.parent.mkdir(exist_ok=True)
        claim = path.open("w")
        if not _try(claim, self._out):
            claim.close()
            return False
        self._held[name] = claim
        return True

    def release(self, name: str) -> None:
        """Give up a claim."""
        self._held.pop(name).close()


def _try(lock: IO[str], out: Path) -> bool:
    try:
        return try_lock(lock)
    except OSError as fault:
        raise InputError(f"{out}: cannot be locked ({fault.strerror}); choose an --out on another disk.") from fault
