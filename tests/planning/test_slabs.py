"""Slabs of probabilities that are made ahead of their use."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from duoseg.planning.slabs import Slabs

VOLUME = torch.rand(3, 4, 10, 5, generator=torch.Generator().manual_seed(0))


def slabs_of(made):
    """The volume in five slabs across y; notes in ``made`` which of them was made, and by which thread."""

    def parts():
        for index in range(5):
            made.append((index, threading.get_ident()))
            yield VOLUME[:, :, 2 * index : 2 * index + 2]

    return Slabs((4, 10, 5), 1, parts())


def test_slabs_made_ahead_are_the_same_in_the_same_order():
    with slabs_of([]).made_ahead() as slabs:
        assert torch.equal(slabs.whole(), VOLUME)


def test_one_slab_is_made_in_another_thread_while_the_one_before_it_is_used():
    made = []
    with slabs_of(made).made_ahead() as slabs:
        parts = iter(slabs.parts)
        assert made == []
        for index in range(4):
            next(parts)
            until = time.monotonic() + 30
            while len(made) < index + 2 and time.monotonic() < until:  # made though nobody asked for it
                time.sleep(0.001)
            assert len(made) == index + 2
    assert threading.get_ident() not in {thread for _, thread in made}


def test_nothing_more_is_made_after_whoever_uses_them_has_failed():
    made = []
    with pytest.raises(MemoryError), slabs_of(made).made_ahead() as slabs:
        next(iter(slabs.parts))
        raise MemoryError
    assert len(made) <= 2 and not [one for one in threading.enumerate() if one.name.startswith("duoseg-slabs")]


def test_a_fault_in_making_a_slab_reaches_who_uses_them():
    def parts():
        yield VOLUME[:, :, :5]
        raise MemoryError("too much")

    with Slabs((4, 10, 5), 1, parts()).made_ahead() as slabs:
        ahead = iter(slabs.parts)
        next(ahead)
        with pytest.raises(MemoryError, match="too much"):
            next(ahead)
