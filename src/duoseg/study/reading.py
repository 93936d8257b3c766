"""A study's results as its ``study.json`` has them, and looked up by what a table or a chart asks for."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError, model_validator

from duoseg.errors import InputError
from duoseg.files import read_text
from duoseg.study.content import Data, Difference, EntryRow, Mean, Outcome, Part, Place, Source
from duoseg.study.grid import Combination
from duoseg.study.records import RESULTS, Row
from duoseg.study.statistics import ALL

STUDY = "study.json"
MOST_RESULTS_BYTES = 4 * 2**30
"""Of ``results.csv``: some 30 million rows."""

_ROW = frozenset(field.alias or name for name, field in Row.model_fields.items())


class Study(Part):
    """The content of a ``study.json``; ``docs/reference/study.md`` describes its fields."""

    duoseg: str
    environment: dict[str, Any] = Field(default_factory=dict)
    computed_with: list[str] = Field(default_factory=list)
    data: Data
    config: Source = Source()
    steps: int | None = None
    entries: dict[str, EntryRow]
    labelled: list[int]
    seeds: list[int]
    against: str
    combinations: list[Outcome]
    summary: list[Mean]
    comparisons: list[Difference]

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        if self.against not in self.entries:
            raise ValueError(f"'{self.against}', which the others are compared with, is no entry")
        return self

    @property
    def rivals(self) -> list[str]:
        """The entries that are compared with `against`, in the study's order."""
        return [method for method in self.entries if method != self.against]

    @cached_property
    def classes(self) -> list[str]:
        """The scored classes in order, without the mean over them."""
        return [name for name in dict.fromkeys(row.class_name for row in self.summary) if name != ALL]

    @property
    def main_class(self) -> str:
        """What the main tables show: the mean over classes, or the only class."""
        return self.classes[0] if len(self.classes) == 1 else ALL

    @cached_property
    def _means(self) -> dict[Place, Mean]:
        return {row.place: row for row in self.summary}

    @cached_property
    def _differences(self) -> dict[Place, Difference]:
        return {row.place: row for row in self.comparisons}

    def mean(self, method: str, labelled: int, metric: str, label: str | None = None) -> Mean | None:
        """The row of ``summary``; ``None`` where nothing was scored. Without ``label`` that of the main class."""
        return self._means.get((method, labelled, label or self.main_class, metric))

    def difference(self, method: str, labelled: int, metric: str, label: str | None = None) -> Difference | None:
        """The row of ``comparisons``; ``None`` where there is nothing to compare."""
        return self._differences.get((method, labelled, label or self.main_class, metric))

    def outcomes(self, method: str, labelled: int) -> list[Outcome]:
        """The combinations of one entry and label count, in order."""
        return [one for one in self.combinations if (one.method, one.labelled) == (method, labelled)]

    @property
    def unfinished(self) -> list[Outcome]:
        """The combinations that were asked for and have no result."""
        return [one for one in self.combinations if one.status != "done"]

    @cached_property
    def absent(self) -> list[Combination]:
        """What was never asked for of an entry, while others have it with the same number of labelled scans."""
        places = dict.fromkeys((one.method, one.labelled) for one in self.combinations)
        there = {one.name for one in self.combinations}
        return [one for place in places for one in self._wanted(*place) if one.name not in there]

    def missing(self, method: str, labelled: int) -> list[Combination]:
        """The seeds and folds that any entry has with so many labelled scans, and this one has no result of."""
        done = {one.name for one in self.outcomes(method, labelled) if one.status == "done"}
        return [one for one in self._wanted(method, labelled) if one.name not in done]

    def is_incomplete(self, method: str, labelled: int) -> bool:
        """Whether an entry lacks a result."""
        return bool(self.missing(method, labelled))

    def extent(self, labelled: int) -> tuple[list[str], list[int]]:
        """The entries and the seeds that there are with so many labelled scans."""
        methods = dict.fromkeys(one.method for one in self.combinations if one.labelled == labelled)
        return list(methods), self._axes[labelled][0]

    def _wanted(self, method: str, labelled: int) -> list[Combination]:
        seeds, folds = self._axes[labelled]
        return [Combination.of(method, labelled, seed, fold) for seed in seeds for fold in folds]

    @cached_property
    def _axes(self) -> dict[int, tuple[list[int], list[int | None]]]:
        """The seeds and folds of all entries together, by number of labelled scans."""
        found: dict[int, tuple[list[int], list[int | None]]] = {}
        for labelled in {one.labelled for one in self.combinations}:
            here = [one for one in self.combinations if one.labelled == labelled]
            folds = sorted({one.fold for one in here}, key=lambda fold: -1 if fold is None else fold)
            found[labelled] = sorted({one.seed for one in here}), folds
        return found

    def cost(self, method: str, labelled: int, name: str) -> float | None:
        """Mean of one cost over an entry's finished combinations; ``None`` where none knows it."""
        known = [getattr(one.cost, name) for one in self.outcomes(method, labelled) if one.cost]
        values = [value for value in known if value is not None]
        return float(np.mean(values)) if values else None

    @property
    def knows_gpu(self) -> bool:
        """Whether the memory of a GPU is known of any combination, which then trained on one."""
        return any(one.cost and one.cost.gpu_peak_mib is not None for one in self.combinations)

    def undefined(self, label: str | None = None) -> int:
        """How many distances are undefined in all results together; without ``label`` those of the main class."""
        name = label or self.main_class
        rows = (row for row in self.summary if row.metric == "hd95_mm" and row.class_name == name)
        return sum(row.n_undefined for row in rows)


def parse_study(content: Mapping[str, Any], *, source: str = STUDY) -> Study:
    """The content of a ``study.json``.

    Raises:
        InputError: it is none; the message names ``source`` and the first field at fault.
    """
    try:
        return Study.model_validate(content)
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(map(str, first["loc"])) or "as a whole"
        raise InputError(
            f"{source}: is no study ({where}: {first['msg'].lower()}); run `duoseg compare` again to write it anew."
        ) from fault


def read_scores(folder: Path) -> list[tuple[Combination, Row]]:
    """All rows of a study's ``results.csv``, each with the combination that it belongs to; none without the file.

    Raises:
        InputError: a row is damaged; the message names it.
    """
    path = folder / RESULTS
    return read_rows(path) if path.is_file() else []


def read_rows(path: Path) -> list[tuple[Combination, Row]]:
    """All rows of a table that `write_results` wrote, each with the combination that it belongs to.

    Raises:
        InputError: there is no such file, or a row is damaged; the message names it.
    """
    found: list[tuple[Combination, Row]] = []
    rows = csv.DictReader(io.StringIO(read_text(path, limit=MOST_RESULTS_BYTES)))
    try:
        for cells in rows:
            values = {key: value or None for key, value in cells.items() if key in _ROW}
            fold = int(cells["fold"]) if cells["fold"] else None
            about = Combination.of(cells["method"], int(cells["labelled"]), int(cells["seed"]), fold)
            found.append((about, Row.model_validate(values)))
    except (KeyError, TypeError, ValueError, csv.Error) as fault:
        raise InputError(
            f"{path}: row {len(found) + 2} holds no scores; run `duoseg compare` again to write the file anew."
        ) from fault
    return found
