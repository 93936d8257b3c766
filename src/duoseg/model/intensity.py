"""Changes of a patch's intensities, as scanners and protocols cause them: drawn per sample, then applied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from duoseg.model.draws import SampleGenerator
from duoseg.model.spatial import units_of
from duoseg.model.transfer import moved
from duoseg.planning.plan import AugmentationPlan

INVERTED_SHARE = 0.25
Values = tuple[float, ...]


@dataclass(frozen=True)
class IntensityRanges:
    """How far intensities may change, and how many times as often as the plan says.

    Intensities are in standard deviations of the normalised scan; blur is a Gaussian's standard deviation in
    voxels of the finest side; low resolution is the share of voxels kept along an axis.
    """

    likelihood: float = 1.0
    brightness: float = 0.3
    contrast: tuple[float, float] = (0.75, 1.3)
    gamma: tuple[float, float] = (0.7, 1.5)
    noise: float = 0.15
    blur: tuple[float, float] = (0.5, 1.2)
    low_resolution: tuple[float, float] = (0.5, 1.0)


PLAIN = IntensityRanges()
STRONG = IntensityRanges(
    likelihood=2.0,
    brightness=0.6,
    contrast=(0.5, 2.0),
    gamma=(0.5, 2.0),
    noise=0.3,
    blur=(0.5, 1.6),
    low_resolution=(0.35, 1.0),
)


@dataclass(frozen=True)
class IntensityChange:
    """One sample's changes, in the order of their application; None where one is not applied.

    ``gamma``, ``contrast``, ``brightness`` and ``noise`` have one value per channel: channels are separate
    acquisitions.
    """

    blur: float | None = None
    low_resolution: float | None = None
    gamma: Values | None = None
    inverted: bool = False
    contrast: Values | None = None
    brightness: Values | None = None
    noise: Values | None = None


def draw_intensities(
    generator: SampleGenerator, *, plan: AugmentationPlan, channels: int, ranges: IntensityRanges = PLAIN
) -> list[IntensityChange]:
    """Draw each sample's changes; factors and exponents are log-uniform, the other values uniform."""
    host = generator.host

    def drawn(probability: float) -> list[bool]:
        return host.chance(min(1.0, probability * ranges.likelihood)).tolist()

    blurred, blur = drawn(plan.blur_probability), host.uniform(*ranges.blur).tolist()
    coarse, kept = drawn(plan.low_resolution_probability), host.uniform(*ranges.low_resolution).tolist()
    bent, gamma = drawn(plan.gamma_probability), _factors(host, ranges.gamma, channels)
    inverted = host.chance(INVERTED_SHARE).tolist()
    stretched, contrast = drawn(plan.contrast_probability), _factors(host, ranges.contrast, channels)
    shifted = drawn(plan.brightness_probability)
    brightness = host.uniform(-ranges.brightness, ranges.brightness, channels).tolist()
    noisy, noise = drawn(plan.noise_probability), host.uniform(0.0, ranges.noise, channels).tolist()
    return [
        IntensityChange(
            blur=blur[i] if blurred[i] else None,
            low_resolution=kept[i] if coarse[i] else None,
            gamma=tuple(gamma[i]) if bent[i] else None,
            inverted=inverted[i],
            contrast=tuple(contrast[i]) if stretched[i] else None,
            brightness=tuple(brightness[i]) if shifted[i] else None,
            noise=tuple(noise[i]) if noisy[i] else None,
        )
        for i in range(len(generator))
    ]


def apply_intensities(
    image: Tensor,
    changes: Sequence[IntensityChange],
    *,
    generator: SampleGenerator,
    spacing: Sequence[float] | None = None,
) -> Tensor:
    """Change each sample of (B, C, X, Y, Z) by its own draw; ``generator`` gives the noise."""
    # Sample by sample: few draw any one change, and no arithmetic can depend on the neighbours. Dense, as a
    # sum's rounding depends on the memory layout.
    rows = enumerate(zip(image.contiguous(), changes, strict=True))
    changed = [_changed(x, change, generator.select([i]), spacing) for i, (x, change) in rows]
    return torch.stack(changed) if changed else image


