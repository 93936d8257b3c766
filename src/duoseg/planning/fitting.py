"""Whether a network's levels add up, and which patches it can take."""

from __future__ import annotations

import math

from duoseg.errors import InputError
from duoseg.planning.plan import NetworkPlan, Triple

VNET_LEVELS = 5


def total_stride(network: NetworkPlan) -> Triple:
    """Voxels of the patch per voxel of the deepest level, along each axis: patch sides must be multiples of it."""
    stem = 2 if network.architecture == "residual_unet" and network.stem == "strided" else 1
    x, y, z = (stem * math.prod(stride[axis] for stride in network.strides) for axis in range(3))
    return x, y, z


def require_fitting_patch(network: NetworkPlan, patch: Triple) -> None:
    """Refuse a network whose levels do not add up, or a patch that it cannot take.

    Raises:
        InputError: names the nearest sizes that fit.
    """
    _require_levels(network)
    multiples = total_stride(network)
    size = "x".join(map(str, patch))
    if any(side % multiple for side, multiple in zip(patch, multiples, strict=True)):
        nearest = " x ".join(_nearest(side, multiple) for side, multiple in zip(patch, multiples, strict=True))
        raise InputError(
            f"A patch of {size} voxels does not fit the network ({network.architecture}), whose patch sides must be "
            f"multiples of {'x'.join(map(str, multiples))}. The nearest sizes that fit: {nearest}."
        )
    if math.prod(patch) // math.prod(multiples) < 2:
        raise InputError(
            f"A patch of {size} voxels shrinks to a single voxel in the network, where nothing can be normalised: "
            "use a larger patch or fewer levels."
        )


def _require_levels(network: NetworkPlan) -> None:
    if len(network.strides) != len(network.channels) - 1:
        raise InputError(
            f"The network has {len(network.channels)} levels of channels but {len(network.strides)} strides: give one "
            "stride fewer than channels."
        )
    if network.kernels and len(network.kernels) != len(network.channels):
        raise InputError(
            f"The network has {len(network.channels)} levels of channels but {len(network.kernels)} kernels: give one "
            "kernel a level, or none for 3x3x3 on all."
        )
    if network.kernels and network.architecture == "vnet":
        raise InputError("The V-Net has kernels of 3x3x3: leave out network.kernels.")
    vnet = len(network.channels) == VNET_LEVELS and set(network.strides) == {(2, 2, 2)}
    if network.architecture == "vnet" and not vnet:
        raise InputError(
            f"The V-Net has {VNET_LEVELS} levels with stride 2 between them: give {VNET_LEVELS} channels and "
            f"{VNET_LEVELS - 1} strides of [2, 2, 2]."
        )


def _nearest(side: int, multiple: int) -> str:
    below = side // multiple * multiple
    if below == side:
        return str(side)
    return f"({below} or {below + multiple})" if below else str(multiple)
