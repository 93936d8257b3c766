"""Volumes small enough to lie in a page, for its viewer: cropped around the object, in few bits, compressed."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from importlib import resources

import nibabel as nib
import numpy as np
from scipy import ndimage

from duoseg.pictures.planes import CasePicture, greys, object_box, window_of

CASE_BYTES = 3_000_000
"""Of a scan with its masks, as they stand in the page."""
COARSEST = 0.02
"""Times the scan's voxels along each axis: with so few any scan is small enough."""
MOST_SHRUNK = 16
"""Times less that a volume takes at most when it is compressed, blank ones apart, which are rare."""


def viewer_script() -> str | None:
    """The text of NiiVue, one script; None where this installation lacks it."""
    file = resources.files("duoseg.reporting") / "viewer" / "niivue.umd.js"
    return file.read_text(encoding="utf-8") if file.is_file() else None


def class_values(pictures: Sequence[CasePicture]) -> list[int]:
    """The values of all classes that the masks of some scans have."""
    found = [np.unique(mask[mask > 0]) for picture in pictures for mask in picture.masks.values()]
    return sorted({int(value) for values in found for value in values})


def inlined(picture: CasePicture, values: Sequence[int], *, most_bytes: int = CASE_BYTES) -> dict[str, str]:
    """A scan and the masks and map that there are as gzipped NIfTI in base64, by name; together within a limit.

    Image intensities become 0 to 255. What is too much as it is becomes coarser.

    Args:
        picture: the scan.
        values: of all classes that the page shows, in order.
        most_bytes: the limit.
    """
    box = tuple(object_box(picture))
    grey = greys(picture.image[box], *window_of(picture.image))
    scale = min(1.0, (MOST_SHRUNK * most_bytes / grey.size) ** (1 / 3))
    while True:
        found = {"image": _packed(grey, picture.spacing, scale, order=1)}
        for name, mask in picture.masks.items():
            found[name] = _packed(ranked(mask[box], values), picture.spacing, scale, order=0)
        if picture.uncertainty is not None:
            doubt = picture.uncertainty[box].astype(np.float32).round(2)  # with more digits nothing would compress
            found["uncertainty"] = _packed(doubt, picture.spacing, scale, order=1)
        if sum(map(len, found.values())) <= most_bytes or scale <= COARSEST:
            return found
        scale = max(COARSEST, 0.8 * scale)


def ranked(mask: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """A mask's values as their place among `values`, from 1, uint8: a file may have any values, and a viewer 256.

    A value that is none of them, such as that of voxels without annotation, becomes 0.
    """
    return np.where(np.isin(mask, values), np.searchsorted(values, mask) + 1, 0).astype(np.uint8)


def _packed(volume: np.ndarray, spacing: tuple[float, float, float], scale: float, *, order: int) -> str:
    """A volume at so many times its voxels, as NIfTI in right-anterior-superior order."""
    shape = [max(1, round(scale * size)) for size in volume.shape]
    factors = [new / size for new, size in zip(shape, volume.shape, strict=True)]
    if scale < 1:
        volume = ndimage.zoom(volume, factors, order=order, mode="nearest", grid_mode=True)
    affine = np.diag([*(side / factor for side, factor in zip(spacing, factors, strict=True)), 1.0])
    packed = gzip.compress(nib.Nifti1Image(volume, affine).to_bytes(), mtime=0)
    return base64.b64encode(packed).decode("ascii")
