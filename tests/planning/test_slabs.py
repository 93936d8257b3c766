"""Slabs of probabilities that are made ahead of their use."""

from __future__ import annotations

import threading

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
    assert torch.equal(slabs_of([]).made_ahead().whole(), VOLUME)


def test_one_slab_is_made_in_another_thread_while_the_one_before_it_is_used():
    made = []
    parts = iter(slabs_of(made).made_ahead().parts)
    assert made == []
    for index in range(4):
        next(parts)
        while len(made) < index + 2:  # made though nobody asked for it
            pass
        assert len(made) == index + 2
    assert threading.get_ident() not in {thread for _, thread in made}


def test_a_fault_in_making_a_slab_reaches_who_uses_them():
    def parts():
        yield VOLUME[:, :, :5]
        raise MemoryError("too much")

    ahead = iter(Slabs((4, 10, 5), 1, parts()).made_ahead().parts)
    next(ahead)
    with pytest.raises(MemoryError, match="too much"):
        next(ahead)
