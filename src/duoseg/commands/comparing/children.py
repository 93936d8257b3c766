"""Processes side by side, each of which ends with this one.

A combination has a process of its own, so that its processor time and its peak memory are its own, and so that a crash,
or the system ending it for want of memory, takes nothing else with it. A child reads its request from a file, tells
what it does as lines of JSON on its standard output, and watches its standard input, which ends with its parent.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import IO, Any

from duoseg.training.interruption import Interruption
from duoseg.training.places import without_place

POLL_SECONDS = 0.2
LAST_LINES = 5
LAST_BYTES = 2**16
_METHOD_FRAME = re.compile(r'File "([^"]*[/\\]methods[/\\]\w+\.py)", line (\d+)')
INTERRUPTED = 130

Event = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What one child does.

    Attributes:
        name: for the display.
        module: run as ``python -m``, with the request file as its argument.
        request: the file that says what to do.
        log: where its standard error goes.
    """

    name: str
    module: str
    request: Path
    log: Path


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        task: what it had to do.
        error: what went wrong; None where nothing did.
        interrupted: whether it was asked to stop, and did.
    """

    task: Task
    error: str | None
    interrupted: bool


class _Child:
    """A process and the thread that listens to it."""

    def __init__(self, task: Task, slot: int, environment: Mapping[str, str], events: queue.Queue[Any]) -> None:
        self.task = task
        self.slot = slot
        self.error: str | None = None
        task.log.parent.mkdir(parents=True, exist_ok=True)
        with task.log.open("wb") as log:
            # A session of its own: Ctrl-C reaches this process alone, which then asks each child once.
            self.process = subprocess.Popen(
                [sys.executable, "-m", task.module, str(task.request)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**without_place(os.environ), **environment},
                start_new_session=True,
            )
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()

    def _listen(self, events: queue.Queue[Any]) -> None:
        stream: IO[bytes] | None = self.process.stdout
        for line in stream or ():
            with suppress(ValueError):  # a line that was cut when the process was ended
                events.put((self, json.loads(line)))
        self.process.wait()
        events.put((self, None))

    def ended(self, *, asked: bool) -> Ended:
        """How it ended.

        Args:
            asked: whether it was asked to stop.
        """
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        code = self.process.returncode
        stopped = asked and code in (INTERRUPTED, -signal.SIGTERM)
        error = None
        if code and not stopped:
            error = self.error or _last_lines(self.task.log) or f"it ended with status {code}"
            if code < 0:
                error = _signal_text(-code)
        return Ended(self.task, error, stopped)


def run_children(
    tasks: Iterable[Task],
    *,
    jobs: int,
    environment: Callable[[int], Mapping[str, str]],
    told: Callable[[Task, int, Event], None],
    ended: Callable[[Ended], None],
) -> bool:
    """Run tasks, ``jobs`` at a time, in their order; return whether that was interrupted.

    The first Ctrl-C or request to terminate is passed on to the children, which save and stop; at a second one they are
    ended at once.

    Args:
        tasks: what to do; the next one is asked for when there is room for it.
        jobs: how many at a time.
        environment: variables for the child in a slot, 0 to ``jobs`` - 1.
        told: called with what a child tells, in this thread.
        ended: called when a child has ended, in this thread.
    """
    waiting: Iterator[Task] | None = iter(tasks)
    slots = list(range(jobs))
    running: list[_Child] = []
    events: queue.Queue[tuple[_Child, Event | None]] = queue.Queue()
    asked = False
    try:
        with Interruption() as interruption:
            while waiting is not None or running:
                if interruption.requested and not asked:
                    asked = True
                    waiting = None
                    for child in running:
                        child.process.send_signal(signal.SIGTERM)
                while waiting is not None and slots:
                    task = next(waiting, None)
                    if task is None:
                        waiting = None
                        break
                    slot = slots.pop(0)
                    running.append(_Child(task, slot, environment(slot), events))
                with suppress(queue.Empty):
                    child, event = events.get(timeout=POLL_SECONDS)
                    if event is None:
                        running.remove(child)
                        slots = sorted([*slots, child.slot])
                        ended(child.ended(asked=asked))
                    elif "error" in event:
                        child.error = str(event["error"])
                    else:
                        told(child.task, child.slot, event)
    finally:
        for child in running:
            child.process.kill()
            child.process.wait()
    return asked


def end_with_parent() -> None:
    """End this process, at once, when the one that started it is gone: standard input then ends."""

    def watch() -> None:
        # The file descriptor itself: Python's own stream has a lock, which its end would wait for.
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def tell_by_standard_output() -> Callable[[Event], None]:
    """Return what tells the parent; whatever else writes to standard output goes to standard error from now on."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(event: Event) -> None:
        stream.write(json.dumps(event) + "\n")
        stream.flush()

    return tell


def _signal_text(number: int) -> str:
    with suppress(ValueError):
        name = signal.Signals(number).name
        hint = ", as the system does to what takes too much memory; try fewer --jobs" if name == "SIGKILL" else ""
        return f"it was ended by {name}{hint}"
    return f"it was ended by signal {number}"


def _last_lines(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - LAST_BYTES))
        text = stream.read().decode("utf-8", "replace").strip()
    in_methods = _METHOD_FRAME.findall(text)
    if in_methods:  # of a traceback that begins and ends elsewhere, what whoever wrote the method looks for
        file, line = in_methods[-1]
        fault = [*takewhile(lambda line: line[:1].strip(), reversed(text.splitlines()))][:LAST_LINES]
        told = "\n".join(reversed(fault))
        return f"{told} ({file}, line {line})"
    return "\n".join(text.splitlines()[-LAST_LINES:])
