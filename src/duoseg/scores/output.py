"""Scores as JSON, as CSV, and as the cells of a table."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duoseg.files import atomic_path, write_text
from duoseg.scores.evaluate import Scores
from duoseg.scores.policy import METRICS

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


def to_json(scores: Scores) -> dict[str, Any]:
    """Return the scores file's content: cases, mean, policy, problems; undefined values are ``None``."""
    return {
        "cases": [{"case": case.case, "labels": case.labels} for case in scores.cases],
        "mean": scores.means(),
        "policy": scores.policy,
        "problems": [
            {
                "severity": problem.severity,
                "file": str(problem.file),
                "message": problem.message,
                "remedy": problem.remedy,
            }
            for problem in scores.problems
        ],
    }


def write_json(scores: Scores, path: Path) -> None:
    """Write `to_json` as strict JSON (undefined values are ``null``, never NaN), atomically."""
    write_text(path, json.dumps(to_json(scores), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_csv(scores: Scores, path: Path) -> None:
    """Write one row per case and label, atomically; an undefined value is an empty cell."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "label", *METRICS])
        for case in scores.cases:
            for label, values in case.labels.items():
                writer.writerow([case.case, label, *("" if values[m] is None else values[m] for m in METRICS)])


def format_table(scores: Scores, *, cases: bool = False) -> Table:
    """Lay out the means, one row per label and one for ``all``; with ``cases`` every case's rows come first.

    Units stand in the titles; an undefined value is a dash, and the last column counts them.
    """
    tolerance = scores.policy["tolerance_mm"]
    titles = ("Dice", "Jaccard", "HD95 mm", "ASSD mm", f"NSD {tolerance:g} mm", "Volume ml", "Reference ml")
    rows: list[tuple[str, ...]] = []
    if cases:
        rows += [
            (case.case, label, *_cells(values), "") for case in scores.cases for label, values in case.labels.items()
        ]
    means = scores.means()
    if len(means) == 2:
        # With one label the mean over labels says the same again.
        means.pop("all")
    rows += [("mean", label, *_cells(values), str(values["n_undefined"])) for label, values in means.items()]
    columns = ("Case", "Label", *titles, "Undefined")
    if cases:
        return Table(columns, tuple(rows), text_columns=2)
    return Table(columns[1:], tuple(row[1:] for row in rows), text_columns=1)


def _cells(values: Mapping[str, float | int | None]) -> list[str]:
    cells: list[str] = []
    for metric in METRICS:
        value = values[metric]
        cells.append("-" if value is None else f"{value:.{DECIMALS[metric]}f}")
    return cells
