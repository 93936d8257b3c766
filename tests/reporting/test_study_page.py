"""The page about a study: complete, self-contained, escaped, the same each time."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from duoseg.commands.report import report
from duoseg.errors import InputError
from duoseg.reporting.study_page import write_study_page
from duoseg.study.reading import read_scores
from study_cases import NAMES, make_field, make_result, make_row, study_content, write_study

HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;"
VOID = {"meta", "link", "input", "br", "img", "hr"}
BASE = [0.70, 0.75, 0.80, 0.72, 0.78, 0.81, 0.69, 0.74]


class Reader(HTMLParser):
    """Checks nesting, and collects tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)


def read(page: Path) -> tuple[Reader, str]:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader, " ".join(" ".join(reader.words).split())


def of(method: str, dice: list[float], *, labelled: int = 4, seed: int = 0) -> Any:
    rows = [make_row(f"scan-{index}", value) for index, value in enumerate(dice)]
    return make_result(method, rows, labelled=labelled, seed=seed)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the whole field with a failed and a waiting combination, and its page."""
    folder = tmp_path_factory.mktemp("study") / "field"
    results = make_field(cases=8, missing=("cps-4-seed1", "tcse-8-seed2"))
    failed = {"cps-4-seed1": "the loss became nan at step 81 <b>", "tcse-8-seed2": ""}
    write_study(folder, study_content(results, against="supervised", failed=failed), results)
    write_study_page(folder, folder / "report.html")
    return folder


def test_page_shows_every_method_seed_scan_and_failure(field: Path) -> None:
    _, text = read(field / "report.html")
    content = json.loads((field / "study.json").read_text())
    for method in NAMES:
        assert text.count(method) > 10, method
    for row in content["summary"]:
        if row["class"] == "all" and row["metric"] == "dice":
            for value in (row["mean"], row["low"], row["high"], *row["seeds"].values()):
                assert f"{100 * value:.2f}" in text
    for row in content["comparisons"]:
        if row["class"] == "all" and row["metric"] == "dice":
            assert f"{100 * row['difference']:+.2f}".replace("-", "−") in text
    assert "cps-4-seed1 failed the loss became nan at step 81 <b>" in text
    assert "tcse-8-seed2 waiting –" in text
    assert "2 of 90 combinations" in text
    for case in {row.case for _, row in read_scores(field)}:
        assert f"{case}: " in text


def test_every_scan_is_in_a_table_with_the_mean_over_seeds_of_each_method(tmp_path: Path) -> None:
    values = {("supervised", 0): [0.7, 0.8], ("supervised", 1): [0.72, 0.9], ("duo", 0): [0.81, 0.85]}
    results = [of(method, dice, seed=seed) for (method, seed), dice in values.items()]
    write_study(tmp_path, study_content(results, against="supervised"), results)
    write_study_page(tmp_path, tmp_path / "report.html")
    reader, text = read(tmp_path / "report.html")
    assert "Scan supervised duo scan-0 71.00 81.00 scan-1 85.00 85.00" in text
    assert ("table", {"class": "sortable"}) in reader.tags


def test_charts_are_there_for_everything_that_the_study_holds(field: Path) -> None:
    reader, _ = read(field / "report.html")
    charts = [
        attributes["aria-label"] or "" for tag, attributes in reader.tags if tag == "svg" and "role" in attributes
    ]
    # Two label counts: 2 + 3 metrics of differences, scans, 2 metrics of seeds, cost; a panel a method twice.
    assert len(charts) == 2 * (5 + 1 + 2 + 1) + 2 * len(NAMES)
    assert sum(chart.startswith("Loss of ") for chart in charts) == len(NAMES)


def test_page_needs_no_network_and_runs_one_script_alone(field: Path) -> None:
    page = (field / "report.html").read_text(encoding="utf-8")
    reader, _ = read(field / "report.html")
    for forbidden in ("http://", "https://", "@import", "url("):
        assert forbidden not in page
    for tag, attributes in reader.tags:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    policy = next(a["content"] or "" for _, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    script = page.split("<script>")[1].split("</script>")[0]
    assert policy.startswith("default-src 'none'")
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy


def test_anchors_and_labels_lead_somewhere(field: Path) -> None:
    reader, _ = read(field / "report.html")
    names = [a["id"] for _, a in reader.tags if "id" in a]
    assert len(names) == len(set(names))
    for _, attributes in reader.tags:
        for name in ("aria-labelledby", "data-copies"):
            assert attributes.get(name, names[0]) in names
        target = attributes.get("href") or ""
        assert not target.startswith("#") or target[1:] in names


def test_the_tables_to_paste_are_those_of_the_files(field: Path) -> None:
    from duoseg.study.tables import latex, markdown

    content = json.loads((field / "study.json").read_text())
    page = Reader()
    page.feed((field / "report.html").read_text(encoding="utf-8"))
    assert markdown(content) in page.words
    assert latex(content) in page.words


def test_the_same_study_gives_the_same_page(field: Path, tmp_path: Path) -> None:
    assert report(field, out=tmp_path / "again.html") == tmp_path / "again.html"
    assert (tmp_path / "again.html").read_bytes() == (field / "report.html").read_bytes()


def test_a_study_without_scores_file_and_logs_still_has_a_page(tmp_path: Path) -> None:
    content = study_content([of("a", BASE), of("b", BASE)], against="a")
    (tmp_path / "study.json").write_text(json.dumps(content))
    page = report(tmp_path)
    assert page == tmp_path / "report.html"
    reader, text = read(page)
    assert "Scan by scan" not in text
    assert {attributes.get("href") for _, attributes in reader.tags} >= {"#differences"}
    assert "#losses" not in {attributes.get("href") for _, attributes in reader.tags}


def test_a_study_without_any_result_says_so(tmp_path: Path) -> None:
    content = study_content([of("a", BASE)], against="a")
    content |= {"summary": [], "comparisons": []}
    content["combinations"][0] |= {"status": "failed", "error": "no memory", "cost": None}
    (tmp_path / "study.json").write_text(json.dumps(content))
    _, text = read(report(tmp_path))
    assert "nothing to compare yet" in text
    assert "no memory" in text


def test_a_study_of_an_earlier_version_has_its_page(tmp_path: Path) -> None:
    results = [of("a", BASE, seed=seed) for seed in (0, 1)]
    results += [of("b", [value + 0.03 for value in BASE], seed=seed) for seed in (0, 1)]
    content = study_content(results, against="a")
    write_study(tmp_path, content, results)
    assert "the difference has one sign with every seed. Cost is that" in read(report(tmp_path))[1]
    for row in content["comparisons"]:
        del row["seed_differences"]
    write_study(tmp_path, content, results)
    _, text = read(report(tmp_path))
    assert "on 6 persons or more. Cost is that" in text and "better: b (+3.00 points" in text


def test_hostile_names_are_shown_as_text(tmp_path: Path) -> None:
    results = [of("a", BASE), of("b", BASE)]
    content = study_content(results, against="a", failed={"b-4-seed0": HOSTILE})
    content["data"]["path"] = HOSTILE
    content["entries"]["a"]["settings"] = {HOSTILE: HOSTILE}
    content["environment"] = {HOSTILE: [HOSTILE]}
    renamed = json.loads(json.dumps(content).replace('"organ"', json.dumps(HOSTILE)))
    write_study(tmp_path, renamed, results)
    reader, text = read(report(tmp_path))
    assert HOSTILE in text
    assert not [tag for tag, attributes in reader.tags if tag == "img" or "onerror" in attributes]


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("study.json", "{}", "is no study"),
        ("study.json", "[1]", "is no study"),
        ("study.json", "{", "not valid JSON"),
        ("results.csv", "case,person\nx,y\n", "row 2"),
        ("results.csv", f"case,person\n{'x' * 200_000},y\n", "row 2"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, text: str, named: str) -> None:
    results = [of("a", BASE), of("b", BASE)]
    write_study(tmp_path, study_content(results, against="a"), results)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f"{re.escape(name)}.*{named}"):
        report(tmp_path)


def test_scores_come_back_from_the_file_as_they_were(tmp_path: Path) -> None:
    rows = [make_row("x", 0.1 + 0.2, person="p"), make_row("y", 0.0, hd95_mm=None, assd_mm=None)]
    results = [make_result("a", rows, seed=3), make_result("b", rows[:1], fold=1)]
    write_study(tmp_path, study_content(results[:1], against="a"), results)
    expected = [(one.combination, row) for one in results for row in one.rows]
    assert read_scores(tmp_path) == expected


def test_what_was_never_asked_for_is_listed_as_without_result(tmp_path: Path) -> None:
    results = [of("base", BASE, seed=0), of("base", BASE, seed=1), of("other", BASE, seed=0)]
    write_study(tmp_path, study_content(results, against="base"), results)
    reader, text = read(report(tmp_path))
    assert "#unfinished" in {attributes.get("href") for _, attributes in reader.tags}
    assert "1 of 4 combinations" in text
    assert "other-4-seed1 not asked for –" in text


def test_a_table_of_scores_beyond_64_mib_is_read(tmp_path: Path) -> None:
    results = [of("a", BASE)]
    write_study(tmp_path, study_content(results, against="a"), results)
    lines = (tmp_path / "results.csv").read_text().splitlines()
    padding = ["note", *["x" * 100_000] * (len(lines) - 1)]
    wide = [f"{line},{note}" for line, note in zip(lines, padding, strict=True)]
    (tmp_path / "results.csv").write_text("\n".join([wide[0], *wide[1:] * 90]) + "\n")
    assert (tmp_path / "results.csv").stat().st_size > 64 * 2**20
    assert len(read_scores(tmp_path)) == 90 * len(BASE)
