"""The report: one HTML file that needs no network, script library or second file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from duoseg.files import write_text
from duoseg.pictures.html import plane_svg
from duoseg.pictures.planes import CasePicture, planes
from duoseg.reporting import run_progress, run_verdict
from duoseg.reporting.charts import LINE_STYLES, Strip, line_chart, strip_plot
from duoseg.reporting.records import RunSummary
from duoseg.reporting.templating import asset, environment, script_hash
from duoseg.reporting.volumes import class_values, inlined, viewer_script
from duoseg.scans.texts import duration_text

_SIZES = ("spacing", "patch", "stride", "strides")
_MISSING = "–"


@dataclass(frozen=True)
class PlanRow:
    """One choice of the plan: its name, its value in words, and why (empty where no reason is given)."""

    name: str
    value: str
    reason: str


def write_report(
    path: Path,
    *,
    title: str,
    runs: Sequence[RunSummary],
    pictures: Sequence[tuple[str, CasePicture]] = (),
    notes: Sequence[str] = (),
    refresh_seconds: int | None = None,
) -> Path:
    """Write the page, atomically, and return its path.

    Args:
        path: The HTML file; its folder is created if absent.
        title: The page's heading.
        runs: In the order in which the page is to name them; where there are two, differences are second minus first.
        pictures: Scans to show, each with a label such as "best".
        notes: Further paragraphs of plain text for the summary.
        refresh_seconds: Of a page that is written again and again: how often a browser is to load it anew.
    """
    write_text(path, render(title=title, runs=runs, pictures=pictures, notes=notes, refresh_seconds=refresh_seconds))
    return path


def render(
    *,
    title: str,
    runs: Sequence[RunSummary],
    pictures: Sequence[tuple[str, CasePicture]] = (),
    notes: Sequence[str] = (),
    refresh_seconds: int | None = None,
) -> str:
    """The page as text; see `write_report`."""
    engine = environment()
    engine.filters |= {"fixed": fixed, "signed": signed, "duration": duration_text}
    labels = run_verdict.label_names(runs)
    return engine.get_template("report.html.j2").render(
        title=title,
        notes=notes,
        scored=[run for run in runs if run.scores],
        labels=labels,
        verdict=run_verdict.verdict(runs),
        metrics=[(m, run_verdict.TITLES[m], run_verdict.DECIMALS[m]) for m in run_verdict.METRICS],
        mean_rows=run_verdict.mean_rows(runs),
        case_rows=run_verdict.case_rows(runs),
        strips=[chart for metric in ("dice", "hd95_mm") if (chart := _strips(runs, metric))],
        losses=[(run, names, chart) for run in runs for names, chart in [_losses(run)] if chart],
        learned=[(run, names, chart) for run in runs for names, chart in [_learned(run)] if chart],
        noted=[(run, names, chart) for run in runs for names, chart in [_noted(run)] if chart],
        line_styles=LINE_STYLES,
        warnings=[(run, text) for run in runs for text in run_progress.warnings(run)],
        refresh_seconds=refresh_seconds,
        **made_with(runs),
        policy=next((run.scores["policy"] for run in runs if run.scores and run.scores.get("policy")), {}),
        problems=[(run, problem) for run in runs if run.scores for problem in run.scores.get("problems", ())],
        **shown_scans(pictures),
    )


def made_with(runs: Sequence[RunSummary]) -> dict[str, Any]:
    """What a template needs to tell how runs were made, and what to cite."""
    return {
        "runs": runs,
        "plans": _shared(runs, "plan", plan_rows),
        "settings": _shared(runs, "settings", setting_rows),
        "environments": _shared(runs, "environment", setting_rows),
        "sources": list({run.method: run.source for run in runs if run.source}.items()),
    }


def shown_scans(pictures: Sequence[tuple[str, CasePicture]]) -> dict[str, Any]:
    """What a template needs to show scans, as pictures and in the viewer where there is one; style and scripts.

    Of several pictures of one scan the viewer has the first.
    """
    viewed = list({picture.case: (label, picture) for label, picture in reversed(pictures)}.values())[::-1]
    niivue = viewer_script() if pictures else None
    values = class_values([picture for _, picture in pictures])
    scripts = [asset("sort.js") + asset("report.js"), *([niivue, asset("viewer.js")] if niivue else [])]
    return {
        "pictures": [
            (label, picture, [plane_svg(plane, case=picture.case) for plane in planes(picture)])
            for label, picture in pictures
        ],
        "viewed": [f"{label}: {picture.case}" for label, picture in viewed],
        "volumes": [inlined(picture, values) for _, picture in viewed] if niivue else [],
        "shades": len(values),
        "style": Markup(asset("report.css")),
        "scripts": [Markup(script) for script in scripts],
        "script_hashes": [script_hash(script) for script in scripts],
    }


def fixed(value: float | None, decimals: int) -> str:
    """A number with so many decimals; a dash where it is undefined."""
    return _MISSING if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"


def signed(value: float | None, decimals: int) -> str:
    """A difference with its sign (a true minus sign); a dash where it is undefined."""
    return _MISSING if value is None else f"{value:+.{decimals}f}".replace("-", "−")


def plan_rows(plan: Mapping[str, Any]) -> list[PlanRow]:
    """The plan's choices with their reasons; a reason stands at the key that it names (such as ``network.stem``)."""
    given = dict(plan.get("reasons") or {})
    choices = {key: value for key, value in plan.items() if key != "reasons"}
    names = [name for name, _ in _flatten(choices, given)]
    # "schedule" is enough to name "optimiser.schedule".
    reasons = {
        key if key in names else next((name for name in names if name.endswith(f".{key}")), key): reason
        for key, reason in given.items()
    }
    rows = [PlanRow(name, value, reasons.pop(name, "")) for name, value in _flatten(choices, dict(reasons))]
    return rows + [PlanRow(name, "", reason) for name, reason in reasons.items()]


