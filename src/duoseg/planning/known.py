"""What was found out about files, kept as long as they do not change: thousands of scans are not read at every start.

A file counts as unchanged while its size and the times of its last change (of content and of name or rights) are the
same. What changed within the last seconds is not kept: it could change again without a trace.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from duoseg.errors import InputError
from duoseg.files import locked, read_json, write_text

KNOWN = "known.json"
LOCK = ".known.lock"
MOST_BYTES = 2**31
"""A fact has about 200 bytes."""
SETTLED_SECONDS = 2.0
"""No file system counts time more coarsely."""

Fact = TypeVar("Fact")


class Known:
    """Facts about files, in a folder; a context that keeps the new ones at its end. Threads may share it.

    Args:
        folder: of prepared scans. Where it cannot be written to, nothing is kept.
        make: whether to make the folder where there is something to keep and it is not there.
    """

    def __init__(self, folder: Path, *, make: bool = False) -> None:
        self._path = folder / KNOWN
        self._make = make
        self._facts = _read(self._path)
        self._new: dict[str, tuple[str, Any]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Nothing more."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what is new, beside what other processes found in the meantime."""
        if self._new and (self._make or self._path.parent.is_dir()):
            with suppress(OSError):  # such as in a folder that may only be read: the next start takes longer
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with locked(self._path.with_name(LOCK)):
                    write_text(self._path, json.dumps({**_read(self._path), **self._new}) + "\n")

    def recall(
        self,
        what: str,
        files: Sequence[Path],
        find: Callable[[], Fact],
        *,
        parse: Callable[[Any], Fact],
        plain: Callable[[Fact], Any] = lambda fact: fact,
    ) -> Fact:
        """Return a fact about files: as it is known, or as it is found now.

        Args:
            what: the kind of fact.
            files: all that it depends on.
            find: finds it.
            parse: from what was kept; raises ValueError, TypeError or KeyError where that is no such fact.
            plain: to what can be kept, as JSON.
        """
        key = " ".join([what, *(str(file.absolute()) for file in files[:4]), str(len(files))])
        stamp = _stamp(files)
        if stamp and key in self._facts and self._facts[key][0] == stamp:
            with suppress(ValueError, TypeError, KeyError):
                return parse(self._facts[key][1])
        fact = find()
        if stamp:
            with self._lock:
                self._new[key] = (stamp, plain(fact))
        return fact


def _stamp(files: Sequence[Path]) -> str:
    """What changes when one of the files does; empty where one is missing or too new."""
    seen = hashlib.sha256()
    latest = 0
    for file in files:
        try:
            state = file.stat()
        except OSError:  # whoever reads it says what is wrong
            return ""
        latest = max(latest, state.st_mtime_ns, state.st_ctime_ns)
        seen.update(repr((str(file.absolute()), state.st_size, state.st_mtime_ns, state.st_ctime_ns)).encode())
    return seen.hexdigest()[:32] if latest < (time.time() - SETTLED_SECONDS) * 1e9 else ""


def _read(path: Path) -> dict[str, tuple[str, Any]]:
    """What is kept; nothing where there is no such list or it may not be read, since all of it can be found again."""
    try:
        if not path.is_file():
            return {}
        content = read_json(path, limit=MOST_BYTES)
        return {key: (str(stamp), fact) for key, (stamp, fact) in content.items()}
    except (InputError, OSError, AttributeError, TypeError, ValueError):
        return {}
