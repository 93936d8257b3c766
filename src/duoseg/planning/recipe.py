"""The choices in a plan that follow from names and counts: normalisation, augmentation, batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from duoseg.errors import InputError
from duoseg.planning.fingerprint import ChannelFacts, Fingerprint
from duoseg.planning.plan import AugmentationPlan, BatchPlan, Normalisation, Triple
from duoseg.planning.sizing import ANISOTROPIC, Millimetres
from duoseg.scans.description import is_ct
from duoseg.scans.sides import speak_of_sides, words


def choose_normalisation(fingerprint: Fingerprint) -> tuple[tuple[Normalisation, ...], str]:
    """Return one rule per channel, chosen by its name, and the reason."""
    measured = fingerprint.intensities or [None] * len(fingerprint.channels)
    rules = tuple(_rule(channel, facts) for channel, facts in zip(fingerprint.channels, measured, strict=True))
    why = {
        "ct": "a fixed window and scale from the labelled foreground, since CT numbers are comparable",
        "zscore": "each scan's own mean and deviation, since its intensities have no common scale",
    }
    return rules, " ".join(f"{rule.channel}: {why[rule.scheme]}." for rule in rules)


def _rule(channel: str, facts: ChannelFacts | None) -> Normalisation:
    if not is_ct(channel):
        return Normalisation(channel=channel, scheme="zscore")
    if facts is None:
        raise InputError(
            f"Channel {channel!r} is CT, whose window is measured in the labelled foreground, but no "
            "labelled voxel is foreground. Annotate a scan, or give the channel another name."
        )
    return Normalisation(
        channel=channel,
        scheme="ct",
        window=(facts.percentile_00_5, facts.percentile_99_5),
        mean=facts.mean,
        std=max(facts.std, 1e-6),
    )


def choose_augmentation(fingerprint: Fingerprint, spacing: Millimetres, patch: Triple) -> tuple[AugmentationPlan, str]:
    """Return the random changes that the anatomy and the voxels' shape allow, and the reason."""
    axes, mirror = _choose_mirroring(tuple(fingerprint.classes))
    plan = AugmentationPlan(mirror_axes=axes)
    x, y, z = (_largest_angle(axis, spacing, patch) for axis in range(3))
    if (x, y, z) == plan.rotation_degrees:
        return plan, mirror
    turned = plan.model_copy(update={"rotation_degrees": (x, y, z)})
    if 1 in patch:
        return turned, f"{mirror} Rotation is within the slice alone, since a patch is one voxel thick."
    thick = spacing.index(max(spacing))
    return turned, f"{mirror} Rotation is small except within the slices, since axis {thick} is coarse."


def _largest_angle(axis: int, spacing: Millimetres, patch: Triple) -> float:
    """Return the largest rotation about an axis, in degrees: it mixes the two others, which must be alike for that."""
    first, second = (other for other in range(3) if other != axis)
    if 1 in (patch[first], patch[second]):
        return 0.0
    sides = spacing[first], spacing[second]
    return 5.0 if max(sides) >= ANISOTROPIC * min(sides) else 20.0


def _choose_mirroring(classes: Sequence[str]) -> tuple[tuple[Literal[0], ...], str]:
    if speak_of_sides(classes):
        return (), "No mirroring, since class names speak of left or right."
    if sum(not words(name) for name in classes) > 1:
        return (), "No mirroring, since several classes have no names, and may be the two sides of one organ."
    return (0,), "Left and right are mirrored, since no class name speaks of a side."


def choose_batch(fingerprint: Fingerprint) -> tuple[BatchPlan, str]:
    """Return the patches of a step, and the reason."""
    if fingerprint.unlabelled:
        return BatchPlan(labelled=2, unlabelled=2), "Two labelled and two unlabelled patches, as published."
    return BatchPlan(labelled=4, unlabelled=0), "Four labelled patches, since no scan is unlabelled."
