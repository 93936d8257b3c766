"""What a call of ``duoseg compare`` asks for: its combinations, each with configuration, identity and request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from duoseg.commands.comparing.children import Task
from duoseg.commands.comparing.combination import REQUEST, Begun, Request, ScoredCase
from duoseg.commands.comparing.identity import identity, require_one_study, require_same
from duoseg.commands.comparing.setup import Setup, entry_config
from duoseg.config import CONFIG, Config, parse
from duoseg.files import read_json, write_text
from duoseg.study.folds import Part, Scored, person_texts
from duoseg.study.grid import Combination, Entry
from duoseg.study.records import Result
from duoseg.training.devices import DeviceName

COMBINATION = "duoseg.commands.comparing.combination"
LOG = "stderr.log"
COMBINATION_SECONDS = 8.0
"""For starting a process, finding the prepared scans, saving and the page of its run."""


@dataclass(frozen=True)
class Measured:
    """What an entry takes on this machine, side by side with others.

    Attributes:
        step_s: wall time of a step.
        predict_s: of predicting and scoring a scan.
    """

    step_s: float
    predict_s: float


@dataclass(frozen=True)
class Work:
    """A combination that is still to be computed.

    Attributes:
        combination: which one.
        entry: what it trains.
        measured: what that takes.
        scans: how many it predicts.
    """

    combination: Combination
    entry: Entry
    measured: Measured
    scans: int

    def seconds(self, steps: int) -> float:
        """Its wall time where the study has so many steps."""
        training = self.entry.steps(steps) * self.measured.step_s
        return COMBINATION_SECONDS + training + self.scans * self.measured.predict_s


@dataclass(frozen=True)
class Asked:
    """A study as it is asked for.

    Attributes:
        out: the study's folder.
        settings: its configuration.
        entries: what is compared.
        grid: all combinations, in order.
        setups: what those of one label count and fold share.
        parts: how the scans are divided.
        on: which scans are scored.
        folds: how many folds there are, if any.
        device: where to compute.
        measured: what entries take at each label count, where that is known.
    """

    out: Path
    settings: Config
    entries: Sequence[Entry]
    grid: Sequence[Combination]
    setups: Sequence[Setup]
    parts: Sequence[Part]
    on: Scored
    folds: int | None
    device: DeviceName
    measured: Mapping[tuple[str, int], Measured] = field(default_factory=dict)

    def with_steps(self, steps: int) -> Asked:
        """The same with so many steps."""
        return replace(self, settings=self.settings.with_options(steps=steps))

    @property
    def steps(self) -> int | None:
        """The study's steps; None where the plans of its label counts differ in them."""
        planned = {setup.plan.steps for setup in self.setups}
        return self.settings.steps or (planned.pop() if len(planned) == 1 else None)

    @cached_property
    def persons(self) -> dict[str, str]:
        """The person of each scored case, as tables call it."""
        return person_texts(case for part in self.parts for case in part.scored)

    def in_turn(self, combinations: Sequence[Combination]) -> list[Combination]:
        """The order in which they are computed: a seed of all methods after the other, and the longest first."""
        seeds = list(dict.fromkeys(one.seed for one in self.grid))
        return sorted(combinations, key=lambda one: (seeds.index(one.seed), -self._length(one)))

    def work(self, combinations: Sequence[Combination]) -> list[Work]:
        """What computing them takes, which must have been measured, in the order in which it is done."""
        return [
            Work(one, self._entry(one), self.measured[one.method, one.labelled], len(self._setup(one).scored))
            for one in self.in_turn(combinations)
        ]

    def require_same(self, done: Mapping[str, Result], earlier: Mapping[str, Result]) -> None:
        """Refuse to go on with what was computed, or begun, as something else.

        Args:
            done: what is asked for and finished, by name.
            earlier: what other calls finished and this one does not ask for.

        Raises:
            InputError: names what differs.
        """
        wanted = {one: self._identity(one) for one in self.grid}
        require_same(self.out, wanted, done)
        others = {name: (result.combination, result.config) for name, result in earlier.items()}
        require_one_study(self.out, wanted, others | self._begun_by_others({*done, *earlier}))

    def _begun_by_others(self, finished: Set[str]) -> dict[str, tuple[Combination, Mapping[str, Any]]]:
        """What other calls have begun, and perhaps are computing now, by name."""
        own = {one.name for one in self.grid}
        begun = [
            parse(Begun, read_json(path), source=str(path))
            for path in sorted(self.out.glob(f"*/{REQUEST}"))
            if path.parent.name not in own | finished and (path.parent / CONFIG).is_file()
        ]
        return {one.combination.name: (one.combination, one.identity) for one in begun}

    def task(self, one: Combination, cache: Path, threads: int) -> Task:
        """Write a combination's request, and return what computes it."""
        setup, folder = self._setup(one), (self.out / one.name).absolute()
        scored = [
            ScoredCase(case=case.name, person=self.persons[case.name], diagonal_mm=setup.diagonals_mm[case.name])
            for case in setup.scored
        ]
        request = Request(
            data=setup.training_table.absolute(),
            out=folder,
            plan=setup.plan_file.absolute(),
            config=self._config(one),
            scored_table=setup.scored_table.absolute(),
            scored=tuple(scored),
            cache=cache.absolute(),
            device=self.device,
            threads=threads,
            combination=one,
            identity=self._identity(one),
        )
        write_text(folder / REQUEST, request.model_dump_json(indent=1) + "\n")
        return Task(one.name, COMBINATION, folder / REQUEST, folder / LOG)

    def describe_entries(self, finished: Sequence[Result], known: Mapping[str, Any]) -> dict[str, Any]:
        """What is compared, and what was before, as ``study.json`` has it.

        Args:
            finished: all results.
            known: as the file has it so far, of entries without a result.
        """
        found: dict[str, Any] = {}
        for one in self.grid:
            about, identity_ = found.setdefault(one.method, {}), self._identity(one)
            about |= {"method": identity_["method"], "settings": identity_["settings"]}
            about.setdefault("steps", {})[str(one.labelled)] = identity_["plan"]["steps"]
        for result in finished:
            entry, about = result.entry, found.setdefault(result.combination.method, {})
            about.setdefault("method", entry.method)
            about.setdefault("settings", entry.settings)
            about.setdefault("steps", {}).setdefault(str(result.combination.labelled), entry.steps)
        for name, about in known.items():
            found.setdefault(name, about)
        return found

    def _length(self, one: Combination) -> float:
        """How long a training is beside others: its steps, each as long as was measured."""
        measured = self.measured.get((one.method, one.labelled))
        return self._entry(one).factor * (measured.step_s if measured else 1.0)

    def _entry(self, one: Combination) -> Entry:
        return next(entry for entry in self.entries if entry.name == one.method)

    def _setup(self, one: Combination) -> Setup:
        return next(setup for setup in self.setups if (setup.labelled, setup.fold) == (one.labelled, one.fold))

    def _config(self, one: Combination) -> Config:
        entry = self._entry(one)
        steps = self.settings.steps
        if steps is None and entry.factor != 1:
            steps = self._setup(one).plan.steps
        return entry_config(self.settings, entry, labelled=one.labelled, seed=one.seed, steps=steps)

    def _identity(self, one: Combination) -> dict[str, Any]:
        return identity(
            self._config(one), self._setup(one), on=self.on, folds=self.folds, device=self.device, asked=self.settings
        )