def _flatten(values: Mapping[str, Any], reasons: Mapping[str, str], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and value of every setting, sections by dotted names; a section with a reason of its own comes first."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and key != "classes":
            if name in reasons:
                yield name, ""
            yield from _flatten(value, reasons, f"{name}.")
        else:
            yield name, _words(value, " × " if key in _SIZES else ", ")


def setting_rows(values: Mapping[str, Any]) -> list[PlanRow]:
    """Settings by dotted names, without reasons."""
    return [PlanRow(name, value, "") for name, value in _flatten(values, {})]


def _words(value: Any, between: str = ", ") -> str:
    """A setting's value for people: no brackets or quotes, seven digits of a float at most."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_words(part)}" for key, part in value.items() if part is not None) or "none"
    if isinstance(value, (list, tuple)):
        nested = any(isinstance(part, (list, tuple, Mapping)) for part in value)
        return ("; " if nested else between).join(_words(part, between) for part in value) or "none"
    return str(value)


def _shared(runs: Sequence[RunSummary], attribute: str, to_rows: Any) -> list[tuple[str, list[PlanRow]]]:
    """One table for all runs that agree, each headed by the runs it holds for."""
    tables: list[tuple[list[str], Mapping[str, Any]]] = []
    for run in runs:
        values = getattr(run, attribute)
        same = next((names for names, other in tables if other == values), None)
        if same is not None:
            same.append(run.name)
        elif values:
            tables.append(([run.name], values))
    return [(", ".join(names), to_rows(values)) for names, values in tables]


def _losses(run: RunSummary) -> tuple[list[str], Markup]:
    """The run's loss terms and their curves."""
    lines = [run_progress.curve(run.records, name) for name in run_progress.loss_names(run.records)]
    return [line.name for line in lines], line_chart(lines, title=f"Loss terms of {run.name} by step")


def _learned(run: RunSummary) -> tuple[list[str], Markup]:
    """The run's classes and their Dice on training patches."""
    lines = run_progress.dice_curves(run.records)
    title = f"Dice of {run.name} on training patches by step"
    return [line.name for line in lines], line_chart(lines, title=title)


def _noted(run: RunSummary) -> tuple[list[str], Markup]:
    """What the run's method has noted, and its curves."""
    lines = run_progress.noted_curves(run.records)
    return [line.name for line in lines], line_chart(lines, title=f"Notes of {run.name} by step")


def _strips(runs: Sequence[RunSummary], metric: str) -> Markup:
    """All scans of every scored run on one axis."""
    strips: list[Strip] = []
    for run in runs:
        values = run_verdict.case_values(run, metric)
        summary = run_verdict.summary_of(run, values)
        bounds = None if summary.low is None or summary.high is None else (summary.low, summary.high)
        dots = [(case, value) for case, value in values.items() if value is not None]
        if dots:
            strips.append(Strip(run.name, dots, summary.mean, bounds))
    return strip_plot(strips, title=f"{run_verdict.TITLES[metric]} of each scan")
