"""Reading one case: all its channels on one grid, its label on the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.scans.dataset import Case
from duoseg.scans.formats import read_scan
from duoseg.scans.misplacement import misplacement_text, realignment_text
from duoseg.scans.scan import Grid, Scan
from duoseg.scans.segments import by_name
from duoseg.scans.values import as_integers, fill_not_finite, not_finite_text


@dataclass(frozen=True)
class Images:
    """All channels of a case.

    Attributes:
        voxels: (C, X, Y, Z) float32, in the axis order of the first channel's file; all finite.
        grid: where the voxels lie.
        notes: what reading had to assume or change, one sentence each, with the file's name.
    """

    voxels: np.ndarray
    grid: Grid
    notes: tuple[str, ...] = ()


def read_images(case: Case) -> Images:
    """Read a case's images.

    A channel stored in another axis order than the first is reordered; voxels that are NaN or infinite become the
    channel's lowest finite value. Both are noted.

    Raises:
        InputError: a file cannot be read, has no finite voxel, or two channels lie on different grids.
    """
    first = read_scan(case.images[0])
    grid, name = first.grid, case.images[0].name
    # as files have them, the first axis fastest: nothing is turned while it is copied
    voxels = np.empty((len(case.images), *grid.shape[::-1]), np.float32).transpose(0, 3, 2, 1)
    notes = _take(first, voxels[0])
    del first
    for channel, path in zip(voxels[1:], case.images[1:], strict=True):
        scan, moved = _aligned(read_scan(path), grid, name)
        notes += [*moved, *_take(scan, channel)]
    return Images(voxels, grid, tuple(notes))


def read_channels(case: Case) -> tuple[np.ndarray, Grid]:
    """Read a case's images as `read_images` does; return voxels and grid alone."""
    images = read_images(case)
    return images.voxels, images.grid


def read_label(case: Case, grid: Grid, classes: Mapping[str, int] | None = None) -> np.ndarray:
    """Read a labelled case's label, whole file values ``(X, Y, Z)``, and hold it to its image's grid.

    A label stored in another axis order than its image is reordered, and segments without their empty rim get it back.
    Where ``classes`` (name -> value) are declared, segments with their names get their values.

    Raises:
        InputError: the file cannot be read, lies on another grid than the image, holds other than whole numbers, or
            names its segments against ``classes``.
    """
    return read_label_scan(case, grid, classes).voxels


def read_label_scan(case: Case, grid: Grid, classes: Mapping[str, int] | None = None) -> Scan:
    """Read a labelled case's label as `read_label` does; return it with the names of its segments, if it has any."""
    if case.label is None:
        raise ValueError(f"case {case.name} has no label")
    scan, _ = _aligned(by_name(read_scan(case.label), classes or {}), grid, case.images[0].name)
    return replace(scan, voxels=as_integers(scan.voxels, case.label))


def _take(scan: Scan, channel: np.ndarray) -> list[str]:
    """Copy a scan's voxels into ``channel``; return what is to be noted of it."""
    wrong = not_finite_text(scan.voxels)
    channel[...] = fill_not_finite(scan.voxels, scan.source) if wrong else scan.voxels
    notes = [*scan.notes, *([f"{wrong}; the lowest finite value was taken for them"] if wrong else [])]
    return [_note(scan.source, note) for note in notes]


def _aligned(scan: Scan, grid: Grid, name: str) -> tuple[Scan, list[str]]:
    """Return a scan stored as ``grid`` is, that of ``name``, and what was done to it."""
    placed = scan.onto(grid)
    if placed is None:
        raise InputError(
            f"{scan.source}: not on the grid of its image: {misplacement_text(scan.grid, grid, name)}. "
            "Resample it onto that grid; `duoseg check` lists all such files."
        )
    if grid.matches(scan.grid):
        return placed, []
    return placed, [_note(scan.source, realignment_text(scan.grid, grid, name))]


def _note(file: Path, text: str) -> str:
    return f"{file.name}: {text}."
