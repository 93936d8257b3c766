"""Three things done to each of many items, those of neighbouring items at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from duoseg.errors import InputError

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")
Written = TypeVar("Written")


def overlapped(
    items: Sequence[Item],
    read: Callable[[Item], Read],
    make: Callable[[Item, Read], Made],
    write: Callable[[Item, Made], Written],
) -> Iterator[tuple[Item, Written | InputError]]:
    """Yield each item, in order, with what writing it returned, or why one of the three failed.

    While one item is made here, the next one is read in one thread and the last one written in another: three are in
    memory at most. When the caller stops, what was begun is finished.
    """
    with _one_thread() as reader, _one_thread() as writer:
        ahead: Future[Read] | None = reader.submit(read, items[0]) if items else None
        behind: tuple[Item, Future[Written]] | None = None
        for index, item in enumerate(items):
            assert ahead is not None
            current, ahead = ahead, reader.submit(read, items[index + 1]) if index + 1 < len(items) else None
            outcome: Future[Written] | InputError
            try:
                outcome = writer.submit(write, item, make(item, current.result()))
            except InputError as fault:
                outcome = fault
            del current  # and with it what was read
            if behind is not None:
                yield behind[0], _settled(behind[1])
            behind = None
            if isinstance(outcome, InputError):
                yield item, outcome
            else:
                behind = item, outcome
        if behind is not None:
            yield behind[0], _settled(behind[1])


def _one_thread() -> ThreadPoolExecutor:
    # how many threads torch may use is each thread's own
    return ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),))


def _settled(future: Future[Written]) -> Written | InputError:
    try:
        return future.result()
    except InputError as fault:
        return fault
