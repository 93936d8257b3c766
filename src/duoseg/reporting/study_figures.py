"""The charts of a study's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from duoseg.reporting.charts import Line, smooth, wants_log
from duoseg.reporting.drawing import padded
from duoseg.reporting.study_charts import Bar, Curve, panel, rows_chart
from duoseg.reporting.study_scatter import Point, scatter
from duoseg.scans.texts import count_text
from duoseg.study.grid import Combination
from duoseg.study.reading import Study
from duoseg.study.records import Row
from duoseg.study.sentences import TITLES, UNITS, scaled
from duoseg.study.statistics import LOWER_IS_BETTER, METRICS, mean_defined
from duoseg.study.summary import make_cube
from duoseg.training.log import read_log

_LOSS_POINTS = 60


@dataclass(frozen=True)
class Figure:
    """A chart with what stands above it."""

    title: str
    hint: str
    chart: Markup


def seed_figures(study: Study) -> list[Figure]:
    """Each method's mean with its interval, and the mean of every seed."""
    figures: list[Figure] = []
    for labelled in study.labelled:
        for metric in ("dice", "hd95_mm_ranked"):
            bars: list[Bar] = []
            for method in study.entries:
                row = study.mean(method, labelled, metric)
                if row is None or row.mean is None:
                    continue
                each = row.seeds.items()
                dots = [(f"seed {seed}", scaled(value, metric)) for seed, value in each if value is not None]
                bars.append(Bar(method, dots, scaled(row.mean, metric), _bounds(row.low, row.high, metric)))
            figures += _figure(_named(metric, labelled), _direction(metric), bars, zero=False)
    return figures


def difference_figures(study: Study, metrics: Sequence[str]) -> list[Figure]:
    """How far each method lies from the one it is compared with; the best comes first."""
    figures: list[Figure] = []
    for labelled in study.labelled:
        for metric in metrics:
            found = [study.difference(method, labelled, metric) for method in study.rivals]
            good = -1 if metric in LOWER_IS_BETTER else 1
            rows = sorted((row for row in found if row), key=lambda row: -good * row.difference)
            marks = {"better": "better", "worse": "worse", "no difference shown": "plain"}
            bars = [
                Bar(
                    row.method,
                    mean=scaled(row.difference, metric),
                    interval=_bounds(row.low, row.high, metric),
                    mark=marks[row.verdict],
                )
                for row in rows
            ]
            better = "better is to the " + ("left" if metric in LOWER_IS_BETTER else "right")
            figures += _figure(_named(metric, labelled), better, bars, zero=True)
    return figures


def scan_figures(study: Study, scores: Sequence[tuple[Combination, Row]]) -> list[Figure]:
    """Every scan's difference in Dice, seeds averaged first."""
    figures: list[Figure] = []
    for labelled in study.labelled:
        chosen = [(about, row) for about, row in scores if about.labelled == labelled]
        cube = make_cube(chosen)
        if study.against not in cube.methods or study.main_class not in cube.classes:
            continue
        place = cube.classes.index(study.main_class), METRICS.index("dice")
        values = cube.values[:, :, :, place[0], place[1]]
        apart = mean_defined(values - values[cube.methods.index(study.against)], axis=1)
        bars: list[Bar] = []
        for method in study.rivals:
            if method not in cube.methods:
                continue
            pairs = zip(cube.cases, apart[cube.methods.index(method)].tolist(), strict=True)
            dots = [(case, scaled(value, "dice")) for case, value in pairs if np.isfinite(value)]
            if dots:
                bars.append(Bar(method, dots, float(np.mean([value for _, value in dots]))))
        figures += _figure(_named("dice", labelled), "better is to the right", bars, zero=True)
    return figures


@dataclass(frozen=True)
class ScanTable:
    """Every scan's Dice in percent by each method, seeds averaged.

    Attributes:
        title: what it is of.
        methods: of the columns.
        rows: a scan's name and its values; None where a method has none.
    """

    title: str
    methods: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float | None]]]


def scan_tables(study: Study, scores: Sequence[tuple[Combination, Row]]) -> list[ScanTable]:
    """A table for each number of labelled scans that has scores."""
    found = []
    for labelled in study.labelled:
        cube = make_cube([(about, row) for about, row in scores if about.labelled == labelled])
        if study.main_class not in cube.classes:
            continue
        values = cube.values[:, :, :, cube.classes.index(study.main_class), METRICS.index("dice")]
        means = mean_defined(values, axis=1)
        methods = [method for method in study.entries if method in cube.methods]
        places = [cube.methods.index(method) for method in methods]
        rows = [
            (case, [scaled(float(one), "dice") if np.isfinite(one) else None for one in means[places, index]])
            for index, case in enumerate(cube.cases)
        ]
        found.append(ScanTable(_named("dice", labelled), methods, sorted(rows)))
    return found


