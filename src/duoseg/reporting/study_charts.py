"""Charts of studies as inline SVG: a row a method, and small panels; made for sixteen methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from duoseg.reporting.charts import WIDTH, log_ticks, number_text, svg, ticks

_NAME_CHARACTERS = 22
_WIDE, _NARROW = frozenset("mwMW@%"), frozenset("fijlrtI.,:;|'()[]!- ")
_PANEL_WIDTH, _PANEL_HEIGHT = 210, 140
_FEW = 9
"""So many dots in a row have room to be large."""

Mark = str
"""``better``, ``worse`` or ``plain``: the shape of a mean, so that the verdict needs no colour."""


@dataclass(frozen=True)
class Bar:
    """A method's row: dots (hint, value), their mean, and its interval if known."""

    name: str
    dots: Sequence[tuple[str, float]] = ()
    mean: float | None = None
    interval: tuple[float, float] | None = None
    mark: Mark = "plain"


@dataclass(frozen=True)
class Curve:
    """A line of a panel with a class of the style sheet (``s0``, ``faint``, ``reference``), bounds if known."""

    style: str
    x: Sequence[float]
    y: Sequence[float]
    bounds: Sequence[tuple[float, float] | None] = ()


def rows_chart(bars: Sequence[Bar], *, title: str, zero: bool = False) -> Markup:
    """A row a method on one axis; with ``zero`` a line there. Dots far from all others stand at the edge, as arrows."""
    drawn = [bar for bar in bars if bar.mean is not None]
    if not drawn:
        return Markup("")
    low, high = _limits(drawn, zero=zero)
    left = max(text_width(short(bar.name)) for bar in drawn) + 14
    row, top, bottom = (24 if any(bar.dots for bar in drawn) else 20), 6, 24
    height = top + row * len(drawn) + bottom

    def across(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return left + share * (WIDTH - left - 12)

    parts: list[Markup] = []
    for value in ticks(low, high):
        parts.append(vertical(across(value), top, height - bottom + 4, "grid"))
        parts.append(text(across(value), height - bottom + 18, number_text(value), "tick", "middle"))
    if zero:
        parts.append(vertical(across(0), top, height - bottom, "zero"))
    for index, bar in enumerate(drawn):
        middle = top + row * (index + 0.5)
        parts.append(text(left - 10, middle + 4, short(bar.name), "name", "end", hint=bar.name))
        parts += _bar(bar, middle, across, (low, high))
    summary = "; ".join(_spoken(bar) for bar in drawn)
    return svg(parts, WIDTH, height, f"{title}: {summary}")


def panel(
    curves: Sequence[Curve], *, title: str, y_limits: tuple[float, float], x_ticks: Sequence[float], log: str = ""
) -> Markup:
    """A small chart; ``log`` holds the letters of the logarithmic axes, ``x_ticks`` spans the horizontal one."""
    left, right, top, bottom = 40, 10, 8, 22

    def across(value: float) -> float:
        share = _share(value, min(x_ticks), max(x_ticks), log="x" in log)
        return left + share * (_PANEL_WIDTH - left - right)

    def down(value: float) -> float:
        return _PANEL_HEIGHT - bottom - _share(value, *y_limits, log="y" in log) * (_PANEL_HEIGHT - bottom - top)

    parts: list[Markup] = []
    for value in (log_ticks(*y_limits) if "y" in log else ticks(*y_limits, about=4))[-6:]:
        parts.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(left, down(value), _PANEL_WIDTH - right))
        parts.append(text(left - 5, down(value) + 4, number_text(value), "tick", "end"))
    for value in x_ticks:
        anchor = "end" if value == max(x_ticks) and len(x_ticks) > 1 else "middle"
        parts.append(text(across(value), _PANEL_HEIGHT - 5, number_text(value), "tick", anchor))
    for curve in curves:
        for x, bounds in zip(curve.x, curve.bounds, strict=False):
            if bounds:
                bar = Markup('<path class="whisker {}" d="M{:.1f} {:.1f}V{:.1f}"/>')
                parts.append(bar.format(curve.style, across(x), down(bounds[0]), down(bounds[1])))
        if curve.bounds:
            places = zip(curve.x, curve.y, strict=True)
            parts += [shape("small", across(x), down(y), f"knot {curve.style}", number_text(y)) for x, y in places]
        path = "M" + "L".join(f"{across(x):.1f} {down(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
        parts.append(Markup('<path class="curve {}" d="{}"/>').format(curve.style, path))
    return svg(parts, _PANEL_WIDTH, _PANEL_HEIGHT, title)


def padded(values: Sequence[float], *, from_zero: bool = False) -> tuple[float, float]:
    """Limits of an axis that leave some room around the values."""
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or 0.05 * abs(high) or 0.5
    return (0.0 if from_zero and low >= 0 else low - pad), high + pad


def short(name: str) -> str:
    """A name that fits beside a row."""
    return name if len(name) <= _NAME_CHARACTERS else f"{name[: _NAME_CHARACTERS - 1]}…"


def text_width(words: str) -> float:
    """Width of words in the size that charts use, on the safe side."""
    return sum(12.0 if letter in _WIDE else 5.2 if letter in _NARROW else 7.7 for letter in words)


def text(x: float, y: float, words: str, style: str, anchor: str, *, hint: str = "") -> Markup:
    """Words at a place; the hint, shown by a pointing device, tells what had to be cut."""
    title = Markup("<title>{}</title>").format(hint) if hint and hint != words else ""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}{}</text>').format(
        style, x, y, anchor, words, title
    )