def gaussian_matrix(n: int, sigma: float) -> Tensor:
    """Gaussian smoothing of ``n`` voxels as a matrix (n, n) float32; weights are renormalised at the ends."""
    offset = torch.arange(n, dtype=torch.float64)
    weights = torch.exp(-0.5 * ((offset[:, None] - offset[None, :]) / sigma) ** 2)
    return (weights / weights.sum(1, keepdim=True)).float()


def low_resolution_matrix(n: int, share: float) -> Tensor:
    """Linear, antialiased, down to ``share`` of ``n`` voxels and linear back up: (n, n) float32."""
    coarse = max(1, round(n * share))
    fine_centre = torch.arange(n, dtype=torch.float64) + 0.5
    coarse_centre = (torch.arange(coarse, dtype=torch.float64) + 0.5) * n / coarse
    # Distances in coarse voxels; beyond the outermost coarse centres, the nearest one is held.
    distance = (coarse_centre[:, None] - fine_centre[None, :]).abs() * coarse / n
    down = (1 - distance).clamp(min=0)
    held = fine_centre.clamp(float(coarse_centre[0]), float(coarse_centre[-1]))
    up = (1 - (held[:, None] - coarse_centre[None, :]).abs() * coarse / n).clamp(min=0)
    return ((up / up.sum(1, keepdim=True)) @ (down / down.sum(1, keepdim=True))).float()


def along_axes(volume: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Apply one (m, n) matrix along each of the axes of (C, X, Y, Z)."""
    x, y, z = (moved(matrix, volume.device) for matrix in matrices)
    volume = torch.einsum("ij,cjyz->ciyz", x, volume)
    volume = torch.einsum("ij,cxjz->cxiz", y, volume)
    return torch.einsum("ij,cxyj->cxyi", z, volume)


def change_gamma(volume: Tensor, gamma: Tensor, *, inverted: bool = False) -> Tensor:
    """Raise each channel of (C, X, Y, Z) to a power on its own range, counted from max if ``inverted``."""
    low, high = volume.amin((1, 2, 3), keepdim=True), volume.amax((1, 2, 3), keepdim=True)
    extent = (high - low).clamp(min=1e-7)
    if inverted:
        return high - ((high - volume) / extent).pow(gamma) * extent
    return low + ((volume - low) / extent).pow(gamma) * extent


def _changed(
    volume: Tensor, change: IntensityChange, generator: SampleGenerator, spacing: Sequence[float] | None
) -> Tensor:
    def per_channel(values: Values) -> Tensor:
        return moved(torch.tensor(values, dtype=volume.dtype), volume.device)[:, None, None, None]

    sides = list(zip(volume.shape[1:], units_of(spacing), strict=True))
    if change.blur is not None:
        volume = along_axes(volume, [gaussian_matrix(n, change.blur / unit) for n, unit in sides])
    if change.low_resolution is not None:
        # A coarse scan has equally coarse sides: an axis that is coarse already loses less.
        shares = [min(1.0, change.low_resolution * unit) for _, unit in sides]
        matrices = [low_resolution_matrix(n, share) for (n, _), share in zip(sides, shares, strict=True)]
        volume = along_axes(volume, matrices)
    if change.gamma is not None:
        volume = change_gamma(volume, per_channel(change.gamma), inverted=change.inverted)
    if change.contrast is not None:
        mean = volume.mean((1, 2, 3), keepdim=True)
        volume = mean + (volume - mean) * per_channel(change.contrast)
    if change.brightness is not None:
        volume = volume + per_channel(change.brightness)
    if change.noise is not None:
        volume = volume + per_channel(change.noise) * generator.normal(*volume.shape)[0]
    return volume


def _factors(host: SampleGenerator, bounds: tuple[float, float], channels: int) -> list[list[float]]:
    low, high = bounds
    return host.uniform(math.log(low), math.log(high), channels).exp().tolist()
