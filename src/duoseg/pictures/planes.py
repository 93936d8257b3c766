"""Three planes through a scan's object: the image as a PNG, uncertainty over it, truth and prediction as outlines.

Planes are shown as radiologists look at them: axial from the feet and coronal from the front, the patient's right on
the picture's left; sagittal with the front on the left.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image

_LONGEST = 400
_MARGIN_MM = 18.0
_GLOW = (224, 64, 42)
"""The colour of uncertainty."""


@dataclass(frozen=True)
class CasePicture:
    """One scan with its true and its predicted mask, in right-anterior-superior axis order.

    Attributes:
        case: The scan's name.
        dice: Its Dice, mean over classes; ``None`` where there is none.
        image: (X, Y, Z) intensities; x runs to the patient's right, y to the front, z to the head.
        truth: (X, Y, Z) class indices, 0 is background; None where it is not known.
        prediction: (X, Y, Z) class indices.
        spacing: Voxel sides in mm.
        uncertainty: (X, Y, Z) how probable it is that a voxel's class is wrong, 0 to 1; None where it is not known.
    """

    case: str
    dice: float | None
    image: np.ndarray
    truth: np.ndarray | None
    prediction: np.ndarray
    spacing: tuple[float, float, float]
    uncertainty: np.ndarray | None = None

    def __post_init__(self) -> None:
        volumes = [self.image, *self.masks.values(), *([] if self.uncertainty is None else [self.uncertainty])]
        shapes = [volume.shape for volume in volumes]
        if len(set(shapes)) > 1 or self.image.ndim != 3:
            raise ValueError(f"picture of {self.case}: image and masks need one (X, Y, Z) shape, got {shapes}")

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """The masks that there are, by name: ``truth``, ``prediction``."""
        found = {"truth": self.truth, "prediction": self.prediction}
        return {name: mask for name, mask in found.items() if mask is not None}


@dataclass(frozen=True)
class Plane:
    """One picture.

    Attributes:
        title: Which plane it is.
        png: The image, a data URI.
        width: Of the picture in mm.
        height: Of the picture in mm.
        truth: Outlines as SVG path data in mm; empty where the truth is not known.
        prediction: Outlines likewise.
        letters: Of the left, right, top and bottom edge.
        uncertainty: A data URI to lie over the image; empty where it is not known.
    """

    title: str
    png: str
    width: float
    height: float
    truth: str
    prediction: str
    letters: tuple[str, str, str, str]
    uncertainty: str = ""


_VIEWS = (
    # Title, fixed axis, axis across, axis down (both shown falling), letters of the sides.
    ("Axial", 2, 0, 1, ("R", "L", "A", "P")),
    ("Coronal", 1, 0, 2, ("R", "L", "S", "I")),
    ("Sagittal", 0, 1, 2, ("A", "P", "S", "I")),
)


def planes(picture: CasePicture) -> list[Plane]:
    """Axial, coronal and sagittal plane through the centre of the object (the truth, else the prediction)."""
    centre = object_centre(picture)
    low, high = window_of(picture.image)
    box = object_box(picture)
    result: list[Plane] = []
    for title, fixed, across, down, letters in _VIEWS:
        image, *masks = (
            _slice(volume, fixed, centre[fixed], across, down, box)
            for volume in (picture.image, *picture.masks.values())
        )
        sides = (picture.spacing[down], picture.spacing[across])
        doubt = picture.uncertainty
        glow = "" if doubt is None else _glow(_slice(doubt, fixed, centre[fixed], across, down, box), sides)
        result.append(
            Plane(
                title=title,
                png=_png(Image.fromarray(greys(image, low, high)), sides),
                width=round(image.shape[1] * sides[1], 2),
                height=round(image.shape[0] * sides[0], 2),
                truth=outline(masks[0], sides) if len(masks) > 1 else "",
                prediction=outline(masks[-1], sides),
                letters=letters,
                uncertainty=glow,
            )
        )
    return result


def object_centre(picture: CasePicture) -> tuple[int, int, int]:
    """Voxel at the object's centre of mass, each plane moved to the fullest one where it would miss the object."""
    found = next((mask > 0 for mask in picture.masks.values() if mask.any()), None)
    if found is None:
        x, y, z = (size // 2 for size in picture.image.shape)
        return x, y, z
    place: list[int] = []
    for axis in range(3):
        area = found.sum(axis=tuple(other for other in range(3) if other != axis))
        centre = round(float(np.average(np.arange(len(area)), weights=area)))
        place.append(centre if area[centre] else int(area.argmax()))
    return place[0], place[1], place[2]


def outline(mask: np.ndarray, sides: tuple[float, float]) -> str:
    """Closed paths around every class of a (rows, columns) slice, as SVG path data.

    A path runs through the middles of the voxel edges that separate a class from the rest, which is the 0.5 contour of
    the class's mask; coordinates are (column, row) in mm from the picture's top left corner.
    """
    values = np.unique(mask[mask > 0])
    loops = [loop for value in values for loop in _loops(mask == value)]
    return "".join("M" + "L".join(f"{x * sides[1]:.2f} {y * sides[0]:.2f}" for x, y in loop) + "Z" for loop in loops)


def _loops(mask: np.ndarray) -> list[list[tuple[float, float]]]:
    """Boundary loops of a boolean slice as (x, y) in voxels, corners cut at the middles of voxel edges."""
    padded = np.pad(mask, 1)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # Edges run with the mask on their right, so every corner is left as often as it is reached.
    for (dy, dx), start, end in (
        ((-1, 0), (0, 0), (1, 0)),
        ((0, 1), (1, 0), (1, 1)),
        ((1, 0), (1, 1), (0, 1)),
        ((0, -1), (0, 1), (0, 0)),
    ):
        outside = ~padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
        for row, column in np.argwhere(mask & outside):
            corner = (int(column) + start[0], int(row) + start[1])
            following.setdefault(corner, []).append((int(column) + end[0], int(row) + end[1]))
    loops: list[list[tuple[float, float]]] = []
    while following:
        first = next(iter(following))
        corners = [first]
        while True:
            ends = following[corners[-1]]
            corner = ends.pop()
            if not ends:
                del following[corners[-1]]
            if corner == first:
                break
            corners.append(corner)
        sides = pairwise([*corners, first])
        loops.append([((x0 + x1) / 2, (y0 + y1) / 2) for (x0, y0), (x1, y1) in sides])
    return loops


def _slice(volume: np.ndarray, fixed: int, index: int, across: int, down: int, box: Sequence[slice]) -> np.ndarray:
    """Rows and columns of a plane, cropped, both axes falling: head, front and the patient's right come first."""
    part = volume[tuple(slice(index, index + 1) if axis == fixed else box[axis] for axis in range(3))]
    rows = np.squeeze(np.transpose(part, (down, across, fixed)), axis=2)
    return rows[::-1, ::-1]


def object_box(picture: CasePicture) -> list[slice]:
    """The part worth showing: both masks with a margin, or everything where there is no mask."""
    where = np.argwhere(np.logical_or.reduce([mask > 0 for mask in picture.masks.values()]))
    if not len(where):
        return [slice(0, size) for size in picture.image.shape]
    margins = [int(np.ceil(_MARGIN_MM / side)) for side in picture.spacing]
    lows, highs = where.min(axis=0), where.max(axis=0)
    return [
        slice(max(0, int(low) - margin), min(size, int(high) + margin + 1))
        for low, high, margin, size in zip(lows, highs, margins, picture.image.shape, strict=True)
    ]


def window_of(image: np.ndarray) -> tuple[float, float]:
    """Intensities shown as black and white: the 1st and 99.5th percentile of the finite values."""
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, (1, 99.5)) if finite.size else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)


def _glow(doubt: np.ndarray, sides: tuple[float, float]) -> str:
    """A PNG data URI of a slice of probabilities that is transparent where they are 0 and full from one half on."""
    colour = np.broadcast_to(np.array(_GLOW, np.uint8), (*doubt.shape, 3))
    return _png(Image.fromarray(np.dstack([colour, greys(doubt, 0, 0.5)])), sides)


def greys(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Intensities as bytes: 0 at ``low`` and below and where there is no number, 255 at ``high`` and above."""
    known = np.nan_to_num(image.astype(np.float32), nan=low, posinf=high, neginf=low)
    scaled = (known - np.float32(low)) * np.float32(255 / (high - low))
    return np.ascontiguousarray(np.rint(np.clip(scaled, 0, 255)).astype(np.uint8))


def _png(plane: Image.Image, sides: tuple[float, float]) -> str:
    """A PNG data URI of a slice, enlarged to its true proportions."""
    width, height = plane.width * sides[1], plane.height * sides[0]
    scale = _LONGEST / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    buffer = io.BytesIO()
    plane.resize(size, Image.Resampling.BICUBIC).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
