"""The scores of masks, and their means as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from duoseg.pictures.html import table, titled
from duoseg.scans.cases import Problem
from duoseg.scans.texts import count_text
from duoseg.scores import policy
from duoseg.scores.policy import METRICS, Values
from duoseg.scores.statistics import defined_mean

DECIMALS = {
    "dice": 3,
    "jaccard": 3,
    "hd95_mm": 2,
    "assd_mm": 2,
    "nsd": 3,
    "volume_ml": 2,
    "reference_volume_ml": 2,
}


@dataclass(frozen=True)
class Table:
    """A table as data: column titles, and rows of as many cells; the first ``text_columns`` hold text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int


@dataclass(frozen=True)
class CaseScores:
    """One case: for each label by name its scores."""

    case: str
    labels: dict[str, Values]

    @property
    def dice(self) -> float | None:
        """Its mean Dice over labels, as far as defined."""
        return defined_mean([values["dice"] for values in self.labels.values()])

    @property
    def dice_of_present(self) -> float | None:
        """Its mean Dice over the labels that are in the mask or in the reference; None where there is none.

        What `duoseg.scores.overlap.mean_dice` makes of voxel counts.
        """
        return defined_mean([values["dice"] for values in self.labels.values() if not policy.is_absent(values)])


@dataclass(frozen=True)
class Scores:
    """The scores of all cases, with the policy behind them and the problems met on the way."""

    cases: tuple[CaseScores, ...]
    policy: dict[str, Any]
    problems: tuple[Problem, ...] = ()

    def means(self) -> dict[str, dict[str, float | int | None]]:
        """Mean over cases per label, and under ``all`` the mean of those over labels.

        Undefined values are left out. ``n_undefined`` counts the cases without a surface distance, under
        ``all`` those of all labels.
        """
        names = list(dict.fromkeys(name for case in self.cases for name in case.labels))
        means: dict[str, dict[str, float | int | None]] = {}
        for name in names:
            values = [case.labels[name] for case in self.cases if name in case.labels]
            means[name] = {metric: defined_mean([one[metric] for one in values]) for metric in METRICS}
            means[name]["n_undefined"] = sum(policy.is_undefined(one) for one in values)
        overall = {metric: defined_mean([means[name][metric] for name in names]) for metric in METRICS}
        undefined = sum(int(means[name]["n_undefined"] or 0) for name in names)
        return {**means, "all": {**overall, "n_undefined": undefined}}

    def table(self, *, cases: bool = False) -> Table:
        """Lay out the means, one row per label and one for ``all``; with ``cases`` every case's rows come first.

        Units stand in the titles; an undefined value is a dash, and the last column counts them.
        """
        tolerance = self.policy["tolerance_mm"]
        titles = ("Dice", "Jaccard", "HD95 mm", "ASSD mm", f"NSD {tolerance:g} mm", "Volume ml", "Reference ml")
        rows: list[tuple[str, ...]] = []
        if cases:
            rows += [
                (case.case, label, *_cells(values), "") for case in self.cases for label, values in case.labels.items()
            ]
        means = self.means()
        if len(means) == 2:
            # With one label the mean over labels says the same again.
            means.pop("all")
        rows += [("mean", label, *_cells(values), str(values["n_undefined"])) for label, values in means.items()]
        columns = ("Case", "Label", *titles, "Undefined")
        if cases:
            return Table(columns, tuple(rows), text_columns=2)
        return Table(columns[1:], tuple(row[1:] for row in rows), text_columns=1)

    def _repr_html_(self) -> str:
        """The means as a table."""
        shown = self.table()
        return titled(f"Means over {count_text(len(self.cases), 'scan')}", table(shown.columns, shown.rows))


def _cells(values: Mapping[str, float | int | None]) -> list[str]:
    cells: list[str] = []
    for metric in METRICS:
        value = values[metric]
        cells.append("-" if value is None else f"{value:.{DECIMALS[metric]}f}")
    return cells
