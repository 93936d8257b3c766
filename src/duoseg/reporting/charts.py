"""Charts of runs: curves over the steps, and a row of dots a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from duoseg.reporting.drawing import WIDTH, horizontal, log_ticks, number_text, shape, svg, text, ticks, vertical

LEFT, RIGHT = 46, 10
SHAPES = (("circle", 4.0), ("diamond", 5.0), ("square", 3.7), ("up", 4.6))
"""Of the dots of each run, with their sizes."""
LINE_STYLES = 6
"""How many curves the style sheet can tell apart."""
_LOG_RATIO = 20.0
_POINTS = 160


@dataclass(frozen=True)
class Line:
    """One curve: values at increasing ``x``."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Strip:
    """One row of a strip plot: a dot a scan (name, value), their mean, and its interval if known."""

    name: str
    dots: Sequence[tuple[str, float]]
    mean: float | None = None
    interval: tuple[float, float] | None = None


def wants_log(lines: Sequence[Line]) -> bool:
    """Whether a logarithmic axis serves: all values positive, and spread over more than a factor of 20."""
    values = np.concatenate([np.asarray(line.y, float) for line in lines]) if lines else np.zeros(1)
    values = values[np.isfinite(values)]
    if not values.size or values.min() <= 0:
        return False
    # Quantiles, so that one stray value does not decide.
    low, high = np.quantile(values, (0.02, 0.98))
    return bool(high > _LOG_RATIO * low)


def smooth(line: Line, points: int = _POINTS) -> Line:
    """Means over at most ``points`` equal stretches of a curve; non-finite values are left out."""
    x, y = np.asarray(line.x, float), np.asarray(line.y, float)
    keep = np.isfinite(x) & np.isfinite(y)
    x, y = x[keep], y[keep]
    if len(x) <= points:
        return Line(line.name, x.tolist(), y.tolist())
    edges = np.linspace(0, len(x), points + 1).astype(int)[:-1]
    counts = np.diff(np.append(edges, len(x)))
    return Line(
        line.name,
        (np.add.reduceat(x, edges) / counts).tolist(),
        (np.add.reduceat(y, edges) / counts).tolist(),
    )


def line_chart(lines: Sequence[Line], *, title: str) -> Markup:
    """A chart of several curves over the steps, logarithmic where `wants_log`; an empty string without values."""
    drawn = [smoothed for line in lines if (smoothed := smooth(line)).x]
    if not drawn:
        return Markup("")
    log = wants_log(drawn)
    top, bottom, height = 12, 34, 250
    x_high = max(max(line.x) for line in drawn)
    values = [value for line in drawn for value in line.y]
    low, high = min(values), max(values)
    if log:
        low, high = low / 1.15, high * 1.15
    else:
        low, high = min(0.0, low), high + 0.05 * (high - min(0.0, low) or 1.0)

    def across(value: float) -> float:
        return LEFT + value / (x_high or 1.0) * (WIDTH - LEFT - RIGHT)

    def down(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return height - bottom - share * (height - bottom - top)

    parts: list[Markup] = []
    for value in log_ticks(low, high) if log else ticks(low, high):
        parts.append(horizontal(down(value), LEFT, WIDTH - RIGHT, "grid"))
        parts.append(text(LEFT - 6, down(value) + 4, number_text(value), "tick", "end"))
    for value in ticks(0, x_high):
        parts.append(vertical(across(value), height - bottom, height - bottom + 4, "grid"))
        parts.append(text(across(value), height - bottom + 17, number_text(value), "tick", "middle"))
    for number, line in enumerate(drawn):
        path = "M" + "L".join(f"{across(x):.1f} {down(y):.1f}" for x, y in zip(line.x, line.y, strict=True))
        parts.append(Markup('<path class="curve s{}" d="{}"/>').format(number % LINE_STYLES, path))
    parts.append(text(WIDTH - RIGHT, height - 3, "step", "label", "end"))
    summary = "; ".join(f"{line.name} from {number_text(line.y[0])} to {number_text(line.y[-1])}" for line in drawn)
    return svg(parts, WIDTH, height, f"{title}{' (logarithmic)' if log else ''}: {summary}")


def strip_plot(strips: Sequence[Strip], *, title: str) -> Markup:
    """A row of dots per run, the mean as a bar with its interval; an empty string without values."""
    values = [value for strip in strips for _, value in strip.dots]
    if not values:
        return Markup("")
    pad = 0.04 * (max(values) - min(values)) or 0.5
    low, high = min(values) - pad, max(values) + pad
    row, top, bottom = 58, 6, 22
    height = top + row * len(strips) + bottom

    def across(value: float) -> float:
        return 14 + (value - low) / (high - low) * (WIDTH - 28)

    parts: list[Markup] = []
    for value in ticks(low, high):
        parts.append(vertical(across(value), top, height - bottom + 4, "grid"))
        parts.append(text(across(value), height - bottom + 17, number_text(value), "tick", "middle"))
    for number, strip in enumerate(strips):
        middle = top + row * number + 38
        parts.append(text(6, middle - 21, strip.name, "name", "start"))
        if strip.interval:
            band = Markup('<path class="interval c{}" d="M{:.1f} {}H{:.1f}"/>')
            parts.append(band.format(number % 4, across(strip.interval[0]), middle, across(strip.interval[1])))
        for index, (case, value) in enumerate(strip.dots):
            # A fixed, even scatter across the row keeps equal values apart without chance.
            offset = ((index * 7) % 11 - 5) * 1.1
            hint = f"{case}: {number_text(value)}"
            kind, size = SHAPES[number % 4]
            parts.append(shape(kind, across(value), middle + offset, size, f"dot c{number % 4}", hint))
        if strip.mean is not None:
            parts.append(vertical(across(strip.mean), middle - 12, middle + 12, "mean"))
    summary = "; ".join(f"{strip.name} mean {number_text(strip.mean)}" for strip in strips if strip.mean is not None)
    return svg(parts, WIDTH, height, f"{title}: {summary}")
