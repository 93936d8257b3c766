"""What a check found, as a table and a list."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from duoseg.scans.cases import Problem
from duoseg.scans.scan import Grid

Role = Literal["labelled", "unlabelled", "holdout", "test"]


@dataclass(frozen=True)
class Row:
    """One case of the table.

    Attributes:
        case: its name.
        role: what it is used for.
        grid: where its voxels lie; None where no image could be read.
        channels: number of image files.
        values: value in the label file -> volume in ml; None where there is no label or it was not opened.
        verdict: "ok", or how many problems it has.
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
            " x ".join(map(str, grid.shape)) if grid else "-",
            " x ".join(f"{side:.3g}" for side in grid.spacing) if grid else "-",
            grid.orientation if grid else "-",
            str(row.channels),
            "-" if row.values is None else self._volumes(row.values),
            row.verdict,
        )

    def _volumes(self, values: dict[int, float]) -> str:
        shown = {value: ml for value, ml in values.items() if value != 0}
        return ", ".join(f"{self.class_names.get(value, value)} {ml:.3g}" for value, ml in shown.items()) or "empty"
