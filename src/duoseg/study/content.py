"""The pieces of a ``study.json``; ``docs/reference/study.md`` describes their fields."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from duoseg.study.folds import Scored
from duoseg.study.grid import Combination
from duoseg.study.records import Cost
from duoseg.study.statistics import Verdict

Place = tuple[str, int, str, str]
"""Method, number of labelled scans, class and metric."""


class Part(BaseModel):
    """A piece of it; what a later version adds is no reason to refuse the rest."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class _Score(Part):
    method: str
    labelled: int
    class_name: Annotated[str, Field(alias="class")]
    metric: str

    @property
    def place(self) -> Place:
        """What it is found by."""
        return self.method, self.labelled, self.class_name, self.metric


class Mean(_Score):
    """A row of ``summary``."""

    mean: float | None
    low: float | None
    high: float | None
    seeds: dict[str, float | None]
    seed_sd: float | None
    n: int
    n_undefined: int
    n_persons: int


class Difference(_Score):
    """A row of ``comparisons``: how far a method lies above the one it is compared with."""

    against: str
    difference: float
    low: float | None
    high: float | None
    p: float
    p_holm: float
    n_persons: int
    verdict: Verdict
    seeds: list[int] = []
    seed_differences: dict[str, float | None] | None = None


Status = Literal["done", "failed", "waiting"]


class Outcome(Combination):
    """A row of ``combinations``: one training and what became of it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    status: Status
    error: str | None = None
    cost: Cost | None = None


class EntryRow(Part):
    """An entry: its method, steps by number of labelled scans, and settings."""

    method: str
    steps: dict[str, int]
    settings: dict[str, Any]


class Data(Part):
    """What was scored."""

    path: str
    on: Scored
    folds: int | None = None
    cases: int
    persons: int
    unscored: list[str] = []


class Source(Part):
    """The configuration file, where there was one."""

    file: str | None = None
    sha256: str | None = None
