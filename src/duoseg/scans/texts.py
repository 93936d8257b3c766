"""Numbers, sizes and lengths in words, the same in every message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def shape_text(shape: Iterable[int]) -> str:
    """Return a shape for people: ``5 x 6 x 7``."""
    return " x ".join(str(size) for size in shape)


def mm_text(sides: Iterable[float]) -> str:
    """Return lengths for people: ``0.5 x 0.5 x 3 mm``."""
    return " x ".join(f"{side:.4g}" for side in sides) + " mm"


def number_text(value: float, digits: int = 3) -> str:
    """Return a number for people: ``0.0512``, ``18.2``, ``1523``; so many digits, and all before the point."""
    return f"{value:.{digits}g}" if abs(value) < 10 ** (digits - 1) else f"{value:.0f}"


def count_text(number: int, one: str, many: str = "") -> str:
    """Return a number with the words for one or for several, by default with an s: ``1 voxel``, ``3 voxels``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def some_text(items: Sequence[object], most: int = 10, separator: str = ", ") -> str:
    """Return the first items, and how many more there are."""
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(map(str, items[:most])) + rest


def duration_text(seconds: float) -> str:
    """A time in the two largest of hours, minutes and seconds."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
