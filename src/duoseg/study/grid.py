"""What a study computes: entries x label counts x seeds x folds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from duoseg.errors import InputError
from duoseg.methods import method_names
from duoseg.model.draws import MOST_SEED

ENTRY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,59}")
"""Folders are called after entries."""


MOST_TIMES = 20
"""The study's steps; a larger number is meant as a number of steps."""


class EntrySettings(BaseModel):
    """An entry as a configuration defines it under ``[entries.NAME]``.

    Attributes:
        method: name of the method.
        steps: times the study's steps, as 2.0 is twice as many.
        settings: replaces settings of that method.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    steps: Annotated[float, Field(gt=0, le=MOST_TIMES, allow_inf_nan=False)] = 1.0
    settings: dict[str, Any] = {}


@dataclass(frozen=True)
class Entry:
    """What is compared: a method, perhaps with other settings or more steps than the others.

    Attributes:
        name: what the tables call it.
        method: name of the method.
        factor: times the study's steps.
        settings: replaces settings of that method.
    """

    name: str
    method: str
    factor: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def steps(self, study_steps: int) -> int:
        """Its steps where the study has so many."""
        return max(1, round(self.factor * study_steps))


class Combination(BaseModel):
    """One training of a study with its prediction and scores.

    Attributes:
        name: of its folder.
        method: name of the entry.
        labelled: number of labelled training scans.
        seed: of initial weights and draws.
        fold: which part of the labelled scans is scored, from 0; None where there are no folds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    method: str
    labelled: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]
    fold: Annotated[int, Field(ge=0)] | None = None

    @classmethod
    def of(cls, method: str, labelled: int, seed: int, fold: int | None = None) -> Combination:
        """The combination of these, with its name."""
        name = f"{method}-{labelled}-seed{seed}" + ("" if fold is None else f"-fold{fold}")
        return cls(name=name, method=method, labelled=labelled, seed=seed, fold=fold)


def find_entries(names: Sequence[str], defined: Mapping[str, EntrySettings]) -> tuple[Entry, ...]:
    """The entries called ``names``: methods, or what a configuration defines.

    Raises:
        InputError: a name is unknown (the nearest one is given), repeated, or stands for both; or there is none.
    """
    if not names:
        raise InputError("--methods: names no method; give some, such as supervised,duo.")
    _refuse_repeated(names, "--methods")
    methods = method_names()
    for name, entry in defined.items():
        if name in methods:
            raise InputError(
                f"[entries.{name}]: is also the name of a method: call the entry otherwise, or set the method's "
                f"own settings under [methods.{name}]."
            )
        if not ENTRY_NAME.fullmatch(name):
            raise InputError(
                f"[entries.{name[:60]}]: folders are called after entries: use up to 60 letters, digits, _ . + and -."
            )
        if entry.method not in methods:
            raise InputError(f"[entries.{name}]: there is no method '{entry.method}'.{_nearest(entry.method, methods)}")
    known = (*methods, *defined)
    found = []
    for name in names:
        if name not in known:
            raise InputError(f"--methods: there is no method or entry '{name}'.{_nearest(name, known)}")
        entry = defined.get(name)
        found.append(Entry(name, entry.method, entry.steps, entry.settings) if entry else Entry(name, name))
    return tuple(found)


def make_grid(
    entries: Iterable[Entry], labelled: Sequence[int], seeds: Sequence[int], folds: Sequence[int | None]
) -> list[Combination]:
    """All combinations, in the order of every table.

    Raises:
        InputError: a label count or seed is repeated, or a seed is out of range; or there is no seed.
    """
    _refuse_repeated(labelled, "--labelled")
    _refuse_repeated(seeds, "--seeds")
    if not seeds or min(seeds) < 0 or max(seeds) > MOST_SEED:
        raise InputError(f"--seeds: give one or more whole numbers from 0 to {MOST_SEED}, such as 0,1,2.")
    return [
        Combination.of(entry.name, count, seed, fold)
        for count in labelled
        for entry in entries
        for seed in seeds
        for fold in folds
    ]


def _refuse_repeated(values: Sequence[Hashable], option: str) -> None:
    repeated = [str(value) for value, times in Counter(values).items() if times > 1]
    if repeated:
        raise InputError(f"{option}: names {', '.join(repeated)} more than once.")


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return (f" Did you mean '{near[0]}'?" if near else "") + f" Known: {', '.join(known)}."
