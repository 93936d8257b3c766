"""What callers of ``compare`` give as methods, label counts and seeds: rows, or one alone."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import Any

from duoseg.errors import InputError
from duoseg.study.folds import Labelled


def names_given(methods: str | Iterable[str]) -> tuple[str, ...]:
    """The names of entries.

    Raises:
        InputError: one is no name, or several are in one text.
    """
    names = _row(methods)
    for name in names:
        if not isinstance(name, str) or "," in name:
            raise InputError(f"methods: {name!r} is no name; give one, or a list of them: ['supervised', 'duo'].")
    return names


def counts_given(labelled: Labelled | Iterable[Labelled] | None) -> tuple[Labelled, ...]:
    """The label counts; none where none are given.

    Raises:
        InputError: one is neither a whole number nor "all".
    """
    if labelled is None:
        return ()
    wanted = 'a whole number, "all", or a list of these, such as [4, 8]'
    return tuple(
        "all" if isinstance(count, str) and count == "all" else _whole(count, "labelled", wanted)
        for count in _row(labelled)
    )


def seeds_given(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """The seeds.

    Raises:
        InputError: one is no whole number.
    """
    wanted = "a whole number, or a list of them, such as [0, 1, 2]"
    return tuple(_whole(seed, "seeds", wanted) for seed in _row(seeds))


def _row(given: Any) -> tuple[Any, ...]:
    """What is given; one alone as a row of one."""
    return (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)


def _whole(given: Any, name: str, wanted: str) -> int:
    try:
        if not isinstance(given, bool):  # a whole number to Python, and a slip to everybody else
            return index(given)
    except TypeError:
        pass
    raise InputError(f"{name}: {given!r} was given; give {wanted}.")
