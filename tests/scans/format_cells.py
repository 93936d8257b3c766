"""The cells of the format matrix: a scan of one format with one oddity, and what becomes of it.

``everywhere`` makes a row: the same scan, written in each of the four formats of files. DICOM's cells are made by
``dicom_cells``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from format_writers import AFFINE, LPS, VOXELS, write_meta, write_nifti, write_nrrd, write_pair

from duoseg.planning.reading import read_images
from duoseg.scans.cases import Case
from duoseg.scans.formats import read_scan

Outcome = Literal["read", "read, with a note", "refused"]
READ: Outcome = "read"
NOTED: Outcome = "read, with a note"
REFUSED: Outcome = "refused"

WRITERS: dict[str, Callable[..., Path]] = {
    "NIfTI": write_nifti,
    "NIfTI pair": write_pair,
    "NRRD": write_nrrd,
    "MetaImage": write_meta,
}
FORMATS = (*WRITERS, "DICOM")


@dataclass(frozen=True, eq=False)
class Reading:
    """What a reader makes of a file."""

    voxels: np.ndarray
    affine: np.ndarray
    notes: tuple[str, ...] = ()


def through_read_scan(path: Path) -> Reading:
    """The scan as its file has it."""
    scan = read_scan(path)
    return Reading(scan.voxels, scan.grid.affine, scan.notes)


@dataclass(frozen=True, eq=False)
class Cell:
    """One scan of one format with one oddity.

    Attributes:
        section: heading under which its row stands.
        oddity: its row.
        format: its column.
        make: writes it into a folder, without duoseg, and returns the path to give to duoseg.
        outcome: what duoseg does with it.
        says: what the note or the refusal must match.
        text: the same in a few words, for the table.
        voxels: the right ones.
        affine: the right one, to RAS+ mm.
        read: how it is read; for masks, how one is written and read by another library.
        differs: what the other library for the format does instead; "" where it agrees.
    """

    section: str
    oddity: str
    format: str
    make: Callable[[Path], Path]
    outcome: Outcome = READ
    says: str = ""
    text: str = ""
    voxels: np.ndarray = field(default_factory=lambda: VOXELS, repr=False)
    affine: np.ndarray = field(default_factory=lambda: AFFINE, repr=False)
    read: Callable[[Path], Reading] = through_read_scan
    differs: str = ""

    def __str__(self) -> str:
        return f"{self.format}: {self.oddity}"


_FIELDS = set(Cell.__dataclass_fields__) - {"voxels", "affine"}


def through_read_images(path: Path) -> Reading:
    """The scan as training and prediction see it."""
    images = read_images(Case("scan", (path,), None, "scan"))
    return Reading(images.voxels[0], images.grid.affine, images.notes)


def everywhere(
    section: str,
    oddity: str,
    outcome: Outcome = READ,
    *,
    says: str = "",
    text: str = "",
    only: tuple[str, ...] = tuple(WRITERS),
    expected: Mapping[str, Any] | None = None,
    per: Mapping[str, Mapping[str, Any]] | None = None,
    **options: Any,
) -> Iterator[Cell]:
    """Yield a row of cells.

    Args:
        section: heading.
        oddity: name of the row.
        outcome: of all cells of the row.
        says: as in ``Cell``.
        text: as in ``Cell``.
        only: the formats.
        expected: fields of the cell, such as ``voxels`` and ``affine`` where they are not what is written.
        per: by format, what is particular: ``expected`` as above, other fields of the cell, and options for the writer.
        options: for the writer.
    """
    for format_ in only:
        particular = dict((per or {}).get(format_, {}))
        fields = dict(expected or {}) | particular.pop("expected", {})
        fields |= {key: particular.pop(key) for key in _FIELDS & set(particular)}
        written = options | particular
        content = {key: written[key] for key in ("voxels", "affine") if key in written}
        cell = Cell(section, oddity, format_, partial(WRITERS[format_], **written), outcome, says, text)
        yield replace(cell, **(content | fields))


def oblique(degrees: float = 20.0) -> np.ndarray:
    """An affine turned about two axes."""
    angle = np.radians(degrees)
    about_z = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(angle / 2), -np.sin(angle / 2)], [0, np.sin(angle / 2), np.cos(angle / 2)]]
    )
    return placed(about_z @ about_x @ AFFINE[:3, :3])


def placed(axes: np.ndarray) -> np.ndarray:
    """An affine with these axes at the position of ``AFFINE``."""
    affine = AFFINE.copy()
    affine[:3, :3] = axes
    return affine


OBLIQUE = oblique()
SAGITTAL = LPS @ placed(np.array([[0, 0, -3.0], [0.7, 0, 0], [0, -1.1, 0]]))
MIRRORED = placed(np.diag([0.7, -1.1, 3.0]))
SHEARED = placed(AFFINE[:3, :3] @ np.array([[1, 0, 0], [0, 1, 0.6], [0, 0, 1]]))
THICK = placed(np.diag([-0.5, -0.5, 8.0]))
