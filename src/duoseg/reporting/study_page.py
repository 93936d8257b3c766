"""The page about a study: one HTML file that needs no network, script library or second file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from duoseg.files import read_json, write_text
from duoseg.pictures.planes import CasePicture
from duoseg.reporting.page import fixed, shown_scans
from duoseg.reporting.study_figures import (
    cost_figures,
    count_panels,
    difference_figures,
    loss_panels,
    scan_figures,
    scan_tables,
    seed_figures,
)
from duoseg.reporting.study_verdict import verdict
from duoseg.reporting.templating import asset, environment, script_hash
from duoseg.study.reading import STUDY, Study, parse_study, read_scores
from duoseg.study.sentences import definitions, marks_text, scope
from duoseg.study.tables import latex, markdown, tables

_WITH_INTERVAL = re.compile(r"(\S+) \((.+ to .+)\)")


def write_study_page(folder: Path, out: Path, *, pictures: Sequence[tuple[str, CasePicture]] = ()) -> None:
    """Write the page about a study, atomically.

    Args:
        folder: of the study: ``study.json``; ``results.csv`` and the runs' ``log.jsonl`` are shown where present.
        out: the HTML file; its folder is created if absent.
        pictures: scans to show, each with a label such as "best: duo".

    Raises:
        InputError: ``study.json`` is missing, or one of the files is damaged.
    """
    path = folder / STUDY
    content = read_json(path)
    study = parse_study(content, source=str(path))
    write_text(out, render(study, content, folder, title=f"Study {folder.resolve().name}", pictures=pictures))


def render(
    study: Study,
    content: Mapping[str, Any],
    folder: Path,
    *,
    title: str,
    pictures: Sequence[tuple[str, CasePicture]] = (),
) -> str:
    """The page as text; see `write_study_page`. ``content`` is that of ``study.json``, as tables are made from it."""
    engine = environment()
    engine.filters |= {"halves": halves, "fixed": fixed}
    shown = shown_scans(pictures)
    scripts = [*shown["scripts"], Markup(asset("study.js"))]
    every, scores = tables(study), read_scores(folder)
    return engine.get_template("study.html.j2").render(
        title=title,
        study=study,
        scope=scope(study),
        verdict=verdict(study),
        definitions=definitions(study),
        marks=marks_text(study),
        methods=every[0],
        details=every[1:],
        differences=difference_figures(study, ("dice", "hd95_mm_ranked")),
        more_differences=difference_figures(study, ("jaccard", "nsd", "assd_mm_ranked")),
        scans=scan_figures(study, scores),
        every_scan=scan_tables(study, scores),
        seeds=seed_figures(study),
        counts=count_panels(study),
        costs=cost_figures(study),
        losses=loss_panels(study, folder),
        settings=[_entry(name, study) for name in study.entries],
        environment=list(_flat(study.environment)),
        sources=[("Markdown", "tables-markdown", markdown(content)), ("LaTeX", "tables-latex", latex(content))],
        **shown
        | {
            "style": shown["style"] + Markup(asset("study.css")),
            "scripts": scripts,
            "script_hashes": [script_hash(script) for script in scripts],
        },
    )


def halves(cell: str) -> tuple[str, str]:
    """A cell's value and, where it has one, its interval."""
    match = _WITH_INTERVAL.fullmatch(cell)
    return (match[1], match[2]) if match else (cell, "")


def _entry(name: str, study: Study) -> tuple[str, str, str, str]:
    """An entry's name, method, steps and settings as the cells of a table."""
    entry = study.entries[name]
    different = len(set(entry.steps.values())) > 1
    steps = [f"{count} ({labelled} labelled)" if different else str(count) for labelled, count in entry.steps.items()]
    settings = "; ".join(f"{key} {value}" for key, value in _flat(entry.settings))
    return name, entry.method, ", ".join(dict.fromkeys(steps)), settings or "none"


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Name and value of every setting, sections by dotted names."""
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        else:
            words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            found.append((f"{prefix}{key}", words))
    return found
