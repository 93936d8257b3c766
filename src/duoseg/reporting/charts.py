"""Line charts and strip plots as inline SVG: no script, colours from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

WIDTH, LEFT, RIGHT = 440, 46, 10
SHAPES = ("circle", "diamond", "square", "triangle")
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


def ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) within ``low`` and ``high``, both included."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between two positive numbers, thinned to at most seven; with 2 and 5 between where few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    every = max(1, math.ceil((last - first) / 6))
    values = [factor * 10.0**power for power in range(first, last + 1, every) for factor in factors]
    return [value for value in values if low * 0.999 <= value <= high * 1.001]


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

    parts = [_y_tick(down(v), number_text(v)) for v in (log_ticks(low, high) if log else ticks(low, high))]
    parts += [_x_tick(across(v), height - bottom, number_text(v)) for v in ticks(0, x_high)]
    for number, line in enumerate(drawn):
        path = "M" + "L".join(f"{across(x):.1f} {down(y):.1f}" for x, y in zip(line.x, line.y, strict=True))
        parts.append(Markup('<path class="curve s{}" d="{}"/>').format(number % LINE_STYLES, path))
    axis = Markup('<text class="label" x="{}" y="{}" text-anchor="end">{}</text>')
    parts.append(axis.format(WIDTH - RIGHT, height - 3, "step"))
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

    parts = [_x_tick(across(v), height - bottom, number_text(v), top) for v in ticks(low, high)]
    for number, strip in enumerate(strips):
        middle = top + row * number + 38
        name = Markup('<text class="name" x="6" y="{}">{}</text>')
        parts.append(name.format(middle - 21, strip.name))
        if strip.interval:
            band = Markup('<path class="interval c{}" d="M{:.1f} {}H{:.1f}"/>')
            parts.append(band.format(number % 4, across(strip.interval[0]), middle, across(strip.interval[1])))
        for index, (case, value) in enumerate(strip.dots):
            # A fixed, even scatter across the row keeps equal values apart without chance.
            offset = ((index * 7) % 11 - 5) * 1.1
            parts.append(_dot(across(value), middle + offset, number, f"{case}: {number_text(value)}"))
        if strip.mean is not None:
            bar = Markup('<path class="mean" d="M{:.1f} {}v24"/>')
            parts.append(bar.format(across(strip.mean), middle - 12))
    summary = "; ".join(f"{strip.name} mean {number_text(strip.mean)}" for strip in strips if strip.mean is not None)
    return svg(parts, WIDTH, height, f"{title}: {summary}")


def _dot(x: float, y: float, series: int, hint: str) -> Markup:
    """A mark whose shape and colour both tell the run."""
    shape = SHAPES[series % 4]
    paths = {
        "circle": f"M{x - 4:.1f} {y:.1f}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
        "diamond": f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z",
        "square": f"M{x - 3.7:.1f} {y - 3.7:.1f}h7.4v7.4h-7.4z",
        "triangle": f"M{x:.1f} {y - 4.6:.1f}l4.8 8.4h-9.6z",
    }
    template = Markup('<path class="dot c{}" d="{}"><title>{}</title></path>')
    return template.format(series % 4, paths[shape], hint)


def _y_tick(y: float, text: str) -> Markup:
    template = Markup(
        '<path class="grid" d="M{0} {1:.1f}H{2}"/><text class="tick" x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>'
    )
    return template.format(LEFT, y, WIDTH - RIGHT, LEFT - 6, y + 4, text)


def _x_tick(x: float, y: float, text: str, top: float | None = None) -> Markup:
    template = Markup(
        '<path class="grid" d="M{0:.1f} {1}V{2}"/>'
        '<text class="tick" x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>'
    )
    return template.format(x, y + 4 if top is not None else y, top if top is not None else y + 4, y + 17, text)


def svg(parts: Sequence[Markup], width: float, height: float, description: str) -> Markup:
    """A chart from its parts; the description is read out in place of it."""
    template = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return template.format(width, height, description, Markup("").join(parts))


def number_text(value: float) -> str:
    """Short and exact enough to read: four significant digits, no exponent between 1e-4 and 1e6."""
    if value and not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
