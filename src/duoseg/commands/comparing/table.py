"""A study in a few columns, for the end of ``duoseg compare``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duoseg.study.reading import parse_study
from duoseg.study.sentences import MISSING, few_seeds, interval, marked, number, p_text, signed, unfinished
from duoseg.study.tables import cost_cells, cost_headings, entries

METRIC = "dice"
TEXT_COLUMNS = 1


def overview(content: Mapping[str, Any]) -> tuple[list[str], list[list[str]], str]:
    """Headings, rows (Dice with its interval, the difference to what is compared with, its verdict, cost), and a note.

    The note says what is incomplete, and what no mark can say; it is empty where there is nothing of the kind.

    Args:
        content: of ``study.json``.
    """
    study = parse_study(content)
    cost = [str(heading) for heading in cost_headings(study)]
    headings = ["method", "labelled", "Dice (%)", f"minus {study.against}", "verdict", "p (Holm)", *cost]
    rows = []
    for method, labelled in entries(study):
        mean = study.mean(method, labelled, METRIC)
        score = _with_bounds(number(mean.mean, METRIC), interval(mean.low, mean.high, METRIC)) if mean else MISSING
        found = study.difference(method, labelled, METRIC)
        compared = ["", "", ""]
        if found is not None:
            bounds = interval(found.low, found.high, METRIC, sign=True)
            difference = _with_bounds(signed(found.difference, METRIC), bounds)
            compared = [difference, found.verdict, p_text(found.p_holm)]
        rows.append(
            [marked(study, method, labelled), str(labelled), score, *compared, *cost_cells(study, method, labelled)]
        )
    lacking = unfinished(study)
    notes = [f"{lacking} Differences are on the seeds that both have." if lacking else "", few_seeds(study)]
    return headings, rows, " ".join(filter(None, notes))


def _with_bounds(value: str, bounds: str) -> str:
    return f"{value} ({bounds})" if bounds else value
