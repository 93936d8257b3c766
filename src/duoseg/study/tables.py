"""A study's tables for a paper: all methods, every seed, every class; as Markdown and as LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from duoseg.files import write_text
from duoseg.study.content import Difference
from duoseg.study.markup import Heading, PaperTable, escape_latex, escape_markdown, latex_table, markdown_table
from duoseg.study.reading import Study, parse_study
from duoseg.study.sentences import (
    MISSING,
    TITLES,
    UNITS,
    definitions,
    interval,
    marked,
    number,
    p_text,
    scope,
    signed,
)
from duoseg.study.statistics import COMPARED, DISTANCES

MARKDOWN, LATEX = "tables.md", "tables.tex"
MARKS = {"better": "▲", "worse": "▼", "no difference shown": ""}
_METHOD, _LABELLED = Heading("Method", is_text=True), Heading("Labelled")


def write_tables(study: Mapping[str, Any], folder: Path) -> None:
    """Write ``tables.md`` and ``tables.tex`` into a folder, atomically.

    Raises:
        InputError: ``study`` is not the content of a ``study.json``.
    """
    write_text(folder / MARKDOWN, markdown(study))
    write_text(folder / LATEX, latex(study))


def markdown(study: Mapping[str, Any]) -> str:
    """All tables as GitHub's Markdown, with the sentences that explain them.

    Raises:
        InputError: ``study`` is not the content of a ``study.json``.
    """
    read = parse_study(study)
    text = " ".join([scope(read), *definitions(read)])
    return "\n".join([f"{escape_markdown(text)}\n", *(markdown_table(table) for table in tables(read))])


def latex(study: Mapping[str, Any]) -> str:
    r"""All tables as LaTeX floats, with the sentences that explain them as a comment and a paragraph.

    ``\usepackage{booktabs}`` is all that they need.

    Raises:
        InputError: ``study`` is not the content of a ``study.json``.
    """
    read = parse_study(study)
    parts = ["% Made by duoseg. Needs \\usepackage{booktabs} and nothing else.\n"]
    parts += [latex_table(table) for table in tables(read)]
    parts.append("\n".join(escape_latex(sentence) for sentence in [scope(read), *definitions(read)]) + "\n")
    return "\n".join(parts)


def tables(study: Study) -> list[PaperTable]:
    """The main table, every seed, and where there are several classes one table for each."""
    found = [_methods(study), *(_seeds(study, metric) for metric in ("dice", "hd95_mm_ranked"))]
    if len(study.classes) > 1:
        found += [_one_class(study, name, place) for place, name in enumerate(study.classes, start=1)]
    return found


def cost_headings(study: Study) -> list[Heading]:
    """Titles of the columns of `cost_cells`."""
    gpu = [Heading("GPU", "MiB")] if study.knows_gpu else []
    return [Heading("CPU", "min"), Heading("Wall", "min"), Heading("Memory", "MiB"), *gpu, Heading("Parameters", "M")]


def cost_cells(study: Study, method: str, labelled: int) -> list[str]:
    """What one training takes, on average over an entry's combinations: minutes, MiB, millions of parameters."""
    scales = [("train_cpu_s", 60, 1), ("train_wall_s", 60, 1), ("peak_mib", 1, 0)]
    scales += [("gpu_peak_mib", 1, 0)] if study.knows_gpu else []
    cells: list[str] = []
    for name, unit, decimals in [*scales, ("parameters", 1e6, 2)]:
        value = study.cost(method, labelled, name)
        more = decimals + 1 if unit == 60 and value is not None and value < unit else decimals
        cells.append(MISSING if value is None else f"{value / unit:.{more}f}")
    return cells


def difference_cells(difference: Difference | None) -> list[str]:
    """Mark, difference with its interval, and Holm's p."""
    if difference is None:
        return ["", "", ""]
    row = difference
    bounds = interval(row.low, row.high, row.metric, sign=True)
    value = signed(row.difference, row.metric) + (f" ({bounds})" if bounds else "")
    return [MARKS[row.verdict], value, p_text(row.p_holm)]


