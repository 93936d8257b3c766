"""The same work on many items at a time, within the memory that there is."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from duoseg.errors import InputError
from duoseg.scans.formats import read_grid
from duoseg.scans.leaks import folder_of
from duoseg.scans.limits import memory_limit

MOST_THREADS = 16
"""Beyond which threads wait for Python's interpreter more than they work."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Room:
    """Memory that threads share among the scans that they hold.

    Args:
        nbytes: how much there is; half of the machine's where absent.
        parts: processes that share it; this one has its part.
    """

    def __init__(self, nbytes: int | None = None, *, parts: int = 1) -> None:
        self._free = (memory_limit() // 2 if nbytes is None else nbytes) // parts
        self._holders = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, nbytes: int) -> Iterator[None]:
        """Wait until so much is free, and hold it; what is more than there is at all is held alone."""
        with self._changed:
            self._changed.wait_for(lambda: self._holders == 0 or nbytes <= self._free)
            self._free -= nbytes
            self._holders += 1
        try:
            yield
        finally:
            with self._changed:
                self._free += nbytes
                self._holders -= 1
                self._changed.notify_all()


def voxels_to_hold(image: Path, *, spacing: Sequence[float] | None = None) -> int:
    """About how many voxels a scan has, or with ``spacing`` (mm) has or gets, whichever is more.

    Those of a folder are without ``spacing`` told by the sizes of its files, since the grid of a series lies in all of
    them: it has a voxel for each two bytes, or for one where they are compressed. A scan that cannot be read has none.
    """
    try:
        folder = folder_of(image)
        if folder is not None and spacing is None:
            return sum(file.stat().st_size for file in folder[0].iterdir())
        grid = read_grid(image)
    except (InputError, OSError):  # whoever reads it says what is wrong
        return 0
    growth = 1.0 if spacing is None else math.prod(grid.spacing) / math.prod(spacing)
    return math.ceil(math.prod(grid.shape) * max(1.0, growth))


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], *, threads: int) -> Iterator[Result]:
    """Do it to each, and yield the results in order; for work that leaves Python's interpreter free, as reading does.

    Args:
        work: what to do; its first error ends all.
        items: to what.
        threads: how many at a time, no more than `MOST_THREADS`.
    """
    pool = ThreadPoolExecutor(max(1, min(threads, MOST_THREADS)))
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)


def in_processes(work: Callable[[Item], Result], items: Sequence[Item], *, processes: int) -> Iterator[Result]:
    """Do it to each, and yield the results in order; for work that keeps Python's interpreter busy.

    Args:
        work: a function that other processes can find, by its module.
        items: small, since they are sent to the processes.
        processes: how many; 1 is this one.

    Raises:
        InputError: the system ended a process, as it does for want of memory.
    """
    if processes == 1:
        yield from map(work, items)
        return
    # Not forked: a process that has threads, as libraries start them, must not be copied.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=_serve, initargs=(os.getpid(),))
    try:
        yield from pool.map(work, items)
    except BrokenProcessPool as fault:
        raise InputError(
            f"one of {processes} processes was ended from outside, as for want of memory, or could not begin, as where "
            'a script lacks `if __name__ == "__main__":`; try --threads 1.'
        ) from fault
    finally:
        pool.shutdown(cancel_futures=True)


def _serve(parent: int) -> None:
    """Leave Ctrl-C to the process that asks, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
