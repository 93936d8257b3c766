"""Three things done to each of many items, those of neighbouring items at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Generic, TypeVar

import torch

from duoseg.errors import InputError
from duoseg.scans.cases import Case
from duoseg.scans.side_by_side import Room, voxels_to_hold

BYTES_A_VOXEL = 12
"""Of a scan: as it was read, as the network sees it, and what is made of it."""

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")
Written = TypeVar("Written")
Outcome = TypeVar("Outcome")


def bytes_to_hold(case: Case) -> int:
    """About how much memory a scan takes from when it is read until its mask is written."""
    return BYTES_A_VOXEL * sum(voxels_to_hold(image) for image in case.images)


class _Held(Generic[Read]):
    """What was read of an item, and its share of the room, which is given back once."""

    def __init__(self, value: Read, share: ExitStack) -> None:
        self.value = value
        self.share = share


def overlapped(
    items: Sequence[Item],
    read: Callable[[Item], Read],
    make: Callable[[Item, Read], Made],
    write: Callable[[Item, Made], Written],
    *,
    room: Room,
    size: Callable[[Item], int],
) -> Iterator[tuple[Item, Written | InputError]]:
    """Yield each item, in order, with what writing it returned, or why one of the three failed.

    While one item is made here, the next one is read in one thread and the last one written in another: three are in
    memory at most, and no more than there is room for. When the caller stops, what was begun is finished.

    Args:
        items: to do it to.
        read: the first thing.
        make: the second, of what reading returned.
        write: the third, of what making returned.
        room: the memory that items share; one that is larger has it alone.
        size: how much an item needs of it.
    """

    def held(item: Item) -> _Held[Read]:
        with ExitStack() as share:
            share.enter_context(room.taken(size(item)))
            return _Held(read(item), share.pop_all())

    def written(item: Item, made: Made, share: ExitStack) -> Written:
        with share:
            return write(item, made)

    with _one_thread() as reader, _one_thread() as writer:
        ahead: Future[_Held[Read]] | None = reader.submit(held, items[0]) if items else None
        behind: tuple[Item, Future[Written]] | None = None
        for index, item in enumerate(items):
            assert ahead is not None
            outcome: Future[Written] | InputError
            found = _settled(ahead)
            # Not before: at an interruption the next read would wait for the share of one that nobody takes.
            ahead = reader.submit(held, items[index + 1]) if index + 1 < len(items) else None
            if isinstance(found, InputError):
                outcome = found
            else:
                try:
                    with found.share as share:
                        outcome = writer.submit(written, item, make(item, found.value), share.pop_all())
                except InputError as fault:
                    outcome = fault
            del found  # what was read
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


def _settled(future: Future[Outcome]) -> Outcome | InputError:
    try:
        return future.result()
    except InputError as fault:
        return fault
