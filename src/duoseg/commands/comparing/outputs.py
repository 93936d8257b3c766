"""What a study's folder shows of its results.

Scores and tables are rewritten after each combination, so that they may be read at any time; the page at the end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from duoseg.commands.comparing.asked import Asked
from duoseg.commands.comparing.known import Known, read_known
from duoseg.commands.comparing.locks import locked
from duoseg.commands.comparing.pictured import study_pictures
from duoseg.commands.report import REPORT
from duoseg.errors import InputError
from duoseg.files import StrPath, write_text
from duoseg.pictures.html import framed
from duoseg.reporting.study_page import write_study_page
from duoseg.study.content import Status
from duoseg.study.folds import Scored
from duoseg.study.grid import Combination
from duoseg.study.reading import STUDY
from duoseg.study.records import RESULTS, Result, computed_with, read_results, with_persons, write_results
from duoseg.study.summary import summarise_study
from duoseg.study.tables import write_tables
from duoseg.version import __version__


@dataclass(frozen=True)
class StudyFolder:
    """A study as it stands.

    Attributes:
        folder: where it lies.
        results: the table of all scores.
        report: the page; None where nothing is finished yet.
        content: that of ``study.json``.
        failed: what went wrong now, by name of the combination.
        asked: how many combinations were asked for.
        elsewhere: how many of them other commands are computing.
    """

    folder: Path
    results: Path
    report: Path | None
    content: dict[str, Any]
    failed: dict[str, str]
    asked: int
    elsewhere: int

    def _repr_html_(self) -> str:
        """The study's page."""
        return framed(self.report or self.folder)


class Unfinished(InputError):
    """Some combinations of a study failed.

    Attributes:
        study: with all others.
    """

    def __init__(self, study: StudyFolder) -> None:
        failed = study.failed
        told = [f"{name}: {error}" for name, error in failed.items()]
        logs = f"The logs are {study.folder}/NAME/stderr.log; the same command tries them again."
        super().__init__("\n  ".join([f"{len(failed)} of {study.asked} combinations failed:", *told, logs]))
        self.study = study


class StudyInterrupted(KeyboardInterrupt):
    """A study was interrupted; what was being trained is saved."""


@dataclass
class Board:
    """Keeps the files of a study up to date.

    Attributes:
        out: the study's folder.
        about: what of ``study.json`` does not change while it is computed.
        asked: what is computed.
        results: all that is finished, by name of the combination; like `known` read anew before each writing.
        known: what the study has had so far, finished or not.
        errors: what went wrong, by name of the combination.
        begun: the combinations that were begun now: what went wrong with them earlier no longer counts.
        keeps_against: whether what others are compared with is what the study has, and was not asked for now.
    """

    out: Path
    about: dict[str, Any]
    asked: Asked
    results: dict[str, Result] = field(default_factory=dict)
    known: Known = field(default_factory=Known)
    errors: dict[str, str] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    keeps_against: bool = False

    def count_done(self) -> int:
        """How many of the combinations asked for are finished."""
        return sum(one.name in self.results for one in self.asked.grid)

    def write(self) -> dict[str, Any]:
        """Write ``results.csv``, ``study.json`` and, where something is done, tables; return what the second holds.

        What other processes have finished in the meantime is there, too.
        """
        with locked(self.out):
            self._refresh()
            return self._write()

    def _refresh(self) -> None:
        self.known = read_known(self.out, on=self.asked.on, folds=self.asked.folds)
        for result in read_results(self.out):
            self.results[result.combination.name] = with_persons(result, self.asked.persons)

    def _write(self) -> dict[str, Any]:
        listed = self._combinations()
        ordered = [self.results[one.name] for one in listed if one.name in self.results]
        write_results(self.out / RESULTS, ordered)
        entries = self.asked.describe_entries(ordered, self.known.entries_of(listed))
        against = self.about["against"]
        if self.keeps_against and self.known.against in entries:
            against = self.known.against
        content = {
            **self.about,
            "against": against,
            "computed_with": computed_with(ordered),
            "entries": entries,
            "labelled": sorted({one.labelled for one in listed}),
            "seeds": sorted({one.seed for one in listed}),
            "combinations": [self._state(one) for one in listed],
            **summarise_study(ordered, against=against),
        }
        write_text(self.out / STUDY, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
        if self.results:
            write_tables(content, self.out)
        return content

    def finish(self) -> StudyFolder:
        """Write everything, with the page where there is something to show."""
        content = self.write()
        page = None
        if self.results:
            page, pictures = self.out / REPORT, study_pictures(self.out)
            with locked(self.out):
                write_study_page(self.out, page, pictures=pictures)
        asked = len(self.asked.grid)
        unfinished = {one.name for one in self.asked.grid} - self.results.keys()
        elsewhere = len(unfinished - self.begun)
        failed = {name: error for name, error in self.errors.items() if name not in self.results}
        return StudyFolder(self.out, self.out / RESULTS, page, content, failed, asked, elsewhere)

    def _combinations(self) -> list[Combination]:
        """Those asked for now, then all others of the study, in an order that does not depend on time.

        What was asked for before and has no result stays in: means that lack a seed or a fold must be marked.
        """
        others = {one.name: one for one in self.known.combinations}
        others |= {name: result.combination for name, result in self.results.items()}
        for one in self.asked.grid:
            others.pop(one.name, None)
        return [*self.asked.grid, *sorted(others.values(), key=_place)]

    def _state(self, one: Combination) -> dict[str, Any]:
        result = self.results.get(one.name)
        earlier = None if one.name in self.begun else self.known.errors.get(one.name)
        error = None if result else self.errors.get(one.name, earlier)
        status: Status = "done" if result else "failed" if error else "waiting"
        cost = result.cost.model_dump(mode="json") if result else None
        return {**one.model_dump(mode="json"), "status": status, "error": error, "cost": cost}


def describe(
    *,
    data: StrPath,
    on: Scored,
    folds: int | None,
    persons: Mapping[str, str],
    unscored: Sequence[str],
    config: StrPath | None,
    environment: Mapping[str, Any],
    steps: int | None,
    against: str,
    hours: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What of ``study.json`` is known before anything is computed."""
    digest = None if config is None else hashlib.sha256(Path(config).read_bytes()).hexdigest()
    return {
        "duoseg": __version__,
        "environment": dict(environment),
        "data": {
            "path": str(data),
            "on": on,
            "folds": folds,
            "cases": len(persons),
            "persons": len(set(persons.values())),
            "unscored": list(unscored),
        },
        "config": {"file": None if config is None else str(config), "sha256": digest},
        "steps": steps,
        "hours": None if hours is None else dict(hours),
        "against": against,
    }


def _place(one: Combination) -> tuple[int, str, int, int]:
    return one.labelled, one.method, one.seed, -1 if one.fold is None else one.fold
