"""Rotation, scaling and smooth bending of patches: drawn per sample, applied in one interpolation.

A warp says where each output voxel looks in the input. It is drawn in units of the finest voxel side, so that
rotations are rigid in mm whatever the voxels' shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from duoseg.model.draws import SampleGenerator
from duoseg.model.transfer import moved
from duoseg.planning.plan import AugmentationPlan, Triple

KNOT_DISTANCE = 24.0
# Choi and Lee 2000: a cubic B-spline deformation in 3-D is one-to-one where no control point moves by more
# than 1/2.48 of the knots' distance.
ONE_TO_ONE = 0.4
# Root mean square over a knot interval of a cubic B-spline whose control points are independent with variance
# 1: sqrt(151/315) along one axis, and the axes multiply.
SPLINE_RMS = (151 / 315) ** 1.5


@dataclass(frozen=True)
class Warp:
    """Where output voxels look: ``matrix @ (x + bend(x))``, in voxels from the patch centre.

    Attributes:
        matrix: (3, 3) float64 on the CPU.
        control: (3, kx, ky, kz) float32 on the CPU: displacements, in output voxels, at the knots of a cubic
            B-spline lattice over the output patch; None where nothing bends.
    """

    matrix: Tensor
    control: Tensor | None = None


def units_of(spacing: Sequence[float] | None) -> tuple[float, float, float]:
    """Voxel sides as multiples of the finest one; all 1 without a spacing."""
    x, y, z = (1.0, 1.0, 1.0) if spacing is None else spacing
    finest = min(x, y, z)
    return x / finest, y / finest, z / finest


def draw_warps(
    generator: SampleGenerator,
    *,
    plan: AugmentationPlan,
    size: Triple,
    spacing: Sequence[float] | None = None,
) -> list[Warp | None]:
    """Draw each sample's warp, or None where it stays as it is.

    Angles are uniform within the plan's range about each axis, the scale is log-uniform (above 1 enlarges the
    anatomy), and the bending's root-mean-square displacement along each axis is uniform up to
    ``elastic_voxels`` of the finest side, limited so that space never folds.

    Args:
        generator: One stream per sample.
        plan: Probabilities and ranges.
        size: Shape of the output patch in voxels.
        spacing: Voxel sides in mm; equal sides where omitted.
    """
    units = torch.tensor(units_of(spacing), dtype=torch.float64)
    knots = knot_counts(size, spacing)
    host = generator.host
    drawn = host.chance(plan.spatial_probability).tolist()
    angles = host.uniform(-1.0, 1.0, 3).double() * torch.tensor(plan.rotation_degrees).double().deg2rad()
    low, high = plan.scale
    scales = host.uniform(math.log(low), math.log(high)).double().exp()
    bends = host.uniform(0.0, plan.elastic_voxels)
    controls = host.uniform(-1.0, 1.0, 3, *knots)
    warps: list[Warp | None] = []
    for row, use in enumerate(drawn):
        if not use:
            warps.append(None)
            continue
        turn = rotation(angles[row]) / scales[row]
        # Voxels to finest sides, turn, and back to voxels.
        matrix = turn * units[None, :] / units[:, None]
        control = _bend(float(bends[row]), controls[row], size, units) if plan.elastic_voxels > 0 else None
        warps.append(Warp(matrix, control))
    return warps


def rotation(angles: Tensor) -> Tensor:
    """The rotation about axis 0, then 1, then 2 by ``angles`` (3,) in radians: (3, 3)."""
    (ca, cb, cc), (sa, sb, sc) = torch.cos(angles).tolist(), torch.sin(angles).tolist()
    about_0 = torch.tensor([[1, 0, 0], [0, ca, -sa], [0, sa, ca]], dtype=torch.float64)
    about_1 = torch.tensor([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]], dtype=torch.float64)
    about_2 = torch.tensor([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]], dtype=torch.float64)
    return about_2 @ about_1 @ about_0


def knot_counts(size: Triple, spacing: Sequence[float] | None) -> Triple:
    """Control points along each axis: about one every 24 finest sides, and three more for support."""
    sides = zip(size, units_of(spacing), strict=True)
    x, y, z = (max(1, round(n * unit / KNOT_DISTANCE)) + 3 for n, unit in sides)
    return x, y, z


def spline_basis(n: int, knots: int) -> Tensor:
    """Uniform cubic B-spline weights of control points at voxel centres: (n, knots) float32."""
    position = (torch.arange(n, dtype=torch.float64) + 0.5) * (knots - 3) / n + 1
    distance = (position[:, None] - torch.arange(knots, dtype=torch.float64)[None, :]).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far).float()


def apply_warps(
    image: Tensor, label: Tensor | None, *, warps: Sequence[Warp], size: Triple
) -> tuple[Tensor, Tensor | None]:
    """Warp patches, reading outside them as 0 and their labels as -1.

    Args:
        image: (B, C, X, Y, Z) float32, trilinear.
        label: (L, X, Y, Z) int64 of the first L samples, nearest voxel; or None.
        warps: One for each of the B samples.
        size: Shape of the output, cut about the input's centre.

    Returns:
        (B, C, *size) float32 and (L, *size) int64 or None.
    """
    grid = torch.stack([_grid(warp, image, size) for warp in warps])
    warped = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if label is None:
        return warped, None
    # Shifted by one, the zeros that stand for "outside" become the ignore value.
    shifted = (label[:, None] + 1).float()
    places = grid[: len(label)]
    if label.device.type == "mps":  # which has no nearest-voxel sampling of volumes
        shifted, places = shifted.cpu(), places.cpu()
    found = F.grid_sample(shifted, places, mode="nearest", padding_mode="zeros", align_corners=False)
    return warped, found[:, 0].to(label.device).long() - 1


def centre_crop(volume: Tensor, size: Triple) -> Tensor:
    """The central box of the last three axes, nearer to the start where it cannot be central."""
    starts = [(n - s) // 2 for n, s in zip(volume.shape[-3:], size, strict=True)]
    return volume[(..., *(slice(start, start + s) for start, s in zip(starts, size, strict=True)))]


def _bend(rms: float, control: Tensor, size: Triple, units: Tensor) -> Tensor:
    distances = torch.tensor(size) * units / (torch.tensor(control.shape[1:]) - 3)
    # Uniform values in [-1, 1) have a root mean square of 1 / sqrt(3).
    greatest = (ONE_TO_ONE * distances).clamp(max=rms * math.sqrt(3) / SPLINE_RMS)
    greatest[torch.tensor(size) == 1] = 0  # a lone slice does not bend out of its plane: nothing lies beside it
    return (control * (greatest / units)[:, None, None, None]).float()


def _grid(warp: Warp, image: Tensor, size: Triple) -> Tensor:
    """Sampling positions (*size, 3) in ``grid_sample``'s units and axis order."""
    device = image.device
    shape = torch.tensor(image.shape[-3:], dtype=torch.float64)
    extent = torch.tensor(size, dtype=torch.float64)
    centre = (shape - extent).div(2, rounding_mode="floor") + (extent - 1) / 2
    matrix = warp.matrix * (2 / shape)[:, None]
    offset = (2 * centre + 1) / shape - 1
    lines = [
        moved((matrix[:, axis, None] * (torch.arange(n) - (n - 1) / 2)).float(), device) for axis, n in enumerate(size)
    ]
    plane = lines[0][:, :, None] + (lines[1] + moved(offset[:, None].float(), device))[:, None, :]
    grid = plane[..., None] + lines[2][:, None, None, :]
    if warp.control is not None:
        # A linear map of a spline is the spline of its mapped control points.
        control = moved(torch.einsum("ij,jxyz->ixyz", matrix, warp.control.double()).float(), device)
        for axis, n in enumerate(size):
            basis = moved(spline_basis(n, control.shape[axis + 1]), device)
            control = torch.movedim(torch.tensordot(control, basis, dims=([axis + 1], [1])), -1, axis + 1)
        grid = grid + control
    return grid.flip(0).permute(1, 2, 3, 0)
