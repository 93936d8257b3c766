"""What a check found, as a table and a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from duoseg.scans.cases import Problem, Severity
from duoseg.scans.scan import Grid
from duoseg.scans.texts import count_text, number_text, shape_text, some_text
from duoseg.scans.values import MAX_CLASSES

_MOST_SHOWN = 20  # values of a file that is no label

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""In the order in which problems are told."""

Role = Literal["labelled", "unlabelled", "holdout", "test"]


@dataclass(frozen=True)
class Row:
    """One case of the table.

    Attributes:
        case: its name.
        role: what it is used for.
        grid: where its voxels lie; None where no image could be read.
        channels: number of image files that are there.
        values: value in the label file -> volume in ml; None where there is no label or it was not opened.
        verdict: "ok", or how many problems the check told of its files.
    """

    case: str
    role: Role
    grid: Grid | None
    channels: int
    values: dict[int, float] | None
    verdict: str


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        rows: one per case, training before test.
        problems: errors first, then warnings, then notes.
        class_names: value in the label files -> class name, as far as declared.
    """

    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    class_names: dict[int, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the numbers of cases and problems."""
        found = severity_text(self.problems) or "no problems"
        return f"CheckReport({count_text(len(self.rows), 'case')}: {found})"

    @property
    def ok(self) -> bool:
        """Whether training would be right: no problem is an error."""
        return not any(problem.severity == "error" for problem in self.problems)

    def format(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Return headings and one row of texts per case, for one table."""
        headings = ("case", "role", "shape", "spacing (mm)", "axes", "channels", "label (ml)", "verdict")
        return headings, tuple(self._texts(row) for row in self.rows)

    def _texts(self, row: Row) -> tuple[str, ...]:
        grid = row.grid
        return (
            row.case,
            row.role,
            shape_text(grid.shape) if grid else "-",
            " x ".join(f"{side:.2f}" for side in grid.spacing) if grid else "-",
            grid.orientation if grid else "-",
            str(row.channels),
            "-" if row.values is None else self._volumes(row.values),
            row.verdict,
        )

    def _volumes(self, values: dict[int, float]) -> str:
        shown = {value: ml for value, ml in values.items() if value != 0}
        names = {value: self.class_names.get(value, f"class {value}:") for value in shown}
        texts = [f"{names[value]} {number_text(ml)}" for value, ml in shown.items()]
        return some_text(texts, most=MAX_CLASSES if len(texts) <= MAX_CLASSES else _MOST_SHOWN) or "empty"


def severity_text(problems: Iterable[Problem]) -> str:
    """Return how many problems there are of each severity, errors first; empty where there is none."""
    counts = Counter(problem.severity for problem in problems)
    return ", ".join(count_text(counts[severity], severity) for severity in SEVERITIES if counts[severity])
