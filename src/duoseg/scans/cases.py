"""The vocabulary of a data set: a case, and a problem that a person should know of."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "note"]
Side = Literal["train", "raw", "test"]


@dataclass(frozen=True)
class Case:
    """One scan of one person.

    Attributes:
        name: unique within the data set.
        images: one file per channel, in the order of the data set's channels.
        label: the label file, or None for an unlabelled scan.
        subject: the person; the case's own name where nobody said otherwise.
        subject_given: whether somebody said who it is. Otherwise the case is a person of its own, also where another
            case's person happens to be called like it.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None
    subject: str
    subject_given: bool = False

    @property
    def person(self) -> Hashable:
        """What is equal for the scans of one person, and for no others."""
        return self.subject_given, self.subject

    @property
    def files(self) -> tuple[Path, ...]:
        """Its images, then its label, if it has one."""
        return self.images if self.label is None else (*self.images, self.label)

    def without_label(self) -> Case:
        """Return this case as an unlabelled one."""
        return replace(self, label=None)


@dataclass(frozen=True)
class LeftOut:
    """A case that exists but cannot be used, with the problems that say why.

    Attributes:
        case: the case as it should be; of its files some do not exist.
        side: where it would be used; "raw" if among the scans that have no labels.
        problems: what is wrong with it.
    """

    case: Case
    side: Side
    problems: tuple[Problem, ...]

    @property
    def test(self) -> bool:
        """Whether it is for testing."""
        return self.side == "test"


@dataclass(frozen=True)
class Problem:
    """Something wrong or noteworthy.

    Attributes:
        severity: "error" where training would fail or be wrong, "warning" where a person should look, "note"
            for what was assumed.
        file: the file or folder concerned.
        message: what is wrong, and by how much.
        remedy: what to do about it.
    """

    severity: Severity
    file: Path
    message: str
    remedy: str

    def __str__(self) -> str:
        """Return the problem as one line."""
        return f"{self.file}: {self.message}; {self.remedy}."
