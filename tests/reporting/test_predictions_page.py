"""The page about predictions: every scan, the least trusted first, and what to look at."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from markupsafe import escape

from duoseg.pictures.planes import CasePicture
from duoseg.prediction.calibration import Expected
from duoseg.prediction.judgement import Judgement
from duoseg.reporting.predictions_page import PredictedCase, chosen, render, summary, warnings

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def without_viewer(monkeypatch):
    monkeypatch.setattr("duoseg.reporting.page.viewer_script", lambda: None)


def scan(case: str, doubt: float | None = 0.05, **volumes: float) -> PredictedCase:
    made_by = {"runs": ["runs/first"], "mirror": False}
    judgement = None if doubt is None else Judgement(doubt, trust=1 - doubt)
    return PredictedCase(case, volumes or {"liver": 100.0, "spleen": 20.0}, judgement, ["a note"], made_by)


def calibrated(case: str, trust: float, *, unlike: tuple[str, ...] = (), modelled: bool = False) -> PredictedCase:
    expected = Expected(dice=trust - 0.05, low=trust - 0.1, high=trust, modelled=modelled)
    return replace(scan(case), judgement=Judgement(0.05, trust, expected, unlike))


def picture(case: str) -> CasePicture:
    mask = np.zeros((8, 9, 6), int)
    mask[2:5, 3:6, 1:4] = 1
    return CasePicture(case, None, mask * 1.0, None, mask, (1.0, 1.0, 2.0))


def test_the_least_trusted_scan_stands_first_with_its_volumes():
    page = render(title="t", scans=[scan("a", 0.02), scan("b", 0.3), scan("c", 0.1)])
    rows = re.findall(r'<tr><th scope="row">(.)</th>', page)
    assert rows == ["b", "c", "a"]
    for shown in ("30.0%", "100.00", "20.00", "a note", "runs/first", "no measured error"):
        assert shown in page


def test_scans_predicted_before_and_after_calibration_share_a_page():
    scans = [scan("before"), calibrated("after", 0.9), calibrated("odd", 0.8, unlike=("noise",))]
    cells = re.findall(r'<td class="reason">([^<]*)</td>', render(title="t", scans=scans))
    assert [cell for cell in cells if cell != "a note"] == ["noise", "", "not known"]


def test_the_median_scans_doubt_is_one_number():
    trusts = {"s0": 0.5, "s1": 0.6, "s2": 0.7, "s3": 0.8, "s4": 0.9}
    doubts = dict(zip(trusts, (0.05, 0.06, 0.30, 0.07, 0.08), strict=True))
    scans = [replace(scan(name), judgement=Judgement(doubts[name], trust)) for name, trust in trusts.items()]
    assert "About 7.0% of a mask is in doubt in the median scan" in summary(scans)[1]
    assert warnings(scans) == ["In doubt more than 3 times as much as the median scan: s2 (30.0%)."]


def test_many_classes_that_some_scans_lack_are_told_in_one_sentence():
    names = [f"bone {index}" for index in range(104)]
    scans = [scan(str(one), **{name: float(one > 1) for name in names}, body=9.0) for one in range(8)]
    (said,) = warnings(scans)
    assert said.startswith("Not found were bone 0 in 2 scans, ")
    few = [scan(str(one), spleen=float(one > 1), body=9.0) for one in range(8)]
    assert warnings(few) == ["No spleen was found in 0, 1."]


def test_without_uncertainty_the_page_says_how_to_get_it():
    page = render(title="t", scans=[scan("a", None), scan("b", None)])
    assert escape("`duoseg predict --uncertainty` tells") in page and "In doubt" not in page


def test_scans_are_shown_from_both_ends_and_the_middle():
    doubted = [scan(str(index), index / 10) for index in range(5)]
    assert {label: one.case for label, one in chosen(doubted).items()} == {
        "least trusted (trust 0.60)": "4",
        "median (trust 0.80)": "2",
        "most trusted (trust 1.00)": "0",
    }
    plain = [scan(str(index), None, liver=float(index)) for index in (3, 1)]
    assert {label: one.case for label, one in chosen(plain).items()} == {
        "smallest (1.0 ml)": "1",
        "largest (3.0 ml)": "3",
    }
    assert [one.case for one in chosen([scan("alone")]).values()] == ["alone"]


def test_the_dice_to_expect_stands_in_the_table_and_the_page_says_what_the_interval_is_worth():
    page = render(title="t", scans=[calibrated("a", 0.95), calibrated("b", 0.9)])
    assert "0.85 (0.80 to 0.90)" in page and "as wide as to hold 90% of those scans" in page
    page = render(title="t", scans=[calibrated("a", 0.95, modelled=True)])
    assert "a model, and no guarantee" in page
    assert escape("`duoseg calibrate` finds that out") in render(title="t", scans=[scan("a")])


def test_scans_unlike_the_training_scans_stand_first_and_are_warned_of():
    scans = [calibrated("a", 0.5), calibrated("odd", 0.99, unlike=("its orientation",)), calibrated("b", 0.9)]
    page = render(title="t", scans=scans)
    assert re.findall(r'<tr><th scope="row">(\w+)</th>', page) == ["odd", "a", "b"]
    assert warnings(scans) == ["odd is unlike all training scans: its orientation."]
    many = [calibrated(str(index), 0.9, unlike=("its orientation",)) for index in range(7)]
    assert len([said for said in warnings(many) if "7 scans are unlike" in said]) == 1


def test_what_was_not_found_and_what_is_much_doubted_is_said():
    usual = [scan(str(index)) for index in range(6)]
    assert warnings(usual) == []
    odd = [scan("x", 0.4), scan("y", 1.0, liver=0.0, spleen=0.0), scan("z", 0.05, liver=90.0, spleen=0.0)]
    nothing, class_, doubted = warnings([*usual, *odd])
    assert nothing == "Nothing was found in y."
    assert class_ == "No spleen was found in z."
    assert "3 times as much as the median scan: x (40.0%)" in doubted
    assert "5.0% of a mask is in doubt in the median scan, and 100.0% in y" in " ".join(summary([*usual, *odd]))


def test_masks_of_models_with_other_classes_stand_in_one_table():
    page = render(title="t", scans=[scan("a", liver=5.0), scan("b", spleen=7.0), scan("c", spleen=0.0)])
    assert page.count("–</td>") == 3 and "5.00" in page and "7.00" in page


def test_pictures_have_the_prediction_alone():
    page = render(title="t", scans=[scan("a")], pictures=[("median", picture("a"))])
    assert 'data-toggles="prediction"' in page and 'data-toggles="truth"' not in page
    assert "layer-prediction" in page and 'class="layer-truth"' not in page


def test_hostile_names_are_shown_as_text():
    page = render(title=HOSTILE, scans=[scan(HOSTILE, 0.1, **{HOSTILE: 1.0})], pictures=[(HOSTILE, picture(HOSTILE))])
    assert HOSTILE not in page and str(escape(HOSTILE)) in page