def cost_figures(study: Study) -> list[Figure]:
    """Accuracy against what a training takes: processor time, or wall time where a GPU did the work."""
    name, words = ("train_wall_s", "wall time") if study.knows_gpu else ("train_cpu_s", "processor time")
    figures: list[Figure] = []
    for labelled in study.labelled:
        points: list[Point] = []
        for method in study.entries:
            row, seconds = study.mean(method, labelled, "dice"), study.cost(method, labelled, name)
            if row is not None and row.mean is not None and seconds is not None:
                points.append(Point(method, seconds / 60, scaled(row.mean, "dice"), method == study.against))
        title = _named("dice", labelled)
        chart = scatter(points, title=f"{title} against {words}", x_label=f"{words} of one training, min", y_label="%")
        figures += [Figure(title, f"against {words} of one training", chart)] if chart else []
    return figures


def count_panels(study: Study) -> list[Figure]:
    """Dice against the number of labelled scans, a panel a method; empty for one number alone."""
    metric = "dice"
    curves = {method: _by_count(study, method, metric, "s0") for method in study.entries}
    counts = [float(labelled) for labelled in study.labelled]
    values = [
        value for curve in curves.values() for value in [*curve.y, *(b for pair in curve.bounds for b in pair or ())]
    ]
    if len(counts) < 2 or not values:
        return []
    reference = _by_count(study, study.against, metric, "reference")
    figures: list[Figure] = []
    for method, curve in curves.items():
        drawn = [curve] if method == study.against else [reference, curve]
        drawn = [one for one in drawn if one.x]
        spoken = ", ".join(f"{y:.2f} with {x:g}" for x, y in zip(curve.x, curve.y, strict=True))
        title = f"{TITLES[metric]} of {method} by number of labelled scans: {spoken or 'no result'}"
        chart = panel(drawn, title=title, y_limits=padded(values), x_ticks=counts, log="x")
        figures.append(Figure(method, "", chart))
    return figures


def loss_panels(study: Study, folder: Path) -> list[Figure]:
    """Total loss by step, a panel a method: every training faint, the mean over seeds for each label count strong."""
    figures: list[Figure] = []
    for method in study.entries:
        faint: list[Curve] = []
        strong: list[Curve] = []
        for number, labelled in enumerate(study.labelled):
            lines = [_loss(folder / one.name) for one in study.outcomes(method, labelled) if one.status == "done"]
            lines = [line for line in lines if line.x]
            faint += [Curve(f"faint s{number % 4}", line.x, line.y) for line in lines]
            if lines:
                steps = max((line.x for line in lines), key=len)
                mean = np.mean([np.interp(steps, line.x, line.y) for line in lines], axis=0)
                strong.append(Curve(f"s{number % 4}", steps, mean.tolist()))
        if not strong:
            continue
        curves = [*(faint if len(faint) > len(strong) else []), *strong]
        log = wants_log([Line("", curve.x, curve.y) for curve in curves])
        values = [value for curve in curves for value in curve.y]
        limits = (min(values), max(values) * 1.05) if log else (min(0.0, *values), max(values) * 1.05)
        last = float(max(one.cost.steps for one in study.combinations if one.cost and one.method == method))
        ends = ", ".join(f"{curve.y[-1]:.3g}" for curve in strong)
        chart = panel(
            curves,
            title=f"Loss of {method} by step; at the end {ends}",
            y_limits=limits,
            x_ticks=[0.0, last],
            log="y" if log else "",
        )
        figures.append(Figure(method, "", chart))
    return figures


def _loss(run: Path) -> Line:
    records = [record for record in read_log(run) if "loss" in record]
    line = Line(run.name, [record["step"] for record in records], [record["loss"] for record in records])
    return smooth(line, _LOSS_POINTS)


def _by_count(study: Study, method: str, metric: str, style: str) -> Curve:
    rows = [
        row for labelled in study.labelled if (row := study.mean(method, labelled, metric)) and row.mean is not None
    ]
    return Curve(
        style,
        [float(row.labelled) for row in rows],
        [scaled(row.mean or 0.0, metric) for row in rows],
        [_bounds(row.low, row.high, metric) for row in rows],
    )


def _figure(title: str, hint: str, bars: Sequence[Bar], *, zero: bool) -> list[Figure]:
    chart = rows_chart(bars, title=title, zero=zero)
    return [Figure(title, hint, chart)] if chart else []


def _named(metric: str, labelled: int) -> str:
    return f"{TITLES[metric]}, {UNITS[metric]}, {count_text(labelled, 'labelled scan')}"


def _direction(metric: str) -> str:
    return "smaller is better" if metric in LOWER_IS_BETTER else "larger is better"


def _bounds(low: float | None, high: float | None, metric: str) -> tuple[float, float] | None:
    return None if low is None or high is None else (scaled(low, metric), scaled(high, metric))
