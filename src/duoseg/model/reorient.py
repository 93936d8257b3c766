"""Mirrors and quarter turns: changes of frame without interpolation, undone exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from duoseg.model.draws import SampleGenerator
from duoseg.planning.plan import AugmentationPlan, Triple

PLANES = ((0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class Reorientation:
    """Output axis ``i`` is input axis ``axes[i]``, reversed where ``flips[i]``."""

    axes: Triple = (0, 1, 2)
    flips: tuple[bool, bool, bool] = (False, False, False)

    def apply(self, volume: Tensor) -> Tensor:
        """Reorient the last three axes of a tensor of any type."""
        lead = volume.dim() - 3
        moved = volume.permute(*range(lead), *(lead + axis for axis in self.axes))
        reverse = [lead + axis for axis, flip in enumerate(self.flips) if flip]
        return moved.flip(reverse) if reverse else moved

    def inverse(self) -> Reorientation:
        """The reorientation that undoes this one."""
        x, y, z = (self.axes.index(axis) for axis in range(3))
        return Reorientation((x, y, z), (self.flips[x], self.flips[y], self.flips[z]))

    def mirrored(self, axis: int) -> Reorientation:
        """This, then a mirror along an output axis."""
        a, b, c = (flip != (i == axis) for i, flip in enumerate(self.flips))
        return Reorientation(self.axes, (a, b, c))

    def turned(self, plane: tuple[int, int]) -> Reorientation:
        """This, then a quarter turn from the plane's first axis to its second, as ``torch.rot90`` turns."""
        order = [0, 1, 2]
        order[plane[0]], order[plane[1]] = plane[1], plane[0]
        x, y, z = order
        swapped = Reorientation(
            (self.axes[x], self.axes[y], self.axes[z]), (self.flips[x], self.flips[y], self.flips[z])
        )
        return swapped.mirrored(plane[0])


def draw_reorientations(
    generator: SampleGenerator,
    *,
    plan: AugmentationPlan,
    size: Triple,
    spacing: Sequence[float] | None = None,
) -> list[Reorientation]:
    """Draw each sample's mirrors and quarter turns.

    Each of the plan's mirror axes is reversed with probability 1/2. Where the plan allows quarter turns, each
    plane whose two axes have equal size and spacing turns 0 to 3 times.
    """
    host = generator.host
    mirrors = (host.uniform(0.0, 1.0, 3) < 0.5).tolist()
    turns = host.integers(0, 4, 3).tolist()
    planes = [_may_turn(plane, size, spacing) for plane in PLANES]
    drawn = []
    for mirror, turn in zip(mirrors, turns, strict=True):
        change = Reorientation()
        for axis in sorted(set(plan.mirror_axes)):
            change = change.mirrored(axis) if mirror[axis] else change
        for plane, allowed, count in zip(PLANES, planes, turn, strict=True):
            for _ in range(count if plan.quarter_turns and allowed else 0):
                change = change.turned(plane)
        drawn.append(change)
    return drawn


def apply_reorientations(tensor: Tensor, changes: Sequence[Reorientation]) -> Tensor:
    """Reorient each sample of (B, ..., X, Y, Z) by its own change, leaving over changes without a sample.

    Raises:
        ValueError: If there are more samples than changes.
    """
    if len(tensor) > len(changes):
        raise ValueError(f"{len(tensor)} samples, but only {len(changes)} spatial changes")
    if len(tensor) == 0:
        return tensor
    rows = zip(tensor, changes, strict=False)
    return torch.stack([change.apply(sample) for sample, change in rows])


def _may_turn(plane: tuple[int, int], size: Triple, spacing: Sequence[float] | None) -> bool:
    first, second = plane
    if size[first] != size[second]:
        return False
    return spacing is None or math.isclose(spacing[first], spacing[second], rel_tol=1e-3)
