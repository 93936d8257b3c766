"""The network in a plan: its levels, their channels, down-sampling and kernels. Arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Sequence

from duoseg.planning.fitting import total_stride
from duoseg.planning.plan import Kernel, NetworkPlan, Triple
from duoseg.planning.sizing import (
    ANISOTROPIC,
    BOTTLENECK,
    STRIDED_STEM_VOXELS,
    Device,
    Flat,
    Millimetres,
    Size,
    choose_strides,
    is_anisotropic,
)

FIRST_CHANNELS = {"cpu": 8, "cuda": 32, "mps": 32}  # at full resolution; twice as many behind a strided stem
MOST_CHANNELS = {"cpu": 128, "cuda": 320, "mps": 320}


def choose_network(
    patch: Triple, spacing: Millimetres, device: Device, size: Size | None = None
) -> tuple[NetworkPlan, str]:
    """Return the network for a patch (voxels) at a spacing (mm), and the reason."""
    size = size or Size()
    voxels = math.prod(patch)
    flat = thin(patch)
    large = device == "cpu" and voxels > STRIDED_STEM_VOXELS if size.stem is None else size.stem == "strided"
    strided = large and not is_anisotropic(spacing, flat) and all(side % 2 == 0 for side in patch)
    strides = choose_strides(patch, spacing, strided_stem=strided)
    first = max(1, round(FIRST_CHANNELS[device] * size.width)) * (2 if strided else 1)
    most = max(1, round(MOST_CHANNELS[device] * size.width))
    channels = tuple(min(first * 2**level, most) for level in range(len(strides) + 1))
    network = NetworkPlan(
        stem="strided" if strided else "full",
        channels=channels,
        strides=strides,
        kernels=choose_kernels(patch, spacing, strides, strided_stem=strided),
    )
    bottom = "x".join(str(side // stride) for side, stride in zip(patch, total_stride(network), strict=True))
    stem = _stem_reason(strided, voxels, size)
    return network, (
        f"{len(channels)} levels leave {bottom} voxels at the deepest (about {BOTTLENECK} to "
        f"{2 * BOTTLENECK} a side); {stem}; channels double from {channels[0]} to at most "
        f"{most} on {device}.{_shape_reason(spacing, flat)}"
    )


def choose_kernels(
    patch: Triple, spacing: Millimetres, strides: Sequence[Triple], *, strided_stem: bool
) -> tuple[Kernel, ...]:
    """Return the convolutions' sides on each level; none where they are 3x3x3 on all.

    Along a thick axis they are 1 until the others have come within a factor of 2 of it, and 3 from there on (Isensee
    et al., Nature Methods 2021). They are 3 on the deepest level, so that slices see their neighbours at least there,
    and 1 along an axis of a single voxel, where wider ones read padding alone.
    """
    stem = 2 if strided_stem else 1
    current = [mm * stem for mm in spacing]
    flat = thin(patch)
    wide = [False] * 3
    kernels: list[Kernel] = []
    for level, stride in enumerate([(1, 1, 1), *strides]):
        current = [mm * step for mm, step in zip(current, stride, strict=True)]
        finest = min((mm for mm, alone in zip(current, flat, strict=True) if not alone), default=min(current))
        wide = [
            before or step > 1 or mm < ANISOTROPIC * finest or level == len(strides)
            for before, step, mm in zip(wide, stride, current, strict=True)
        ]
        x, y, z = (3 if reaches and not alone else 1 for reaches, alone in zip(wide, flat, strict=True))
        kernels.append((x, y, z))
    return () if all(kernel == (3, 3, 3) for kernel in kernels) else tuple(kernels)


def thin(patch: Triple) -> Flat:
    """Return along which axes a patch is a single voxel."""
    x, y, z = (side == 1 for side in patch)
    return x, y, z


def _stem_reason(strided: bool, voxels: int, size: Size) -> str:
    if not strided:
        return "convolutions run at full resolution"
    if size.stem is not None:
        return "a stem of stride 2 comes first, kept from the plan without --hours"
    return (
        f"a patch of {voxels:,} voxels is too many for full-resolution convolutions on CPU, so a stem of "
        "stride 2 comes first"
    )


def _shape_reason(spacing: Millimetres, flat: Flat) -> str:
    text = ""
    if is_anisotropic(spacing, flat):
        text = " A thick axis keeps its size, and convolutions do not reach along it, until the others match it."
    if any(flat):
        text += " Along an axis of one voxel nothing is convolved: the network works within the slice."
    return text
