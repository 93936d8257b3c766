"""The page: self-contained, escaped, and true to the scores it was given."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from duoseg.reporting import CasePicture, RunSummary, write_report
from duoseg.reporting.page import plan_rows, render
from duoseg.reporting.run_verdict import case_rows, mean_rows, verdict
from duoseg.scans.texts import duration_text


@pytest.fixture(autouse=True)
def without_viewer(monkeypatch):
    """Pages are alike whether or not the viewer was fetched; `test_volumes.py` and the browser's tests are about it."""
    monkeypatch.setattr("duoseg.reporting.page.viewer_script", lambda: None)


HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;"
VOID = {"meta", "link", "input", "br", "img", "hr", "image"}


class _Reader(HTMLParser):
    """Checks nesting, and collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def _read(page: str) -> tuple[_Reader, str]:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader, " ".join(" ".join(reader.text).split())


def _scores(dice: dict[str, float], *, label: str = "atrium", hd95: float | None = 2.5) -> dict:
    cases = [
        {"case": case, "labels": {label: {"dice": value, "hd95_mm": hd95, "assd_mm": 0.7, "nsd": 0.8}}}
        for case, value in dice.items()
    ]
    return {
        "cases": cases,
        "mean": {},
        "policy": {"tolerance_mm": 1.0, "surface": "a surface"},
        "problems": [],
    }


def _run(name: str, dice: dict[str, float] | None, **changes: Any) -> RunSummary:
    run = RunSummary(
        name=name,
        method=name,
        steps=40,
        seconds=75.0,
        records=[{"step": s, "loss": 1 / s, "region": 1 / s, "learning_rate": 0.1} for s in range(1, 41)],
        scores=None if dice is None else _scores(dice),
        plan={"spacing": [1, 1, 2], "network": {"stem": "full"}, "reasons": {"network.stem": "small scans"}},
        environment={"torch": "2.13"},
        settings={"seed": 7},
    )
    return replace(run, **changes)


def _picture(case: str) -> CasePicture:
    mask = np.zeros((8, 9, 6), int)
    mask[2:5, 3:6, 1:4] = 1
    return CasePicture(case, 0.8124, mask * 1.0, mask, mask, (1.0, 1.0, 2.0))


FIRST = {"a": 0.70, "b": 0.72, "c": 0.74, "d": 0.71}
SECOND = {"a": 0.80, "b": 0.81, "c": 0.86, "d": 0.79}


def test_problems_of_scoring_are_sentences_and_many_are_folded(tmp_path):
    problems = [
        {"severity": "error", "file": f"truth/{n}.nii.gz", "message": "it has no mask", "remedy": "predict it"}
        for n in range(14)
    ]
    run = replace(_run("duo", FIRST), scores={**_scores(FIRST), "problems": problems})
    page = write_report(tmp_path / "page.html", title="Scores", runs=[run])
    _, text = _read(page.read_text(encoding="utf-8"))
    assert "truth/0.nii.gz: it has no mask; predict it." in text and "duo: truth/0" not in text
    assert "4 scans tell little of others." in text
    assert "Of duo, 14 scans had no mask and counted as empty." in text
    assert text.index("truth/9.nii.gz") < text.index("4 more") < text.index("truth/10.nii.gz")


def test_intervals_are_over_persons_where_they_are_known():
    dice = {f"{person}-{visit}": 0.70 + 0.02 * person + 0.001 * visit for person in range(6) for visit in range(5)}
    alone = _run("duo", dice)
    known = replace(alone, persons={case: case.split("-")[0] for case in dice})
    widths = [row.values["dice"].high - row.values["dice"].low for run in (alone, known) for row in mean_rows([run])]
    assert widths[1] > 2 * widths[0]
    better = _run("other", {case: value + 0.05 for case, value in dice.items()})
    three = {case: str(int(case[0]) % 3) for case in dice}
    told = " ".join(verdict([known, replace(better, persons=three)]))
    assert "3 persons are too few" in told


def test_page_is_well_formed_and_shows_every_value(tmp_path):
    runs = [
        _run("supervised", FIRST, source="A mean of two: Someone else, 2022."),
        _run("dtml", SECOND, source="Dual-Task Mutual Learning: Someone, 2021."),
    ]
    path = write_report(
        tmp_path / "new" / "report.html",
        title="Four labels",
        runs=runs,
        pictures=[("best", _picture("c"))],
        notes=["Equal budgets."],
    )
    reader, text = _read(path.read_text(encoding="utf-8"))
    for value in (
        "0.718",
        "0.815",
        "+0.100",
        "2.5",
        "Equal budgets.",
        "0.812",
        "small scans",
        "2.13",
        "1 min 15 s",
    ):
        assert value in text, value
    assert "Dual-Task Mutual Learning: Someone, 2021." in text and "A mean of two: Someone else, 2022." in text
    assert sum(tag == "h1" for tag, _ in reader.tags) == 1
    assert {path.name for path in path.parent.iterdir()} == {"report.html"}


def test_page_needs_no_network():
    page = render(title="t", runs=[_run("a", FIRST)], pictures=[("best", _picture("c"))])
    reader, _ = _read(page)
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page
    assert "url(" not in page
    for tag, attributes in reader.tags:
        for name in ("src", "href"):
            if name in attributes:
                assert (attributes[name] or "").startswith(("#", "data:image/png;base64,")), (tag, attributes)
    policy = next(a["content"] or "" for _, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    script = page.split("<script>")[1].split("</script>")[0]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy


def test_anchors_and_labels_lead_somewhere():
    reader, _ = _read(render(title="t", runs=[_run("a", FIRST)], pictures=[("best", _picture("c"))]))
    names = [a["id"] for _, a in reader.tags if "id" in a]
    assert len(names) == len(set(names))
    for _, attributes in reader.tags:
        target = attributes.get("href") or ""
        if target.startswith("#"):
            assert target[1:] in names
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in names


def test_hostile_names_are_shown_as_text():
    runs = [
        _run(
            HOSTILE,
            {HOSTILE: 0.5},
            method=HOSTILE,
            settings={HOSTILE: HOSTILE},
            environment={HOSTILE: HOSTILE},
        ),
        _run("b", {HOSTILE: 0.6}, records=[{"step": 1, HOSTILE: 0.1}], plan={HOSTILE: HOSTILE}),
    ]
    page = render(title=HOSTILE, runs=runs, pictures=[(HOSTILE, _picture(HOSTILE))], notes=[HOSTILE])
    reader, text = _read(page)
    assert HOSTILE in text
    assert not [tag for tag, attributes in reader.tags if tag == "img" or "onerror" in attributes]


def test_a_clear_difference_is_called_one_and_an_unclear_one_is_not():
    clear = " ".join(verdict([_run("supervised", FIRST), _run("dtml", SECOND)]))
    assert clear.startswith("dtml scored higher than supervised: mean Dice 0.815 against 0.718, a difference of 0.098")
    assert "higher on 4 of 4 scans" in clear
    assert "excludes 0" in clear
    assert "4 scans are too few to trust it" in clear
    more = [{f"{case}{half}": value for half in (1, 2) for case, value in dice.items()} for dice in (FIRST, SECOND)]
    enough = " ".join(verdict([_run("supervised", more[0]), _run("dtml", more[1])]))
    assert "excludes 0: on scans like these, dtml is better" in enough
    unclear = " ".join(verdict([_run("x", {"a": 0.9, "b": 0.5, "c": 0.7}), _run("y", {"a": 0.5, "b": 0.8, "c": 0.7})]))
    assert unclear.startswith("x scored higher than y")
    assert "do not show that either is better" in unclear


def test_the_winner_is_named_whichever_method_it_is():
    assert verdict([_run("dtml", FIRST), _run("supervised", SECOND)])[0].startswith("supervised scored higher")


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([_run("a", None)], "says nothing about accuracy"),
        ([_run("a", FIRST)], "a reaches a mean Dice of 0.718"),
        ([_run("a", {"x": 0.5}), _run("b", {"x": 0.6})], "1 scan is too few"),
        ([_run("a", FIRST), _run("b", FIRST)], "scored the same to three decimals"),
        ([_run("a", {"x": 0.5}), _run("b", {"y": 0.6})], "cannot be compared"),
        ([_run("a", {"x": 0.5}), _run("b", {"x": 0.6}), _run("c", {"x": 0.1})], "After them: c 0.100."),
    ],
)
def test_the_verdict_fits_what_there_is(runs, expected):
    assert expected in " ".join(verdict(runs))
    _read(render(title="t", runs=runs))


def test_undefined_distances_are_dashes_and_counted():
    runs = [_run("a", None, scores=_scores(FIRST, hd95=None)), _run("b", SECOND)]
    row = mean_rows(runs)[0]
    assert row.values["hd95_mm"].mean is None
    assert row.values["hd95_mm"].n_undefined == 4
    _, text = _read(render(title="t", runs=runs))
    assert "–" in text
    assert "nan" not in text.lower().replace("name", "")


def test_scans_and_classes_stand_side_by_side_even_where_one_run_lacks_some():
    both = _scores({"a": 0.4})
    both["cases"][0]["labels"]["ventricle"] = {"dice": 0.8, "hd95_mm": 1.0}
    runs = [_run("one", None, scores=both), _run("two", {"b": 0.9})]
    rows = {(row.case, row.label): row.dice for row in case_rows(runs)}
    assert rows["a", "atrium"] == (0.4, None)
    assert rows["b", "atrium"] == (None, 0.9)
    assert rows["a", "ventricle"] == (0.8, None)
    means = {(row.label, row.run.name): row.values["dice"].mean for row in mean_rows(runs)}
    assert means["all", "one"] == pytest.approx(0.6)
    _read(render(title="t", runs=runs))


def test_a_plan_is_listed_with_each_reason_at_its_choice():
    rows = plan_rows(
        {
            "spacing": [1.2, 1.2, 2.0],
            "network": {"stem": "strided", "strides": [[2, 2, 1], [2, 2, 2]]},
            "optimiser": {"schedule": "cosine"},
            "reasons": {"spacing": "median", "network": "fits the memory", "schedule": "calm", "budget": "one hour"},
        }
    )
    listed = [(row.name, row.value, row.reason) for row in rows]
    assert listed == [
        ("spacing", "1.2 × 1.2 × 2", "median"),
        ("network", "", "fits the memory"),
        ("network.stem", "strided", ""),
        ("network.strides", "2 × 2 × 1; 2 × 2 × 2", ""),
        ("optimiser.schedule", "cosine", "calm"),
        ("budget", "", "one hour"),
    ]


def test_runs_of_one_plan_share_its_table():
    page = render(title="t", runs=[_run("a", FIRST), _run("b", SECOND), _run("c", SECOND, plan={"steps": 3})])
    assert "Plan: a, b" in page
    assert "Plan: c" in page


def test_durations_are_readable():
    assert [duration_text(seconds) for seconds in (4.6, 75, 7265)] == ["5 s", "1 min 15 s", "2 h 1 min"]
