"""The tables of `docs/results/` are those that the scores beside them give: no number in them was written by hand."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from duoseg.study.records import Result, write_result
from study_cases import make_result, make_row

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "benchmarks" / "results_page.py"
COSTS = sorted((REPOSITORY / "docs" / "results").glob("*-costs.csv"))
PAGES = [path.with_name(path.name.replace("-costs.csv", ".md")) for path in COSTS]


def load(name: str) -> Any:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, SCRIPT.with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_benchmark_of_speed_has_its_place_on_the_page() -> None:
    performance = load("performance")
    places = re.findall(r"<!-- (\w+) -->\n.*?<!-- end -->", performance.PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert places == list(performance.BENCHMARKS)
    assert all(SCRIPT.with_name(f"{name}.py").is_file() for name in places)


def test_all_pages_with_tables_are_looked_at() -> None:
    hippocampus = {"duo-ablation", "hippocampus", "hippocampus-labels"}
    left_atrium = {"duo-ablation-left-atrium", "left-atrium-compact", "left-atrium-cpu"}
    assert {page.stem for page in PAGES} == hippocampus | left_atrium


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_are_those_of_their_scores(page: Path, tmp_path: Path) -> None:
    for path in (page, page.with_suffix(".csv"), page.with_name(f"{page.stem}-costs.csv")):
        shutil.copy(path, tmp_path)
    made = tmp_path / page.name
    subprocess.run([sys.executable, str(SCRIPT), str(made)], check=True, timeout=120)
    assert made.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    for ending in (".csv", "-costs.csv"):
        beside = page.with_name(page.stem + ending)
        assert (tmp_path / beside.name).read_bytes() == beside.read_bytes()


def test_a_finished_study_is_added_to_a_page_and_replaces_what_it_computed_again(tmp_path: Path) -> None:
    page, study = tmp_path / "page.md", tmp_path / "study"
    page.write_text("Words stay.\n<!-- Below: benchmarks/results_page.py -->\nold tables\n", encoding="utf-8")

    def add(*results: Result) -> str:
        for result in results:
            write_result(study / result.combination.name, result)
        subprocess.run([sys.executable, str(SCRIPT), str(page), str(study)], check=True, timeout=120)
        return page.read_text(encoding="utf-8")

    def scored(method: str, dice: float) -> Result:
        return make_result(method, [make_row(case, dice) for case in "abcdefgh"])

    text = add(scored("supervised", 0.8))
    assert text.startswith("Words stay.") and "old tables" not in text and "| supervised | 4 | 80.00" in text
    text = add(scored("duo", 0.9), scored("supervised", 0.7))
    assert "| supervised | 4 | 70.00" in text and "| duo | 4 | 90.00" in text and "80.00" not in text


def test_what_would_not_be_comparable_is_no_part_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- Below: benchmarks/results_page.py --against duo -->\n", encoding="utf-8")

    def add(name: str, *results: Result) -> str:
        for result in results:
            write_result(tmp_path / name / result.combination.name, result)
        command = [sys.executable, str(SCRIPT), str(page), str(tmp_path / name)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stderr

    def scored(seed: int, cases: str = "abcdefgh", **config: object) -> Result:
        rows = [make_row(case, 0.8) for case in cases]
        return make_result("duo", rows, seed=seed).model_copy(update={"config": {"on": "test", **config}})

    assert add("first", scored(0, revision=1), scored(1, revision=1)) == ""
    before = page.read_text(encoding="utf-8")
    assert "duo-4-seed1: 200, 2" in add("other", scored(1, revision=2))
    assert "scored on holdout scans" in add("holdout", scored(1, on="holdout", revision=1))
    assert "not scored on the same scans" in add("fewer", scored(1, "abc", revision=1))
    assert page.read_text(encoding="utf-8") == before
    assert add("all", scored(0, revision=2), scored(1, revision=2)) == ""
    assert (tmp_path / "page-costs.csv").read_text().splitlines()[1].endswith(",2,,,,")


@pytest.mark.parametrize(
    ("second", "change", "told"),
    [
        (("duo", 4), {"settings": {"k": 2}}, "seeds of one row differ in settings"),
        (("dtml", 4), {"plan": {"patch": [9, 8, 8], "steps": 5}}, "combinations of one page differ in plan"),
        (("dtml", 8), {"precision": "16-mixed"}, "combinations of one page differ in precision"),
        (("dtml", 4), {"settings": {"k": 2}, "plan": {"patch": [8, 8, 8], "steps": 9}}, ""),
        (("dtml", 8), {"plan": {"patch": [9, 8, 8], "steps": 5}}, ""),
    ],
)
def test_settings_of_a_row_and_plan_and_precision_of_a_page_are_one(
    tmp_path: Path, second: tuple[str, int], change: dict[str, object], told: str
) -> None:
    results_page = load("results_page")
    page = results_page.Page(tmp_path / "page.md")
    page.path.write_text("<!-- Below: benchmarks/results_page.py --against duo -->\n", encoding="utf-8")
    alike = {"settings": {"k": 1}, "plan": {"patch": [8, 8, 8], "steps": 5}, "precision": "32-true"}

    def noted(method: str, labelled: int, seed: int, config: dict[str, object]) -> Result:
        result = make_result(method, [make_row("a", 0.8)], labelled=labelled, seed=seed)
        return results_page.noted(result.model_copy(update={"config": config}), page, tmp_path)

    found = [noted("duo", 4, 0, {}), noted("duo", 4, 1, alike), noted(*second, 2, alike | change)]
    if told:
        with pytest.raises(SystemExit, match=told):
            results_page.require_comparable(found)
        return
    results_page.require_comparable(found)
    page.write(found, None)
    assert [one.config for one in page.results()] == [one.config for one in found]


def test_a_page_says_what_its_differences_are_from_and_which_scans_were_scored(tmp_path: Path) -> None:
    page, study = tmp_path / "page.md", tmp_path / "study"
    page.write_text("<!-- Below: benchmarks/results_page.py --against duo --on holdout -->\n", encoding="utf-8")
    for method, dice in (("supervised", 0.8), ("duo", 0.9)):
        result = make_result(method, [make_row(case, dice) for case in "abcdefgh"])
        write_result(study / result.combination.name, result)
    subprocess.run([sys.executable, str(SCRIPT), str(page), str(study)], check=True, timeout=120)
    text = page.read_text(encoding="utf-8")
    assert "Dice minus duo" in text and "8 holdout scans" in text
