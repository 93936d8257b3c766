"""Scores as JSON and as CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from duoseg.files import atomic_path, write_text
from duoseg.scores.policy import METRICS
from duoseg.scores.results import Scores


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
