"""Charts: well-formed SVG that shows the numbers it was given."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np

from duoseg.reporting.charts import Line, Strip, line_chart, smooth, strip_plot
from duoseg.reporting.drawing import log_ticks, ticks


def test_ticks_are_round_numbers_inside_the_range():
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0, 400) == [0, 100, 200, 300, 400]
    assert ticks(0.71, 0.93) == [0.75, 0.8, 0.85, 0.9]
    assert ticks(2, 2) == [2]


def test_log_ticks_cover_a_wide_range_with_few_marks():
    assert log_ticks(1e-3, 1) == [0.001, 0.01, 0.1, 1]
    assert log_ticks(0.1, 2) == [0.1, 0.2, 0.5, 1, 2]
    assert len(log_ticks(1e-20, 1)) <= 7


def test_smoothing_keeps_the_mean_and_drops_what_is_not_finite():
    values = np.random.default_rng(0).random(1000)
    line = smooth(Line("a", list(range(1000)), values.tolist()), points=100)
    assert len(line.x) == 100
    assert np.isclose(np.mean(line.y), values.mean())
    assert smooth(Line("a", [1, 2, 3], [1, float("nan"), 3])).y == [1, 3]


def test_a_falling_curve_falls_on_the_page_and_a_wide_spread_makes_the_axis_logarithmic():
    falling = Line("region", [1, 2, 3], [0.9, 0.5, 0.3])
    linear = ElementTree.fromstring(line_chart([falling], title="Loss"))
    path = next(part for part in linear.iter("path") if "curve" in part.attrib["class"])
    heights = [float(pair.split()[1]) for pair in re.split("[ML]", path.attrib["d"])[1:]]
    assert heights == sorted(heights)
    assert "logarithmic" not in linear.attrib["aria-label"]
    wide = ElementTree.fromstring(line_chart([falling, Line("mutual", [1, 3], [1e-4, 1e-2])], title="Loss"))
    assert "logarithmic" in wide.attrib["aria-label"]


def test_charts_are_well_formed_whatever_the_values_and_names():
    hostile = "<script>alert(\"1\")</script> & 'x'"
    cases = [
        line_chart([Line(hostile, [5], [0.0])], title=hostile),
        line_chart([Line("a", [1, 2], [-1.0, 3.0])], title="t"),
        strip_plot([Strip(hostile, [(hostile, 0.5)], 0.5)], title=hostile),
        strip_plot([Strip("a", [("x", 1.0), ("y", 1.0)], 1.0, (1.0, 1.0))], title="t"),
    ]
    for chart in cases:
        root = ElementTree.fromstring(chart)
        assert root.tag == "svg"
        assert not list(root.iter("script"))
        assert "nan" not in chart


def test_strip_plot_has_a_named_dot_for_every_scan_in_the_order_of_values():
    chart = ElementTree.fromstring(strip_plot([Strip("run", [("low", 0.2), ("high", 0.9)], 0.55)], title="Dice"))
    dots = [part for part in chart.iter("path") if "dot" in part.attrib["class"]]
    assert [dot.findtext("title") for dot in dots] == ["low: 0.2", "high: 0.9"]
    across = [float(dot.attrib["d"][1:].split()[0]) for dot in dots]
    assert across[0] < across[1]


def test_nothing_to_draw_is_an_empty_string():
    assert line_chart([], title="t") == ""
    assert line_chart([Line("a", [], [])], title="t") == ""
    assert strip_plot([Strip("a", [])], title="t") == ""
