"""The same work on many items, in several processes: scoring leaves Python's interpreter too rarely for threads."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from duoseg.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], *, workers: int) -> Iterator[Result]:
    """Do it to each, and return the results in order.

    Args:
        work: a function that other processes can find, by its module.
        items: small, since they are sent to the processes.
        workers: how many processes; 1 is this one.

    Raises:
        InputError: the system ended a process, as it does for want of memory.
    """
    if workers == 1:
        yield from map(work, items)
        return
    # Not forked: a process that has threads, as libraries start them, must not be copied.
    processes = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, processes, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
    try:
        yield from pool.map(work, items)
    except BrokenProcessPool as fault:
        raise InputError(
            f"one of {workers} processes was ended from outside, as for want of memory; try fewer --threads."
        ) from fault
    finally:
        pool.shutdown(cancel_futures=True)
