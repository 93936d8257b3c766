"""Planes as SVG for every page, and results as HTML that stands alone: what a notebook shows of them.

Colours and lines are attributes, which a page's style sheet may change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from markupsafe import Markup

from duoseg.pictures.planes import CasePicture, Plane, planes

TRUTH, PREDICTION = "#56b4e9", "#f0a30a"
"""Colours of the outlines."""
_LINE = Markup('fill="none" vector-effect="non-scaling-stroke" stroke-linejoin="round"')
_TEXT = Markup(
    'fill="#fff" stroke="#000" stroke-width="0.25em" paint-order="stroke" font-family="sans-serif" font-weight="600" '
    'text-anchor="middle" dominant-baseline="central"'
)
_FRAME_BYTES = 5_000_000
"""Of a page that a notebook is to hold."""
_LONG_TEXT = 60
"""Letters of a cell that needs room."""
_BESIDE = "display:grid;grid-template-columns:repeat(3,1fr);gap:8px;background:#000;padding:8px;max-width:720px"

Item = TypeVar("Item")


class Rows(list[Item]):
    """A list of records that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        """A row a record."""
        if not self:
            return "<p>none</p>"
        names = [field.name for field in fields(self[0])]  # pyrefly: ignore[bad-argument-type]
        return str(table(names, [[_cell(getattr(row, name)) for name in names] for row in self]))


def plane_svg(plane: Plane, *, case: str) -> Markup:
    """A plane in a square of its own, outlines over it; the layers are groups that a page may hide.

    Args:
        plane: what to show.
        case: the scan's name.
    """
    size = max(plane.width, plane.height)
    left, top, inset = (plane.width - size) / 2, (plane.height - size) / 2, size * 0.045
    shown = [name for name, there in (("truth", plane.truth), ("prediction", plane.prediction)) if there]
    middle = (plane.width / 2, plane.height / 2)
    places = ((left + inset, middle[1]), (left + size - inset, middle[1]))
    places += ((middle[0], top + inset), (middle[0], top + size - inset))
    parts = [_image(plane.png, plane)]
    if plane.uncertainty:
        parts.append(_layer("uncertainty", _image(plane.uncertainty, plane)))
    if plane.truth:
        halo = Markup('<path class="halo" {} stroke="#000" stroke-opacity="0.55" stroke-width="3.6" d="{}"/>')
        line = Markup('<path class="truth" {} stroke="{}" stroke-width="1.8" d="{}"/>')
        parts.append(_layer("truth", halo.format(_LINE, plane.truth) + line.format(_LINE, TRUTH, plane.truth)))
    line = Markup('<path class="prediction" {} stroke="{}" stroke-width="1.8" stroke-dasharray="5 2.2" d="{}"/>')
    parts.append(_layer("prediction", line.format(_LINE, PREDICTION, plane.prediction)))
    letters = [
        Markup('<text x="{:.2f}" y="{:.2f}">{}</text>').format(x, y, letter)
        for (x, y), letter in zip(places, plane.letters, strict=True)
    ]
    parts.append(Markup('<g font-size="{:.2f}" {}>{}</g>').format(size * 0.052, _TEXT, Markup().join(letters)))
    return Markup('<svg viewBox="{:.2f} {:.2f} {:.2f} {:.2f}" role="img" aria-label="{}">{}</svg>').format(
        left,
        top,
        size,
        size,
        f"{plane.title} plane of {case}" + (f" with outlines of {' and '.join(shown)}" if shown else ""),
        Markup().join(parts),
    )


def figure(picture: CasePicture) -> Markup:
    """The three planes of a scan beside each other."""
    svgs = [plane_svg(plane, case=picture.case) for plane in planes(picture)]
    return Markup('<div style="{}">{}</div>').format(_BESIDE, Markup().join(svgs))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """A table; numbers are written as they are given."""
    head = Markup().join(Markup('<th scope="col">{}</th>').format(heading) for heading in headings)
    body = Markup().join(Markup("<tr>{}</tr>").format(Markup().join(map(_td, row))) for row in rows)
    whole = Markup('<div style="overflow-x:auto"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>')
    return whole.format(head, body)


def titled(title: str, *parts: Markup) -> str:
    """Parts under a line that says what they are."""
    return str(Markup("<div><p><strong>{}</strong></p>{}</div>").format(title, Markup().join(parts)))


def framed(page: Path) -> str:
    """A page within a notebook; where it is very large, or not there, its path alone."""
    if not page.is_file() or page.stat().st_size > _FRAME_BYTES:
        return titled(str(page))
    frame = Markup('<iframe title="{}" srcdoc="{}" style="width:100%;height:640px;border:1px solid #8888"></iframe>')
    return str(frame.format(page, page.read_text(encoding="utf-8")))


def _td(cell: object) -> Markup:
    style = "text-align:left;min-width:24em" if len(str(cell)) > _LONG_TEXT else "vertical-align:top"
    return Markup('<td style="{}">{}</td>').format(style, cell)


def _cell(value: Any) -> str:
    """A value of a record for people."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(part)}" for name, part in value.items())
    if isinstance(value, Path):
        return value.name
    return ", ".join(map(_cell, value)) if isinstance(value, (list, tuple)) else str(value)


def _image(png: str, plane: Plane) -> Markup:
    return Markup('<image href="{}" width="{}" height="{}" preserveAspectRatio="none"/>').format(
        png, plane.width, plane.height
    )


def _layer(name: str, content: Markup) -> Markup:
    return Markup('<g class="layer-{}">{}</g>').format(name, content)