def _methods(study: Study) -> PaperTable:
    """Scores, differences and cost of every entry."""
    metrics = _metrics(study, study.main_class)
    headings = [_METHOD, _LABELLED, *_score_headings(study, metrics), *cost_headings(study)]
    rows: list[list[str]] = []
    for method, labelled in entries(study):
        cells = [*_score_cells(study, method, labelled, metrics), *cost_cells(study, method, labelled)]
        rows.append([marked(study, method, labelled), str(labelled), *cells])
    title = "All methods: mean over scans (95% interval), difference in Dice, and cost of one training"
    return PaperTable("methods", title, headings, rows, _groups(study), fold=2 + len(metrics))


def _seeds(study: Study, metric: str) -> PaperTable:
    """Every seed's mean, and their spread."""
    headings = [_METHOD, _LABELLED, *(Heading(f"Seed {seed}") for seed in study.seeds), Heading("Mean"), Heading("SD")]
    rows: list[list[str]] = []
    for method, labelled in entries(study):
        row = study.mean(method, labelled, metric)
        each = [number(row.seeds.get(str(seed)) if row else None, metric) for seed in study.seeds]
        both = [number(row.mean if row else None, metric), number(row.seed_sd if row else None, metric)]
        rows.append([marked(study, method, labelled), str(labelled), *each, *both])
    title = f"{TITLES[metric]} ({UNITS[metric]}) with every seed, and the standard deviation over seeds"
    name = "seeds-" + metric.split("_")[0]
    return PaperTable(name, title, headings, rows, _groups(study))


def _one_class(study: Study, name: str, place: int) -> PaperTable:
    """The scores and differences of one class, with the distances in both versions."""
    metrics = _metrics(study, name)
    headings = [_METHOD, _LABELLED, *_score_headings(study, metrics)]
    rows: list[list[str]] = []
    for method, labelled in entries(study):
        cells = _score_cells(study, method, labelled, metrics, name)
        rows.append([marked(study, method, labelled), str(labelled), *cells])
    title = f"Class {name}: mean over scans (95% interval), and difference in Dice"
    return PaperTable(f"class-{place}", title, headings, rows, _groups(study), fold=2 + len(metrics))


def _metrics(study: Study, name: str) -> tuple[str, ...]:
    """What a table of a class shows: distances in both versions where one is undefined."""
    return (*COMPARED, *DISTANCES) if study.undefined(name) else COMPARED


def entries(study: Study) -> Iterator[tuple[str, int]]:
    """The rows of every table: entries with each number of labelled scans, as far as they belong to the study."""
    for labelled in study.labelled:
        for method in study.entries:
            if study.outcomes(method, labelled):
                yield method, labelled


def _groups(study: Study) -> list[int]:
    """Where another number of labelled scans begins."""
    counts = [labelled for _, labelled in entries(study)]
    return [index for index in range(1, len(counts)) if counts[index] != counts[index - 1]]


def _score_headings(study: Study, metrics: Sequence[str]) -> list[Heading]:
    difference = [Heading("", is_text=True), Heading(f"Dice minus {study.against}", "%"), Heading("p", "Holm")]
    return [*(Heading(TITLES[metric], UNITS[metric]) for metric in metrics), *difference]


def _score_cells(
    study: Study, method: str, labelled: int, metrics: Sequence[str], label: str | None = None
) -> list[str]:
    cells: list[str] = []
    for metric in metrics:
        row = study.mean(method, labelled, metric, label)
        bounds = interval(row.low, row.high, metric) if row and metric == "dice" else ""
        cells.append(number(row.mean if row else None, metric) + (f" ({bounds})" if bounds else ""))
    return cells + difference_cells(study.difference(method, labelled, "dice", label))
