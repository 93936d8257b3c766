"""From the positions of slices to a grid.

Only ImagePositionPatient and ImageOrientationPatient place the slices. A series is a grid where one evenly spaced
straight line runs through the positions of all its slices, each within 0.1 mm or 1% of the distance between slices,
whichever is more, but never beyond 10% of that distance. Scanners write positions with two or three decimals, far below
that; a slice that is missing or was taken after a movement of the couch is far above. The line need not be at right
angles to the slices: where a gantry was tilted, the grid is sheared, and its affine says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duoseg.errors import InputError
from duoseg.scans.formats.dicom.frames import Frame, difference
from duoseg.scans.formats.geometry import RAS_FROM_LPS, placed
from duoseg.scans.scan import Grid
from duoseg.scans.texts import count_text, mm_text, shape_text, some_text

TOLERANCE_MM = 0.1
TOLERANCE_SHARE = 0.01  # of the distance between slices
MOST_SHARE = 0.1  # of it: thin slices that are missing are less than 0.1 mm off an even line

_SAME_PLACE_MM, _SAME_PLACE_SHARE = 0.01, 0.1  # of a pixel, whichever is less: some are microns wide
_STEEPEST_DEGREES = 45.0  # gantries tilt by 30 at most
_ONE_SERIES = "give the slices of one volume only, each once"


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order, and where they lie.

    Attributes:
        frames: in the order of the third axis.
        grid: of the whole.
        notes: what had to be assumed.
    """

    frames: tuple[Frame, ...]
    grid: Grid
    notes: tuple[str, ...]


def stack(path: Path, frames: Sequence[Frame]) -> Stack:
    """Order slices along their normal, and place them.

    Raises:
        InputError: they are no volume: differing size, orientation or spacing, two in one place, a gap.
    """
    _require_alike(path, frames)
    frames = sorted(frames, key=_height)  # of equals, the first in the order of files stays first
    _require_apart(path, frames)
    if len(frames) == 1:
        step, note = _announced_step(path, frames[0])
        return _placed(path, frames, frames[0].position, step, note)
    origin, step = _line(path, frames)
    return _placed(path, frames, origin, step)


def tolerance(gap: float) -> float:
    """Return how far a slice may lie from the even line, in mm, where slices are ``gap`` mm apart."""
    return min(max(TOLERANCE_MM, TOLERANCE_SHARE * gap), MOST_SHARE * gap)


def at(frame: Frame) -> str:
    """Return the name of a slice and its height along the normal, for people."""
    return f"{frame.name} at {_height(frame):.2f} mm"


def _height(frame: Frame) -> float:
    return float(frame.position @ frame.normal)


def _placed(
    path: Path, frames: Sequence[Frame], origin: NDArray[np.float64], step: NDArray[np.float64], *notes: str
) -> Stack:
    first = frames[0]
    affine = np.eye(4)
    affine[:3] = np.stack([first.row * first.spacing[0], first.column * first.spacing[1], step, origin], axis=1)
    grid, remarks = placed(path, (*first.size, len(frames)), RAS_FROM_LPS @ affine)
    if grid.skew_degrees > _STEEPEST_DEGREES:
        raise InputError(
            f"{path}: its slices are shifted sideways by {grid.skew_degrees:.3g} degrees from one to the next, which "
            f"no gantry does; {_ONE_SERIES}."
        )
    return Stack(tuple(frames), grid, (*notes, *remarks))


def _require_alike(path: Path, frames: Sequence[Frame]) -> None:
    first = frames[0]
    for other in frames[1:]:
        if other.size != first.size:
            raise InputError(
                f"{path}: its slices differ in size: {at(first)} has {shape_text(first.size)} pixels, {at(other)} has "
                f"{shape_text(other.size)}; {_ONE_SERIES}."
            )
        apart = [
            float(np.linalg.norm(mine * first.spacing[axis] - its * other.spacing[axis])) * (first.size[axis] - 1)
            for axis, (mine, its) in enumerate([(first.row, other.row), (first.column, other.column)])
        ]
        if max(apart) <= TOLERANCE_MM:
            continue
        if np.allclose(first.spacing, other.spacing, rtol=1e-3):
            turned = max(float(first.row @ other.row), -1.0), max(float(first.column @ other.column), -1.0)
            angle = np.degrees(np.arccos(min(*turned, 1.0)))
            raise InputError(
                f"{path}: its slices differ in orientation: {other.name} is turned by {angle:.3g} degrees against "
                f"{first.name}, as in a localizer; {_ONE_SERIES}."
            )
        raise InputError(
            f"{path}: its slices differ in pixel spacing: {at(first)} has {mm_text(first.spacing)}, {at(other)} has "
            f"{mm_text(other.spacing)}; {_ONE_SERIES}."
        )


