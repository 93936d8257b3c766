"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Called with the name of the work, how much of it is done, how much there is, and a remark."""

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None:
        """Take note of the state of the work."""
        ...


def counted(progress: Progress | None, what: str, detail: str = "") -> Callable[[int, int], None]:
    """A callback for work that only counts: forwards under the name ``what``, or does nothing where nobody listens."""

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(what, done, total, detail)

    return report


def named(progress: Progress | None, name: str) -> Progress | None:
    """The same, with a name before each kind of work."""
    if progress is None:
        return None

    def report(what: str, done: int, total: int, detail: str = "") -> None:
        progress(f"{name}: {what}", done, total, detail)

    return report
