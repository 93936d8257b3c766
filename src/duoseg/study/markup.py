"""A table as Markdown and as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
    "†": r"$^\dagger$",
}


@dataclass(frozen=True)
class Heading:
    """A column's title and unit; numbers are set to the right."""

    text: str
    unit: str = ""
    is_text: bool = False

    def __str__(self) -> str:
        return f"{self.text} ({self.unit})" if self.unit else self.text


@dataclass(frozen=True)
class PaperTable:
    """A table for people, in plain text.

    Attributes:
        name: for references to it, of letters and dashes.
        title: a sentence without its full stop.
        headings: one a column.
        rows: as many cells each.
        groups: indices of the rows that start a new group.
        fold: index of the column from which on LaTeX, whose pages are narrow, makes a second table; 0 for none.
        keys: number of columns that name a row, and stand in both.
    """

    name: str
    title: str
    headings: Sequence[Heading]
    rows: Sequence[Sequence[str]]
    groups: Sequence[int] = ()
    fold: int = 0
    keys: int = 2


def escape_latex(text: str) -> str:
    """Plain text as LaTeX that shows it; letters beyond Latin need an engine with Unicode fonts."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def escape_markdown(text: str) -> str:
    """Plain text as GitHub's Markdown that shows it, also in a table's cell."""
    # An underscore or a dash within a word means nothing, and names stay readable.
    escaped = re.sub(r"([\\`*\[\]<>|#~$]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))
    return re.sub(r"&(?=#?\w+;)", "&amp;", escaped)


def markdown_table(table: PaperTable) -> str:
    """The title in bold, and the table below it."""
    lines = [
        f"**{escape_markdown(table.title)}**",
        "",
        _markdown_row([str(heading) for heading in table.headings]),
        "|" + "|".join(" --- " if heading.is_text else " ---: " for heading in table.headings) + "|",
        *(_markdown_row(row) for row in table.rows),
    ]
    return "\n".join(lines) + "\n"


def latex_table(table: PaperTable) -> str:
    """One or two floats (``table*``, which in a page of one column is ``table``) that need the package booktabs."""
    if not table.fold:
        return _latex_float(table)
    keys = range(table.keys)
    first = _columns(table, [*keys, *range(table.keys, table.fold)])
    second = _columns(table, [*keys, *range(table.fold, len(table.headings))])
    second = replace(second, name=f"{table.name}-more", title=f"{table.title} (continued)")
    return f"{_latex_float(first)}\n{_latex_float(second)}"


def _columns(table: PaperTable, kept: Sequence[int]) -> PaperTable:
    rows = [[row[index] for index in kept] for row in table.rows]
    return replace(table, headings=[table.headings[index] for index in kept], rows=rows)


def _latex_float(table: PaperTable) -> str:
    columns = "".join("l" if heading.is_text else "r" for heading in table.headings)
    units = [heading.unit for heading in table.headings]
    lines = [
        r"\begin{table*}",
        r"  \centering",
        rf"  \caption{{{escape_latex(table.title)}.}}",
        rf"  \label{{tab:{table.name}}}",
        r"  \scriptsize",
        r"  \setlength{\tabcolsep}{3pt}",
        rf"  \begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"    \toprule",
        f"    {_latex_row([heading.text for heading in table.headings])}",
        *([f"    {_latex_row(units)}"] if any(units) else []),
        r"    \midrule",
    ]
    for index, row in enumerate(table.rows):
        if index and index in table.groups:
            lines.append(r"    \addlinespace")
        lines.append(f"    {_latex_row(row)}")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table*}"]) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(escape_markdown(cell) for cell in cells)} |"


def _latex_row(cells: Sequence[str]) -> str:
    # A bracket after a line's end would be read as a length.
    return " & ".join(f"{{}}{cell}" if cell.startswith("[") else cell for cell in map(escape_latex, cells)) + r" \\"
