"""Which files a command may write over: those that it wrote itself, and no scan, label or list of the user's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from duoseg.config import CONFIG
from duoseg.errors import InputError
from duoseg.files import MOST_SCORES_BYTES, read_json, require_writable

_HEAD_BYTES = 1024


def require_replaceable(path: Path, *, what: str, is_own: Callable[[Path], bool]) -> None:
    """Refuse a place where something else is than what duoseg wrote.

    Args:
        path: the file to be written.
        what: what it is to hold, for the message.
        is_own: whether a file that is not empty was written by an earlier call.

    Raises:
        InputError: names the file.
    """
    require_writable(path)
    if path.is_file() and path.stat().st_size and not is_own(path):
        raise InputError(f"{path}: is there, and holds no {what} that duoseg wrote: choose another name.")


def require_replaceable_json(path: Path, *, what: str, keys: set[str]) -> None:
    """The same for a JSON object with at least these keys."""

    def is_own(file: Path) -> bool:
        try:
            content = read_json(file, limit=MOST_SCORES_BYTES)
        except InputError:
            return False
        return isinstance(content, dict) and keys <= content.keys()

    require_replaceable(path, what=what, is_own=is_own)


def require_replaceable_text(path: Path, *, what: str, begins: str, holds: str = "") -> None:
    """The same for other text: it has to begin with some words, and to hold others soon after."""

    def is_own(file: Path) -> bool:
        with file.open("rb") as opened:
            head = opened.read(_HEAD_BYTES)
        return head.lstrip().startswith(begins.encode()) and holds.encode() in head

    require_replaceable(path, what=what, is_own=is_own)


def require_no_run(path: Path) -> None:
    """Refuse to write a plan beside the weights of a run, which would mean other things by it.

    Raises:
        InputError: names the run.
    """
    if (path.parent / CONFIG).is_file():
        raise InputError(
            f"{path}: lies in the folder of a run, whose plan is that of its weights: choose another place."
        )
