"""From a NRRD header to a grid: its space, the directions of its axes, its units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from duoseg.errors import InputError
from duoseg.scans.formats.geometry import RAS_FROM_LPS, placed
from duoseg.scans.formats.nrrd_header import NrrdHeader, quoted_words, vectors_of
from duoseg.scans.formats.text_header import are_numbers, damaged_header, in_mm, numbers
from duoseg.scans.scan import Grid

_SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
_WITHOUT_ANATOMY = {"", "scanner-xyz", "3d-right-handed", "3d-left-handed"}


def grid_of(header: NrrdHeader) -> tuple[Grid, tuple[str, ...]]:
    """Return the grid, and what to note about it.

    Without "space directions" the axes count as LPS, as in ITK; the place is that of the axis minimums, where there are
    any, or the origin.

    Raises:
        InputError: the header holds no usable affine, or names a space that NRRD does not define.
    """
    space = header.fields.get("space", "").lower()
    if space not in _SPACES and space not in _WITHOUT_ANATOMY:
        raise InputError(
            f"{header.path}: its space {header.fields['space'][:40]!r} is none that NRRD defines for volumes; set it "
            "to left-posterior-superior, left-anterior-superior or right-anterior-superior, whichever is right."
        )
    local, notes = _by_directions(header) if "spacedirections" in header.fields else _by_sizes(header)
    to_ras = np.diag([*_SPACES[space], 1.0]) if space in _SPACES else RAS_FROM_LPS
    grid, about_axes = placed(header.path, header.shape, to_ras @ local)
    return grid, (*notes, *about_axes)


def _by_directions(header: NrrdHeader) -> tuple[NDArray[np.float64], list[str]]:
    """Return the affine to the header's own space, in mm, and notes."""
    path, fields = header.path, header.fields
    local, notes = np.eye(4), list[str]()
    vectors = [vector for vector in vectors_of(path, fields["spacedirections"]) if vector is not None]
    local[:3, :3] = np.array(vectors).T
    if "spaceorigin" in fields:
        origin = vectors_of(path, fields["spaceorigin"])
        if len(origin) != 1 or origin[0] is None:
            raise damaged_header(path, "its space origin is not one point")
        local[:3, 3] = origin[0]
    else:
        notes.append("it has no space origin: its position is unknown")
    space = fields.get("space", "").lower()
    if space not in _SPACES:
        notes.append(f"its space {space!r} does not say where left and right are: taken as LPS, as by ITK")
    scale, about_units = _scale(quoted_words(fields.get("spaceunits", "")))
    return np.diag([*scale, 1.0]) @ local, [*notes, *about_units]


def _by_sizes(header: NrrdHeader) -> tuple[NDArray[np.float64], list[str]]:
    """The same for a header without directions."""
    words = header.per_axis("spacings")
    sides = numbers(header.path, "spacings", " ".join(words), 3) if words else [1.0] * 3
    origin = _by_minimums(header, sides) if words else None
    notes = ["it has no space directions: position and orientation are unknown, only voxel sizes were read"]
    if origin is not None:
        notes = ["it has no space directions: its orientation is unknown, its place is that of its axis mins"]
    if not words:
        notes.append("it has no spacings: its voxels were taken as 1 x 1 x 1 mm")
    scale, about_units = _scale(header.per_axis("units"))
    local = np.diag([*sides, 1.0])
    local[:3, 3] = np.zeros(3) if origin is None else origin
    return np.diag([*scale, 1.0]) @ local, [*notes, *about_units]


def _by_minimums(header: NrrdHeader, sides: list[float]) -> NDArray[np.float64] | None:
    """Return the centre of the first voxel, None where not every axis has a minimum.

    As in ITK, a minimum is the border of the first voxel, unless the axis is centred on nodes: then its centre.
    """
    words = " ".join(header.per_axis("axismins"))
    minimums = np.array([float(word) for word in words.split()] if are_numbers(words) else [])
    if len(minimums) != 3 or not np.isfinite(minimums).all():
        return None
    nodes = np.array([word.lower() == "node" for word in header.per_axis("centerings") or [""] * 3])
    return minimums + np.where(nodes, 0, np.array(sides) / 2)


def _scale(units: list[str]) -> tuple[list[float], tuple[str, ...]]:
    """Return the mm of each unit of length, 1 where there are none for the three axes, and notes about them."""
    found = [in_mm(unit) for unit in units] if len(units) == 3 else []
    notes = dict.fromkeys(note for _, about in found for note in about)
    return [factor for factor, _ in found] or [1.0] * 3, tuple(notes)
