"""From the results of a study's combinations to its summary and its comparisons."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from duoseg.errors import InputError
from duoseg.study.grid import Combination
from duoseg.study.records import Result, Row
from duoseg.study.statistics import (
    ALL,
    MEASURED,
    METRICS,
    Cube,
    compare_cube,
    mean_defined,
    summarise_cube,
    with_ranked,
)

Name = TypeVar("Name", bound=Hashable)


def summarise_study(results: Sequence[Result], *, against: str) -> dict[str, list[dict[str, Any]]]:
    """The statistics of a study, as ``study.json`` holds them; ``docs/reference/study.md`` has the definitions.

    Args:
        results: finished combinations; their order is that of the methods in the rows. Of an entry that lacks some,
            what there is is summarised, and compared on the scans and seeds that both entries have.
        against: name of the entry that the others are compared with.

    Returns:
        ``{"summary": [...], "comparisons": [...]}``: plain values without NaN.
    """
    summary: list[dict[str, Any]] = []
    comparisons: list[dict[str, Any]] = []
    for labelled in sorted({result.combination.labelled for result in results}):
        chosen = [result for result in results if result.combination.labelled == labelled]
        cube = make_cube([(result.combination, row) for result in chosen for row in result.rows])
        summary += summarise_cube(cube, labelled=labelled)
        comparisons += compare_cube(cube, labelled=labelled, against=against)
    return {"summary": summary, "comparisons": comparisons}


def make_cube(scores: Sequence[tuple[Combination, Row]]) -> Cube:
    """Rows of combinations with one label count as an array; the folds of a seed lie side by side as scans.

    Raises:
        InputError: a case is of two persons.
    """
    methods = _positions(combination.method for combination, _ in scores)
    seeds = _positions(sorted({combination.seed for combination, _ in scores}))
    persons: dict[str, str] = {}
    for _, row in scores:
        if persons.setdefault(row.case, row.person) != row.person:
            raise InputError(
                f"{row.case}: is of '{persons[row.case]}' in some results and of '{row.person}' in others; run "
                "`duoseg compare` again, which writes the results anew with the persons of the data set."
            )
    diagonals = {row.case: row.diagonal_mm for _, row in scores}
    cases = _positions(sorted(persons))
    classes = _positions(row.class_name for _, row in scores)
    values = np.full((len(methods), len(seeds), len(cases), len(classes), len(MEASURED)), np.nan)
    scored = np.zeros(values.shape[:3], bool)
    for combination, row in scores:
        which = methods[combination.method], seeds[combination.seed], cases[row.case]
        found = [getattr(row, metric) for metric in MEASURED]
        values[(*which, classes[row.class_name])] = [np.nan if value is None else value for value in found]
        scored[which] = True
    undefined = np.isnan(values) & scored[..., None, None]
    # A ranked distance has the undefined values of the distance itself.
    undefined = undefined[..., [MEASURED.index(name.removesuffix("_ranked")) for name in METRICS]].astype(int)
    values = with_ranked(values, np.array([diagonals[case] for case in cases]), scored)
    names = list(classes)
    if len(names) > 1:
        values = np.concatenate([values, mean_defined(values, axis=3)[:, :, :, None]], axis=3)
        undefined = np.concatenate([undefined, undefined.sum(axis=3, keepdims=True)], axis=3)
        names.append(ALL)
    return Cube(
        methods=list(methods),
        seeds=list(seeds),
        cases=list(cases),
        classes=names,
        persons=[persons[case] for case in cases],
        values=values,
        undefined=undefined,
        scored=scored,
    )


def _positions(names: Iterable[Name]) -> dict[Name, int]:
    return {name: index for index, name in enumerate(dict.fromkeys(names))}
