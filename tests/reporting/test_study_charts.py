"""Charts of studies: true to their numbers, and readable with many methods."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import combinations

import numpy as np
import pytest

from duoseg.reporting.drawing import text_width
from duoseg.reporting.study_charts import Bar, Curve, panel, rows_chart
from duoseg.reporting.study_scatter import Point, label_places, scatter

HOSTILE = "<script>alert(\"1\")</script> & 'x'"


def start(path: ElementTree.Element) -> tuple[float, float]:
    x, y = path.attrib["d"][1:].replace("l", "a").split("a")[0].split()
    return float(x), float(y)


def marked(chart: str, style: str) -> list[ElementTree.Element]:
    return [part for part in ElementTree.fromstring(chart).iter("path") if style in part.attrib["class"].split()]


def test_rows_stand_one_below_the_other_with_means_in_the_order_of_their_values() -> None:
    bars = [
        Bar(f"method_{index}", mean=value, interval=(value - 1, value + 1)) for index, value in enumerate((3, 1, 2))
    ]
    means = [start(mean) for mean in marked(rows_chart(bars, title="t", zero=True), "centre")]
    assert np.argsort([x for x, _ in means]).tolist() == [1, 2, 0]
    assert np.diff([y for _, y in means]).min() >= 18


def test_the_verdict_is_told_by_shape_too() -> None:
    bars = [Bar(mark, mean=1.0, mark=mark) for mark in ("better", "worse", "plain")]
    forms = [
        "".join(c for c in mean.attrib["d"] if c.isalpha()) + str("-9.8" in mean.attrib["d"])
        for mean in marked(rows_chart(bars, title="t"), "centre")
    ]
    assert len(set(forms)) == 3


def test_a_scan_far_from_all_others_is_an_arrow_at_the_edge_that_tells_its_value() -> None:
    dots = [(f"scan-{index}", value) for index, value in enumerate([*np.linspace(-1, 1, 30), -60.0])]
    chart = rows_chart([Bar("a", dots, 0.0)], title="t", zero=True)
    drawn = marked(chart, "dot")
    assert len(drawn) == 31
    xs = [start(dot)[0] for dot in drawn]
    assert min(xs) == xs[-1]
    assert np.ptp(xs[:-1]) > 150
    assert drawn[-1].findtext("title") == "scan-30: -60"


@pytest.mark.parametrize("seed", range(5))
def test_sixteen_names_never_cover_each_other_or_a_point(seed: int) -> None:
    draw = np.random.default_rng(seed)
    # All within a sixth of the chart, some in one place.
    points = [(200 + draw.uniform(0, 70), 150 + draw.uniform(0, 40)) for _ in range(14)] + [(200.0, 150.0)] * 2
    widths = [text_width("supervised_longest"[: draw.integers(3, 18)]) for _ in points]
    places = label_places(points, widths, (46, 16, 430, 340))
    boxes = [(x, y, x + width, y + 14) for (x, y), width in zip(places, widths, strict=True)]
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    for left, top, right, bottom in boxes:
        assert (left, top) >= (46, 16) and right <= 431 and bottom <= 340
        assert not any(left < x < right and top < y < bottom for x, y in points)


def test_cheaper_is_left_and_better_is_up() -> None:
    chart = scatter([Point("a", 1, 80), Point("b", 2, 85)], title="t", x_label="min", y_label="%")
    (first, second) = (start(point) for point in marked(chart, "point"))
    assert first[0] < second[0] and first[1] > second[1]


def test_charts_are_well_formed_whatever_the_values_and_names() -> None:
    long = "n" * 60
    charts = [
        rows_chart([Bar(HOSTILE, [(HOSTILE, 1.0)], 1.0, (1.0, 1.0)), Bar(long, mean=1.0)], title=HOSTILE, zero=True),
        scatter([Point(HOSTILE, 0.0, 1.0), Point(long, 0.0, 1.0)], title=HOSTILE, x_label="x", y_label="y"),
        panel([Curve("s0", [4], [1.0], [None])], title=HOSTILE, y_limits=(1.0, 1.0), x_ticks=[4], log="x"),
        panel([Curve("s0", [0, 9], [1e-4, 9.0])], title="t", y_limits=(1e-4, 9.0), x_ticks=[0, 9], log="y"),
    ]
    for chart in charts:
        root = ElementTree.fromstring(chart)
        assert root.tag == "svg"
        assert not list(root.iter("script"))
        assert "nan" not in chart
        width = float(root.attrib["viewBox"].split()[2])
        for words in root.iter("text"):
            assert -1 <= float(words.attrib["x"]) <= width
            assert text_width(words.text or "") < width


def test_nothing_to_draw_is_an_empty_string() -> None:
    assert rows_chart([], title="t") == ""
    assert rows_chart([Bar("a")], title="t") == ""
    assert scatter([], title="t", x_label="x", y_label="y") == ""