def vertical(x: float, top: float, bottom: float, style: str) -> Markup:
    """A line from top to bottom."""
    return Markup('<path class="{}" d="M{:.1f} {:.1f}V{:.1f}"/>').format(style, x, top, bottom)


def shape(kind: str, x: float, y: float, style: str, hint: str) -> Markup:
    """A mark whose form tells what its colour does too."""
    forms = {
        "circle": f"M{x - 3.6:.1f} {y:.1f}a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0z",
        "small": f"M{x - 2.6:.1f} {y:.1f}a2.6 2.6 0 1 0 5.2 0a2.6 2.6 0 1 0 -5.2 0z",
        "diamond": f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z",
        "better": f"M{x:.1f} {y - 5.5:.1f}l5.6 9.8h-11.2z",
        "worse": f"M{x:.1f} {y + 5.5:.1f}l5.6 -9.8h-11.2z",
        "plain": f"M{x - 4:.1f} {y:.1f}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
        "left": f"M{x - 4:.1f} {y:.1f}l7 -4v8z",
        "right": f"M{x + 4:.1f} {y:.1f}l-7 -4v8z",
    }
    return Markup('<path class="{}" d="{}"><title>{}</title></path>').format(style, forms[kind], hint)


def _bar(bar: Bar, middle: float, across: Callable[[float], float], limits: tuple[float, float]) -> list[Markup]:
    """Interval, dots and mean of one row, from back to front."""
    parts: list[Markup] = []
    if bar.interval:
        low, high = (across(bound) for bound in bar.interval)
        whisker = Markup('<path class="whisker m-{}" d="M{:.1f} {:.1f}H{:.1f}M{:.1f} {:.1f}v8M{:.1f} {:.1f}v8"/>')
        parts.append(whisker.format(bar.mark, low, middle, high, low, middle - 4, high, middle - 4))
    few = len(bar.dots) <= _FEW
    for index, (hint, value) in enumerate(bar.dots):
        kind = "left" if value < limits[0] else "right" if value > limits[1] else "circle" if few else "small"
        # A fixed, even scatter across the row keeps equal values apart without chance.
        offset = ((index * 7) % 11 - 5) * 1.2 if len(bar.dots) > 1 else 0.0
        parts.append(
            shape(kind, across(value), middle + offset, "dot few" if few else "dot c0", f"{hint}: {number_text(value)}")
        )
    if bar.mean is not None:
        parts.append(shape(bar.mark, across(bar.mean), middle, f"centre m-{bar.mark}", _spoken(bar)))
    return parts


def _limits(bars: Sequence[Bar], *, zero: bool) -> tuple[float, float]:
    """An axis that holds all means and intervals, and all dots but those far outside the bulk."""
    dots = np.array([value for bar in bars for _, value in bar.dots])
    values = [bar.mean for bar in bars if bar.mean is not None] + [b for bar in bars for b in bar.interval or ()]
    if dots.size:
        first, third = np.quantile(dots, (0.25, 0.75))
        reach = 4 * (third - first) or np.inf
        values += dots[(dots >= first - reach) & (dots <= third + reach)].tolist()
    return padded([*values, 0.0] if zero else values)


def _share(value: float, low: float, high: float, *, log: bool) -> float:
    """Where a value lies on an axis, from 0 to 1; in the middle of an axis without length."""
    if not high > low:
        return 0.5
    return math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)


def _spoken(bar: Bar) -> str:
    bounds = f" ({' to '.join(number_text(bound) for bound in bar.interval)})" if bar.interval else ""
    verdict = f", {bar.mark}" if bar.mark != "plain" else ""
    return f"{bar.name} {number_text(bar.mean or 0.0)}{bounds}{verdict}"
