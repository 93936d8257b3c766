"""What charts are drawn from, as inline SVG: no script, colours from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

WIDTH = 440
_NAME_CHARACTERS = 22
_WIDE, _NARROW = frozenset("mwMW@%"), frozenset("fijlrtI.,:;|'()[]!- ")


def svg(parts: Sequence[Markup], width: float, height: float, description: str) -> Markup:
    """A chart from its parts; the description is read out in place of it."""
    template = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return template.format(width, height, description, Markup("").join(parts))


def text(x: float, y: float, words: str, style: str, anchor: str, *, hint: str = "") -> Markup:
    """Words at a place; the hint, shown by a pointing device, tells what had to be cut."""
    title = Markup("<title>{}</title>").format(hint) if hint and hint != words else ""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}{}</text>').format(
        style, x, y, anchor, words, title
    )


def vertical(x: float, top: float, bottom: float, style: str) -> Markup:
    """A line from top to bottom."""
    return Markup('<path class="{}" d="M{:.1f} {:.1f}V{:.1f}"/>').format(style, x, top, bottom)


def horizontal(y: float, left: float, right: float, style: str) -> Markup:
    """A line from left to right."""
    return Markup('<path class="{}" d="M{:.1f} {:.1f}H{:.1f}"/>').format(style, left, y, right)


def shape(kind: str, x: float, y: float, size: float, style: str, hint: str) -> Markup:
    """A mark whose form tells what its colour does too: circle, diamond, square, or an arrow up, down, left, right.

    ``size`` is its reach from the middle.
    """
    wide, tall = 1.02 * size, 1.78 * size
    forms = {
        "circle": f"M{x - size:.1f} {y:.1f}a{size} {size} 0 1 0 {2 * size} 0a{size} {size} 0 1 0 -{2 * size} 0z",
        "diamond": f"M{x:.1f} {y - size:.1f}l{size} {size}l-{size} {size}l-{size} -{size}z",
        "square": f"M{x - size:.1f} {y - size:.1f}h{2 * size}v{2 * size}h-{2 * size}z",
        "up": f"M{x:.1f} {y - size:.1f}l{wide:.1f} {tall:.1f}h-{2 * wide:.1f}z",
        "down": f"M{x:.1f} {y + size:.1f}l{wide:.1f} -{tall:.1f}h-{2 * wide:.1f}z",
        "left": f"M{x - size:.1f} {y:.1f}l{tall:.1f} -{size}v{2 * size}z",
        "right": f"M{x + size:.1f} {y:.1f}l-{tall:.1f} -{size}v{2 * size}z",
    }
    return Markup('<path class="{}" d="{}"><title>{}</title></path>').format(style, forms[kind], hint)


def short(name: str) -> str:
    """A name that fits beside a row."""
    return name if len(name) <= _NAME_CHARACTERS else f"{name[: _NAME_CHARACTERS - 1]}…"


def text_width(words: str) -> float:
    """Width of words in the size that charts use, on the safe side."""
    return sum(12.0 if letter in _WIDE else 5.2 if letter in _NARROW else 7.7 for letter in words)


def padded(values: Sequence[float], *, from_zero: bool = False) -> tuple[float, float]:
    """Limits of an axis that leave some room around the values."""
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or 0.05 * abs(high) or 0.5
    return (0.0 if from_zero and low >= 0 else low - pad), high + pad


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


def number_text(value: float) -> str:
    """Short and exact enough to read: four significant digits, no exponent between 1e-4 and 1e6."""
    if value and not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
