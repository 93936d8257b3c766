"""What a report is made from: plain data about runs and scans, no folders and no networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RunSummary:
    """One training run, as the page shows it.

    Attributes:
        name: How the page calls the run; unique on a page.
        method: The method's name.
        steps: Training steps taken.
        seconds: Wall time of training.
        records: The log: one mapping a logged step, ``step`` and each loss term by name.
        scores: The content of a scores file, or ``None`` where the run has not been scored.
        persons: Case -> person, of scored cases; one that is not named is a person of its own.
        plan: The plan as JSON values, with its ``reasons``.
        environment: Versions, device and the like, by name.
        settings: The method's and the run's settings, by name.
        source: Where the method comes from, such as the paper to cite.
        labelled_terms: The loss terms that annotated patches alone make.
        apart_terms: Those by which other networks than the students learn.
    """

    name: str
    method: str
    steps: int
    seconds: float
    records: Sequence[Mapping[str, float]] = ()
    scores: Mapping[str, Any] | None = None
    persons: Mapping[str, str] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    labelled_terms: Sequence[str] = ("region",)
    apart_terms: Sequence[str] = ()
