"""The sizes in a plan: spacing, patch, and the network's down-sampling. Arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from duoseg.planning.fingerprint import Fingerprint
from duoseg.planning.plan import Triple

Device = Literal["cpu", "cuda", "mps"]
Millimetres = tuple[float, float, float]

PATCH_VOXELS = {"cpu": 64 * 64 * 48, "cuda": 128 * 128 * 96, "mps": 128 * 128 * 96}
PATCH_TOLERANCE = 1.05  # sides come in multiples, so the budget is met within 5%
STRIDED_STEM_VOXELS = 110_000  # above it, full-resolution convolutions dominate a step on CPU
COVERAGE = 0.6  # share of the median scan that a patch should span along each axis
COARSEST = 3  # times the finest voxel side
CLASS_VOXELS = 8  # the smallest class keeps as many voxels across
BOTTLENECK = 4  # voxels a side at the deepest level, at least
MANY_CLASSES = 8  # beyond it, the classes' maps at full resolution dominate memory
LONGEST = 1e9  # voxels along a side; with more, products would overflow
ANISOTROPIC = 2.0  # ratio of voxel sides from which an axis counts as thick

Flat = tuple[bool, bool, bool]
"""Along which axes a scan or patch is a single voxel: how thick that one is says nothing about the others."""


@dataclass(frozen=True)
class Size:
    """How large a plan may be.

    Attributes:
        width: share of the usual number of channels.
        voxels: a patch has about so many at most; the device's usual number where None.
        stem: the network's entry; by rule where None.
    """

    width: float = 1.0
    voxels: int | None = None
    stem: Literal["full", "strided"] | None = None


def median_triple(rows: Sequence[Sequence[float]]) -> Millimetres:
    """Return the median of each column, to six significant digits."""
    x, y, z = (float(f"{median(column):.6g}") for column in zip(*rows, strict=True))
    return x, y, z


def content_mm(fingerprint: Fingerprint) -> Millimetres:
    """Return the median extent (mm) of the scans' content."""
    return median_triple(
        [[n * mm for n, mm in zip(case.content, case.spacing, strict=True)] for case in fingerprint.cases]
    )


def flat_axes(fingerprint: Fingerprint) -> Flat:
    """Return along which axes the median scan's content is a single voxel."""
    x, y, z = (count < 2 for count in median_triple([case.content for case in fingerprint.cases]))
    return x, y, z


def lifted(spacing: Millimetres, flat: Flat) -> Millimetres:
    """Return the spacing with no ``flat`` axis finer than the finest of the others.

    A lone voxel stays one at any coarser spacing, and the finest side is what all other sizes are measured against.
    """
    finest = min((mm for mm, alone in zip(spacing, flat, strict=True) if not alone), default=min(spacing))
    x, y, z = (max(mm, finest) if alone else mm for mm, alone in zip(spacing, flat, strict=True))
    return x, y, z


def smallest_class_mm(fingerprint: Fingerprint) -> Millimetres | None:
    """Return along each axis the least of the classes' median extents (mm); None without any."""
    extents = [median_triple(facts.extents_mm) for facts in fingerprint.anatomy if facts.extents_mm]
    if not extents:
        return None
    x, y, z = (min(column) for column in zip(*extents, strict=True))
    return x, y, z


def coarsened(spacing: Millimetres, factor: int, class_mm: Millimetres | None) -> Millimetres:
    """Return the spacing with the finest axes brought up to ``factor`` times the finest side.

    Thicker axes stay; no axis gets so coarse that the smallest class has fewer than 8 voxels across it.
    """
    goal = factor * min(spacing)
    limits = [math.inf] * 3 if class_mm is None else [side / CLASS_VOXELS for side in class_mm]
    x, y, z = (max(mm, min(goal, float(f"{limit:.3g}"))) for mm, limit in zip(spacing, limits, strict=True))
    return x, y, z


def is_anisotropic(spacing: Millimetres, flat: Flat = (False, False, False)) -> bool:
    """Return whether the thickest voxel side is at least twice the thinnest, ``flat`` axes aside."""
    sides = [mm for mm, alone in zip(spacing, flat, strict=True) if not alone]
    return bool(sides) and max(sides) >= ANISOTROPIC * min(sides)


