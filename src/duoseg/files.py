"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from duoseg.errors import InputError

CACHE = ".duoseg-cache"
"""Name of the folder of prepared scans, in the data set's own folder where nothing else is asked for."""

StrPath = str | os.PathLike[str]


def final_name(path: Path) -> Path:
    """The path that a temporary path of `atomic_path` stands for; any other path as it is."""
    return path.with_name(re.sub(r"^\.[0-9a-f]{8}\.", "", path.name))


def require_writable(path: Path) -> None:
    """Make the folder of a file to be written later, and fail now if it cannot be.

    Raises:
        InputError: its folder cannot be made or written to, or a folder has its name.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise InputError(f"{path.parent}: cannot be made ({fault.strerror}): choose another place.") from fault
    if not os.access(path.parent, os.W_OK) or path.is_dir():
        raise InputError(f"{path}: cannot be written there: choose another place.")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path`` in one rename, on error it is removed.

    The temporary name keeps the whole file name as its ending, since several libraries choose a format by suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
