"""The format matrix: every format x oddity that is tested, and its page.

``python tests/scans/format_matrix.py`` writes the tables into ``docs/reference/formats.md``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import dicom_cells
import file_cells
import mask_cells
from format_cells import FORMATS, NOTED, READ, REFUSED, Cell

CELLS: tuple[Cell, ...] = (*file_cells.cells(), *mask_cells.cells(), *dicom_cells.cells())
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "formats.md"
BEGIN, END = "<!-- the matrix: written by tests/scans/format_matrix.py -->\n", "<!-- end of the matrix -->\n"
_WORDS = {READ: "read", NOTED: "read, noted: {}", REFUSED: "**refused**: {}"}


def rendered(cells: Sequence[Cell] = CELLS) -> str:
    """Return one table a section, and a list of what other libraries make of the same files."""
    sections = list(dict.fromkeys(cell.section for cell in cells))
    tables = [_table(section, [cell for cell in cells if cell.section == section]) for section in sections]
    count = {outcome: sum(cell.outcome == outcome for cell in cells) for outcome in _WORDS}
    outcomes = f"{count[READ]} read, {count[NOTED]} read with a note, {count[REFUSED]} refused"
    total = f"{len(cells)} cells, each a test: {outcomes}."
    return "\n".join([f"{total}\n", *tables, _differences(cells)])


def on_page(text: str) -> str:
    """Return what stands between the marks of the page."""
    return text.split(BEGIN)[1].split(END)[0].strip("\n") + "\n"


def _table(section: str, cells: list[Cell]) -> str:
    columns = [name for name in FORMATS if any(cell.format == name for cell in cells)]
    lines = [f"### {section}\n", f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for oddity in dict.fromkeys(cell.oddity for cell in cells):
        row = {cell.format: _words(cell) for cell in cells if cell.oddity == oddity}
        lines.append(f"| {oddity} | {' | '.join(row.get(name, '–') for name in columns)} |")
    return "\n".join([*lines, ""])


def _words(cell: Cell) -> str:
    return (cell.text or "read") if cell.outcome == READ else _WORDS[cell.outcome].format(cell.text)


def _differences(cells: Sequence[Cell]) -> str:
    """Return what other readers do, told once for all rows and formats where duoseg does the same."""
    lines = ["### Where another reader says something else\n", "| another reader | with | duoseg |", "|---|---|---|"]
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.differs:
            groups[cell.differs, _words(cell)].append(cell)
    for (differs, words), group in groups.items():
        lines.append(f"| {differs} | {_rows(group)} | {words} |")
    return "\n".join([*lines, ""])


def _rows(cells: Sequence[Cell]) -> str:
    formats: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        formats[cell.oddity].append(cell.format)
    return "; ".join(f"{oddity} ({', '.join(names)})" for oddity, names in formats.items())


def main() -> None:
    """Write the tables into the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{rendered()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
