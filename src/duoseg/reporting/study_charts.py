"""Charts of studies: a row a method, and small panels; made for sixteen methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from duoseg.reporting.drawing import (
    WIDTH,
    horizontal,
    log_ticks,
    number_text,
    padded,
    shape,
    short,
    svg,
    text,
    text_width,
    ticks,
    vertical,
)

_PANEL_WIDTH, _PANEL_HEIGHT = 210, 140
_FEW = 9
"""So many dots in a row have room to be large."""

MARKS = {"better": ("up", 5.5), "worse": ("down", 5.5), "plain": ("circle", 4.0)}
"""The shape of a mean, so that the verdict needs no colour, and its size."""


@dataclass(frozen=True)
class Bar:
    """A method's row: dots (hint, value), their mean, and its interval if known."""

    name: str
    dots: Sequence[tuple[str, float]] = ()
    mean: float | None = None
    interval: tuple[float, float] | None = None
    mark: str = "plain"


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
        parts.append(horizontal(down(value), left, _PANEL_WIDTH - right, "grid"))
        parts.append(text(left - 5, down(value) + 4, number_text(value), "tick", "end"))
    for value in x_ticks:
        anchor = "end" if value == max(x_ticks) and len(x_ticks) > 1 else "middle"
        parts.append(text(across(value), _PANEL_HEIGHT - 5, number_text(value), "tick", anchor))
    for curve in curves:
        for x, bounds in zip(curve.x, curve.bounds, strict=False):
            if bounds:
                parts.append(vertical(across(x), down(bounds[0]), down(bounds[1]), f"whisker {curve.style}"))
        if curve.bounds:
            places = zip(curve.x, curve.y, strict=True)
            parts += [
                shape("circle", across(x), down(y), 2.6, f"knot {curve.style}", number_text(y)) for x, y in places
            ]
        path = "M" + "L".join(f"{across(x):.1f} {down(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
        parts.append(Markup('<path class="curve {}" d="{}"/>').format(curve.style, path))
    return svg(parts, _PANEL_WIDTH, _PANEL_HEIGHT, title)


def _bar(bar: Bar, middle: float, across: Callable[[float], float], limits: tuple[float, float]) -> list[Markup]:
    """Interval, dots and mean of one row, from back to front."""
    parts: list[Markup] = []
    if bar.interval:
        low, high = (across(bound) for bound in bar.interval)
        whisker = Markup('<path class="whisker m-{}" d="M{:.1f} {:.1f}H{:.1f}M{:.1f} {:.1f}v8M{:.1f} {:.1f}v8"/>')
        parts.append(whisker.format(bar.mark, low, middle, high, low, middle - 4, high, middle - 4))
    few = len(bar.dots) <= _FEW
    for index, (hint, value) in enumerate(bar.dots):
        kind = "left" if value < limits[0] else "right" if value > limits[1] else "circle"
        size = 4.0 if kind != "circle" else 3.6 if few else 2.6
        # A fixed, even scatter across the row keeps equal values apart without chance.
        offset = ((index * 7) % 11 - 5) * 1.2 if len(bar.dots) > 1 else 0.0
        style = "dot few" if few else "dot c0"
        parts.append(shape(kind, across(value), middle + offset, size, style, f"{hint}: {number_text(value)}"))
    if bar.mean is not None:
        kind, size = MARKS[bar.mark]
        parts.append(shape(kind, across(bar.mean), middle, size, f"centre m-{bar.mark}", _spoken(bar)))
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