def voxel_budget(
    device: Device, spacing: Millimetres, classes: int, *, flat: Flat = (False, False, False), most: int | None = None
) -> int:
    """Return how many voxels a patch may have, at most ``most``.

    Anisotropic ones on CPU stay small enough for a full stem. Beyond 8 foreground classes the number of voxels
    times classes is bounded.
    """
    anisotropic = device == "cpu" and is_anisotropic(spacing, flat)
    voxels = STRIDED_STEM_VOXELS if anisotropic else PATCH_VOXELS[device]
    budget = voxels * MANY_CLASSES // max(MANY_CLASSES, classes)
    return budget if most is None else max(1, min(budget, most))


def choose_patch(extent: Millimetres, spacing: Millimetres, budget: int) -> Triple:
    """Return the patch (voxels) that spans the largest share of ``extent`` (mm) along its worst axis.

    Sides are multiples of a power of 2 that leaves about 4 to 8 voxels at the network's deepest level, and no
    longer than needed to hold the extent.
    """
    sizes = [min(LONGEST, max(1.0, length / mm)) for length, mm in zip(extent, spacing, strict=True)]
    most = math.floor(budget * PATCH_TOLERANCE)
    multiples = _multiples(sizes, (budget / math.prod(sizes)) ** (1 / 3))
    if math.prod(multiples) > most:
        multiples = _multiples(sizes, _longest_axes_share(sizes, budget))
    x, y, z = max(
        _full_patches(sizes, multiples, most),
        key=lambda patch: (*_coverage_rank(patch, sizes), -math.prod(patch)),
    )
    return x, y, z


def coverage(patch: Triple, extent: Millimetres, spacing: Millimetres) -> Millimetres:
    """Return the share of ``extent`` (mm) that a patch spans along each axis, at most 1."""
    x, y, z = (min(1.0, side * mm / length) for side, mm, length in zip(patch, spacing, extent, strict=True))
    return x, y, z


def halvings(side: int) -> int:
    """Return how often a side of so many voxels may be halved with at least 4 voxels left."""
    return max(0, int(math.log2(max(1, side) / BOTTLENECK)))


def exact_halvings(side: int) -> int:
    """Return how often a side may be halved without remainder and with at least 4 voxels left."""
    wanted = halvings(side)
    return max(count for count in range(wanted + 1) if side % 2**count == 0)


def choose_strides(patch: Triple, spacing: Millimetres, *, strided_stem: bool) -> tuple[Triple, ...]:
    """Return the down-sampling on entering each level below the first, until about 4 to 8 voxels are left.

    A thick axis waits, with stride 1, until the others have come within a factor of 2 of it.
    """
    first = 1 if strided_stem else 0
    left = [max(0, exact_halvings(side) - first) for side in patch]
    current = [mm * 2**first for mm in spacing]
    strides: list[Triple] = []
    while any(left):
        finest = min(mm for mm, count in zip(current, left, strict=True) if count)
        x, y, z = (2 if count and mm < ANISOTROPIC * finest else 1 for mm, count in zip(current, left, strict=True))
        strides.append((x, y, z))
        left = [count - (stride == 2) for count, stride in zip(left, (x, y, z), strict=True)]
        current = [mm * stride for mm, stride in zip(current, (x, y, z), strict=True)]
    return tuple(strides)


def _coverage_rank(patch: Sequence[int], sizes: Sequence[float]) -> tuple[float, float]:
    shares = [min(1.0, side / size) for side, size in zip(patch, sizes, strict=True)]
    return min(shares), sum(shares)


def _multiples(sizes: Sequence[float], share: float) -> list[int]:
    """Return the powers of 2 that fit sides which span a share (at most all) of so many voxels."""
    return [2 ** halvings(max(1, round(size * min(1.0, share)))) for size in sizes]


def _longest_axes_share(sizes: Sequence[float], budget: int) -> float:
    """Return the share of the axes that the budget allows, leaving out those of which it would be under a voxel.

    A patch spans a whole voxel of such an axis, so the others cannot have the share that all three would have.
    """
    share = 1.0
    for count in (3, 2, 1):
        longest = sorted(sizes)[-count:]
        share = (budget / math.prod(longest)) ** (1 / count)
        if longest[0] * share >= 1:
            break
    return share


def _full_patches(sizes: Sequence[float], multiples: Sequence[int], most: int) -> Iterator[Triple]:
    """Yield the patches of at most ``most`` voxels whose last side is as long as the two others let it be."""
    first, second, third = multiples
    ends = [multiple * math.ceil(round(size) / multiple) for size, multiple in zip(sizes, multiples, strict=True)]
    for x in range(first, min(ends[0], most // (second * third)) + 1, first):
        for y in range(second, min(ends[1], most // (x * third)) + 1, second):
            yield x, y, min(ends[2], most // (x * y * third) * third)
