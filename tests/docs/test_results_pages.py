"""The tables of `docs/results/` are those that the scores beside them give: no number in them was written by hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
COSTS = sorted((REPOSITORY / "docs" / "results").glob("*-costs.csv"))
PAGES = [path.with_name(path.name.replace("-costs.csv", ".md")) for path in COSTS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_are_those_of_their_scores(page: Path, tmp_path: Path) -> None:
    for path in (page, page.with_suffix(".csv"), page.with_name(f"{page.stem}-costs.csv")):
        shutil.copy(path, tmp_path)
    made = tmp_path / page.name
    script = REPOSITORY / "benchmarks" / "results_page.py"
    subprocess.run([sys.executable, str(script), str(made)], check=True, timeout=120)
    assert made.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    assert made.with_suffix(".csv").read_bytes() == page.with_suffix(".csv").read_bytes()
