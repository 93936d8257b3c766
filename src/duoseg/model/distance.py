"""Masks as signed distance maps, and back: the second student's language (DTML)."""

from __future__ import annotations

from collections.abc import Sequence

import edt
import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from duoseg.model.losses import IGNORE
from duoseg.model.precision import precise


def bounded(maps: Tensor) -> Tensor:
    """A network's unbounded maps as signed distances in (-1, 1), by tanh in float32 at least.

    Half precision rounds them to -1 and 1 early, from where no gradient leads back.
    """
    return torch.tanh(precise(maps))


def mask_from_distance(distance: Tensor, k: float) -> Tensor:
    """The soft mask T(phi) = sigmoid(-k phi) of a map that is negative inside (DTML, with k = 1500).

    Half-precision maps are computed and returned in float32: at k = 1500 all of the gradient lies where
    ``|phi|`` is below about 0.005, which half precision cannot resolve.

    Args:
        distance: A map of any shape.
        k: Steepness, in 1 / units of the map.

    Returns:
        Values in [0, 1], of the map's shape, float32 (float64 for a float64 map).
    """
    return torch.sigmoid(-k * precise(distance))


def logits_from_distance(distance: Tensor, k: float) -> Tensor:
    """The logarithms of class probabilities from one map per foreground class, up to a constant a voxel.

    Foreground class c gets T_c, background the product of all (1 - T_c); the softmax brings their sum to 1.

    Args:
        distance: (B, K, *spatial), negative inside.
        k: Steepness, in 1 / units of the map.

    Returns:
        (B, K + 1, *spatial), background first, float32 (float64 for a float64 map).
    """
    steep = k * precise(distance)
    # 1 - sigmoid(-x) = sigmoid(x); logarithms have a gradient where their values have vanished.
    return torch.cat([F.logsigmoid(steep).sum(1, keepdim=True), F.logsigmoid(-steep)], dim=1)


def probabilities_from_distance(distance: Tensor, k: float) -> Tensor:
    """The class probabilities of which `logits_from_distance` gives the logarithms."""
    return torch.softmax(logits_from_distance(distance, k), dim=1)


def signed_distance(label: np.ndarray, classes: int, spacing: Sequence[float], *, clip_mm: float) -> np.ndarray:
    """Distance in mm from voxel centres to the nearest one across each class's boundary.

    Negative inside, positive outside, so never 0; a class that fills the patch or is absent from it is
    ``-clip_mm`` or ``clip_mm`` throughout. The patch border is no boundary. Voxels that are ignored (-1)
    count as outside every class.

    Args:
        label: (X, Y, Z) class indices, 0 for background.
        classes: Number K of foreground classes.
        spacing: Voxel sides in mm.
        clip_mm: Greatest distance in the map, in mm.

    Returns:
        (K, X, Y, Z) float32.
    """
    maps = np.empty((classes, *label.shape), dtype=np.float32)
    for index in range(classes):
        inside = label == index + 1
        if not inside.any():
            maps[index] = clip_mm
            continue
        # One transform serves both sides: with two labels and no zero, it measures to the nearest voxel of
        # the other label.
        sides = np.ascontiguousarray(inside, dtype=np.uint8) + np.uint8(1)
        distance = edt.edt(sides, anisotropy=tuple(spacing), black_border=False, parallel=1)
        # Infinite where there is no other side.
        np.clip(np.where(inside, -distance, distance), -clip_mm, clip_mm, out=maps[index])
    return maps


def normalised_distance(label: Tensor, classes: int, spacing: Sequence[float]) -> Tensor:
    """Signed distance maps with values from -1 to 1, the regression target of SASSNet and DTC.

    Outside a class the distance to it over the greatest such distance in the patch, inside it minus the same, and 0 on
    the class's own boundary voxels (those with a face neighbour outside). The published code gives 0 throughout where a
    class is absent, which is to say boundary everywhere; here it is 1, outside, and -1 where a class fills the patch.

    Args:
        label: (B, X, Y, Z) class indices, 0 for background. What nobody annotated (-1) counts as outside, but an inner
            distance is never one to it: like the patch's border it is no boundary.
        classes: Number K of foreground classes.
        spacing: Voxel sides in mm.

    Returns:
        (B, K, X, Y, Z) float32 on the label's device.
    """
    maps = [_normalised(one, classes, spacing) for one in label.cpu().numpy()]
    shape = (0, classes, *label.shape[1:])
    return torch.from_numpy(np.stack(maps) if maps else np.empty(shape, np.float32)).to(label.device)


def _normalised(label: np.ndarray, classes: int, spacing: Sequence[float]) -> np.ndarray:
    farther = float(np.linalg.norm(np.multiply(label.shape, spacing)))  # than any distance in the patch
    maps = signed_distance(label, classes, spacing, clip_mm=farther)
    unknown = label == IGNORE
    for index, distance in enumerate(maps):
        inside = label == index + 1
        if inside.all() or not inside.any():
            distance /= farther
            continue
        perhaps = inside | unknown
        if unknown.any():
            distance[inside] = signed_distance(perhaps, 1, spacing, clip_mm=farther)[0][inside]
        boundary = inside & ~ndimage.binary_erosion(perhaps, border_value=1)  # the patch border is no boundary
        distance[inside] /= -distance[inside].min()
        distance[~inside] /= distance[~inside].max()
        distance[boundary] = 0
    return maps
