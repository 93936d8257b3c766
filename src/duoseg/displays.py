"""How work that takes time is shown while it goes on: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

PLAIN_SECONDS = 10.0
ESTIMATE_SECONDS = 3600.0
"""The time left is told by what this time has brought: a combination of a study may take most of it."""


class Bars:
    """One bar for each kind of work, on a terminal.

    Args:
        console: of that terminal.
    """

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            # The remark gives way first where there is little room.
            TextColumn(
                "{task.fields[detail]}",
                style="dim",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=console,
            expand=True,
            speed_estimate_period=ESTIMATE_SECONDS,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._bars.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.__exit__(None, None, None)

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None:
        """Move the bar of this kind of work."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, detail="")
        self._bars.update(self._tasks[what], completed=done, total=total, detail=detail)


class Lines:
    """A line at the end of each kind of work, and every ten seconds of it.

    Args:
        console: where they go.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = time.monotonic()
        self._finished: set[str] = set()

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None:
        """Write a line if it is time for one, or this kind of work is finished."""
        now = time.monotonic()
        finished = done >= total and what not in self._finished
        if not finished and now - self._last < PLAIN_SECONDS:
            return
        self._last = now
        if done >= total:
            self._finished.add(what)
        self._console.print(f"{what} {done}/{total} {detail}".rstrip(), markup=False)


class StudyLines(Lines):
    """A line for each combination that is finished; what goes on side by side is not shown."""

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None:
        """Write a line if a combination has ended, or as for any other work."""
        if what == "combinations":
            self._console.print(f"{done} of {total} done{': ' if detail else ''}{detail}", markup=False)
        elif not what.startswith("job "):
            super().__call__(what, done, total, detail)
