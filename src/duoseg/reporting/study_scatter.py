"""Named points in a plane as inline SVG, whose names never cover each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from duoseg.reporting.drawing import (
    WIDTH,
    horizontal,
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


@dataclass(frozen=True)
class Point:
    """A named place in a plane."""

    name: str
    x: float
    y: float
    is_reference: bool = False


def scatter(points: Sequence[Point], *, title: str, x_label: str, y_label: str) -> Markup:
    """Named points; every name stands at the nearest free place, with a line to its point where that is not close."""
    if not points:
        return Markup("")
    left, top, bottom = 46, 22, 36
    height = max(280, 20 * len(points) + 60)
    x_low, x_high = padded([point.x for point in points], from_zero=True)
    y_low, y_high = padded([point.y for point in points])

    def place(point: Point) -> tuple[float, float]:
        x = left + (point.x - x_low) / (x_high - x_low) * (WIDTH - left - 10)
        return x, height - bottom - (point.y - y_low) / (y_high - y_low) * (height - bottom - top)

    parts: list[Markup] = []
    for value in ticks(y_low, y_high):
        y = place(Point("", x_low, value))[1]
        parts.append(horizontal(y, left, WIDTH - 10, "grid"))
        parts.append(text(left - 6, y + 4, number_text(value), "tick", "end"))
    for value in ticks(x_low, x_high):
        x = place(Point("", value, y_low))[0]
        parts.append(vertical(x, height - bottom, height - bottom + 4, "grid"))
        parts.append(text(x, height - bottom + 17, number_text(value), "tick", "middle"))
    parts.append(text(WIDTH - 10, height - 4, x_label, "label", "end"))
    parts.append(text(2, 11, y_label, "label", "start"))
    places = [place(point) for point in points]
    widths = [text_width(short(point.name)) for point in points]
    boxes = label_places(places, widths, (left + 2.0, top - 6.0, WIDTH - 10.0, height - bottom - 2.0))
    for point, (x, y), width, (label_x, label_y) in zip(points, places, widths, boxes, strict=True):
        end = min(max(x, label_x), label_x + width), label_y + 7
        if math.dist(end, (x, y)) > 15:
            leader = Markup('<path class="leader" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>')
            parts.append(leader.format(x, y, *end))
        hint = f"{point.name}: {number_text(point.x)}, {number_text(point.y)}"
        kind, size = ("diamond", 6.0) if point.is_reference else ("circle", 3.6)
        parts.append(shape(kind, x, y, size, "point", hint))
        before = label_x + width < x
        start, anchor = (label_x + width, "end") if before else (label_x, "start")
        parts.append(text(start, label_y + 11, short(point.name), "name", anchor, hint=point.name))
    summary = "; ".join(f"{point.name} {number_text(point.x)}, {number_text(point.y)}" for point in points)
    return svg(parts, WIDTH, height, f"{title}: {summary}")


def label_places(
    points: Sequence[tuple[float, float]], widths: Sequence[float], frame: tuple[float, float, float, float]
) -> list[tuple[float, float]]:
    """Upper left corners for labels of height 14, each near its point, over no other label or point.

    Args:
        points: the places that are named.
        widths: of the labels.
        frame: left, top, right and bottom, which labels stay within.
    """
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in points]
    found: list[tuple[float, float]] = []
    for (x, y), width in zip(points, widths, strict=True):
        across = np.arange(frame[0], max(frame[2] - width, frame[0] + 1), 4.0)
        down = np.arange(frame[1], frame[3] - 14, 3.0)
        corners = np.stack(np.meshgrid(across, down, indexing="ij"), axis=-1).reshape(-1, 2)
        # Right and left of the point there is also the exact place beside it.
        corners = np.concatenate([[[x + 8, y - 7], [x - 8 - width, y - 7]], corners])
        inside = (corners[:, 0] >= frame[0]) & (corners[:, 0] + width <= frame[2] + 1)
        other = np.array(taken)
        apart = (
            (corners[:, None, 0] >= other[:, 2])
            | (corners[:, None, 0] + width <= other[:, 0])
            | (corners[:, None, 1] >= other[:, 3])
            | (corners[:, None, 1] + 14 <= other[:, 1])
        )
        nearest = np.clip(x, corners[:, 0], corners[:, 0] + width), np.clip(y, corners[:, 1], corners[:, 1] + 14)
        distance = np.hypot(nearest[0] - x, nearest[1] - y)
        # Where no place is free, the nearest one has to do.
        distance[~(inside & apart.all(axis=1))] += 1e6
        corner = corners[int(np.argmin(distance))]
        found.append((float(corner[0]), float(corner[1])))
        taken.append((found[-1][0] - 3, found[-1][1], found[-1][0] + width + 3, found[-1][1] + 14))
    return found
