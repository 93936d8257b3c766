"""Scores as JSON and as CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from duoseg.errors import InputError
from duoseg.files import MOST_SCORES_BYTES, atomic_path, read_json, write_text
from duoseg.scans.cases import Problem
from duoseg.scores.policy import METRICS
from duoseg.scores.results import CaseScores, Scores


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


def read_scores(path: Path) -> Scores:
    """Scores as `write_json` wrote them.

    Raises:
        InputError: the file is missing, or holds something else.
    """
    content = read_json(path, limit=MOST_SCORES_BYTES)
    try:
        cases = tuple(
            CaseScores(
                case["case"],
                {label: {metric: found.get(metric) for metric in METRICS} for label, found in case["labels"].items()},
            )
            for case in content["cases"]
        )
        problems = tuple(
            Problem(one["severity"], Path(one["file"]), one["message"], one["remedy"]) for one in content["problems"]
        )
        return Scores(cases, dict(content["policy"]), problems)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise InputError(f"{path}: holds no scores; give a file that `duoseg evaluate --json` wrote.") from fault


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