def same_place_mm(frame: Frame) -> float:
    """Return how far apart two frames may be and lie in one place."""
    return min(_SAME_PLACE_MM, _SAME_PLACE_SHARE * min(frame.spacing))


def _require_apart(path: Path, frames: Sequence[Frame]) -> None:
    """Refuse several images in one place, and say what tells them apart."""
    places: list[list[Frame]] = [[frames[0]]]
    for frame in frames[1:]:
        if _height(frame) - _height(places[-1][0]) > same_place_mm(frames[0]):
            places.append([])
        places[-1].append(frame)
    crowded = max(places, key=len)
    if len(crowded) == 1:
        return
    if len(places) > 1 and len(next(iter(places))) == min(map(len, places)) == len(crowded):
        raise InputError(
            f"{path}: holds {len(crowded)} images at each of {len(places)} positions (4-D), which differ in "
            f"{difference(crowded)}; save each of these volumes as a series of its own."
        )
    names = some_text([frame.name for frame in crowded], most=3)
    raise InputError(
        f"{path}: {len(crowded)} of its slices are at the same position, {_height(crowded[0]):.2f} mm ({names}), and "
        f"differ in {difference(crowded)}; {_ONE_SERIES}."
    )


def _announced_step(path: Path, frame: Frame) -> tuple[NDArray[np.float64], str]:
    """Return the step of a single slice, which has no neighbour to measure it by."""
    for length, name in ((frame.step, "SpacingBetweenSlices"), (frame.thickness, "SliceThickness")):
        if length:
            return frame.normal * abs(
                length
            ), f"it is a single slice, taken as {abs(length):.4g} mm thick by its {name}"
    raise InputError(
        f"{path}: is a single slice of unknown thickness, without SpacingBetweenSlices and SliceThickness; "
        "give a series of several slices."
    )


def _line(path: Path, frames: Sequence[Frame]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the start and the step of the evenly spaced line through the positions, fitted by least squares."""
    positions = np.array([frame.position for frame in frames])
    index = np.arange(len(frames), dtype=np.float64)
    middle = index - index.mean()
    step = middle @ positions / (middle @ middle)
    origin = positions.mean(axis=0) - step * index.mean()
    away = np.linalg.norm(positions - origin - np.outer(index, step), axis=1)
    heights = [_height(frame) for frame in frames]
    gaps = [after - before for before, after in pairwise(heights)]
    usual = sorted(gaps)[(len(gaps) - 1) // 2]
    if away.max() <= tolerance(usual):
        return origin, step
    _refuse_missing(path, frames, gaps, usual)
    worst = int(np.argmax([abs(gap - usual) for gap in gaps]))
    if abs(gaps[worst] - usual) > tolerance(usual):
        raise InputError(
            f"{path}: its slices are unevenly spaced: {at(frames[worst])} and {at(frames[worst + 1])} are "
            f"{gaps[worst]:.4g} mm apart, others {usual:.4g} mm; give a series with even gaps, or resample it."
        )
    worst = int(np.argmax(away))
    raise InputError(
        f"{path}: its slices do not lie on one evenly spaced straight line: {at(frames[worst])} is {away[worst]:.3g} "
        f"mm away from it, more than {tolerance(usual):.2g} mm; {_ONE_SERIES}."
    )


def _refuse_missing(path: Path, frames: Sequence[Frame], gaps: Sequence[float], usual: float) -> None:
    """Refuse gaps that are whole multiples of the usual one: slices are missing there."""
    wholes = [round(gap / usual) for gap in gaps]
    if any(
        abs(gap - whole * usual) > tolerance(usual) * max(1, whole) for gap, whole in zip(gaps, wholes, strict=True)
    ):
        return
    holes = [
        f"{whole - 1} between {at(before)} and {at(after)}"
        for whole, (before, after) in zip(wholes, pairwise(frames), strict=True)
        if whole > 1
    ]
    if holes:
        missing = count_text(sum(wholes) - len(gaps), "slice is", "slices are")
        raise InputError(
            f"{path}: {missing} missing: {some_text(holes, most=3)} (slices are {usual:.4g} mm apart); "
            "copy or export the whole series again."
        )
