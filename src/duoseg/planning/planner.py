"""From measurements to a plan: every choice of a run, by rules that a reader can follow, with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable

from duoseg.errors import InputError
from duoseg.planning.fingerprint import Fingerprint
from duoseg.planning.fitting import require_fitting_patch
from duoseg.planning.levels import choose_network, thin
from duoseg.planning.overrides import override
from duoseg.planning.plan import OptimiserPlan, Plan, Triple, WindowPlan
from duoseg.planning.recipe import choose_augmentation, choose_batch, choose_normalisation
from duoseg.planning.requests import checked_request
from duoseg.planning.sizing import (
    CLASS_VOXELS,
    COARSEST,
    COVERAGE,
    MANY_CLASSES,
    Device,
    Millimetres,
    Size,
    choose_patch,
    coarsened,
    content_mm,
    coverage,
    exact_halvings,
    flat_axes,
    halvings,
    lifted,
    median_triple,
    smallest_class_mm,
    voxel_budget,
)
from duoseg.scans.texts import mm_text, shape_text
from duoseg.scans.values import MAX_CLASSES

__all__ = ["make_plan", "override"]

STEPS = {"cpu": 1500, "cuda": 6000, "mps": 3000}


def make_plan(
    fingerprint: Fingerprint,
    *,
    device: Device,
    steps: int | None = None,
    spacing: Millimetres | None = None,
    patch: Triple | None = None,
    size: Size | None = None,
) -> Plan:
    """Choose everything a run needs; the same fingerprint and device give the same plan.

    ``steps``, ``spacing`` (mm) and ``patch`` (voxels), both in canonical axis order, replace the planner's
    choices. ``size`` makes the plan smaller than it would be.

    Raises:
        InputError: no class is known or no scan labelled, CT intensities cannot be measured, an option is no
            such value, ``patch`` suits no network, or the scans are too small for any.
    """
    _require_classes(fingerprint)
    asked = checked_request(steps=steps, spacing=spacing, patch=patch)
    steps, spacing, patch = asked.steps, asked.spacing, asked.patch
    size = size or Size()
    reasons = {"classes": _classes_reason(fingerprint)}
    extent = content_mm(fingerprint)
    flat = flat_axes(fingerprint) if patch is None else thin(patch)

    def budget(spacing: Millimetres) -> int:
        return voxel_budget(device, spacing, len(fingerprint.classes), flat=flat, most=size.voxels)

    if spacing is None:
        spacing, reasons["spacing"] = _choose_spacing(fingerprint, extent, device, patch, budget)
    else:
        reasons["spacing"] = "As asked for."
    if patch is None:
        patch = choose_patch(extent, spacing, budget(spacing))
        reasons["patch"] = _patch_reason(patch, extent, spacing, device, budget(spacing), len(fingerprint.classes))
    else:
        _require_usable(patch)
        reasons["patch"] = f"As asked for.{_padding_reason(patch, extent, spacing)}"
    network, reasons["network"] = choose_network(patch, spacing, device, size)
    if asked.patch is None:
        _require_large_enough(patch, extent, spacing)
    require_fitting_patch(network, patch)
    normalisation, reasons["normalisation"] = choose_normalisation(fingerprint)
    augmentation, reasons["augmentation"] = choose_augmentation(fingerprint, spacing, patch)
    batch, reasons["batch"] = choose_batch(fingerprint)
    optimiser = OptimiserPlan()
    reasons["optimiser"] = (
        f"AdamW with a learning rate of {optimiser.learning_rate:g}: it learns in few steps, without tuning "
        "per data set."
    )
    reasons["schedule"] = (
        f"Cosine to zero after a warm-up over {optimiser.warm_up:.0%} of the steps: the last checkpoint is "
        "then a good one, and no scan is spent on choosing another."
    )
    reasons["steps"] = "As asked for." if steps is not None else f"The default on {device}: {STEPS[device]}."
    reasons["window"] = "Windows overlap by half and are blended with a Gaussian, so that no seam shows."
    return Plan(
        channels=fingerprint.channels,
        classes=fingerprint.classes,
        ignore_value=fingerprint.ignore_value,
        spacing=spacing,
        patch=patch,
        normalisation=normalisation,
        network=network,
        batch=batch,
        optimiser=optimiser,
        augmentation=augmentation,
        window=WindowPlan(),
        steps=STEPS[device] if steps is None else steps,
        reasons=reasons,
    )


def _require_classes(fingerprint: Fingerprint) -> None:
    count = len(fingerprint.classes)
    if not count:
        raise InputError(
            "No foreground class is known: no label that may be read shows one, and no dataset.json names "
            "any. Annotate at least one scan."
        )
    if not fingerprint.labelled:
        raise InputError("No training scan has a label that may be read. Annotate at least one scan.")
    if count > MAX_CLASSES:
        raise InputError(f"There are {count} classes; at most {MAX_CLASSES} are supported.")


def _classes_reason(fingerprint: Fingerprint) -> str:
    absent = [facts.name for facts in fingerprint.anatomy if not facts.volumes_ml]
    text = f"{len(fingerprint.classes)} foreground class(es), {fingerprint.labelled} labelled scan(s)."
    if fingerprint.labelled == 1:
        text += " All that labels tell, such as how large a class is, rests on that one scan."
    return f"{text} No labelled scan shows: {', '.join(absent)}." if absent else text


def _choose_spacing(
    fingerprint: Fingerprint,
    extent: Millimetres,
    device: Device,
    patch: Triple | None,
    budget: Callable[[Millimetres], int],
) -> tuple[Millimetres, str]:
    """Start at the median spacing; coarsen by whole factors while a patch sees too little of a scan.

    Along an axis on which a patch of a single voxel was asked for it never sees enough, and is not meant to. Where
    coarsening shows a patch no more along its worst axis, the start is kept.
    """
    start = lifted(median_triple([case.spacing for case in fingerprint.cases]), flat_axes(fingerprint))
    class_mm = smallest_class_mm(fingerprint)
    slices = thin(patch) if patch is not None else (False, False, False)
    factor, spacing, seen, seen_at_start = 1, start, 0.0, 0.0
    for factor in range(1, COARSEST + 1):
        spacing = coarsened(start, factor, class_mm)
        trial = patch or choose_patch(extent, spacing, budget(spacing))
        shares = zip(coverage(trial, extent, spacing), slices, strict=True)
        seen = min((share for share, alone in shares if not alone), default=1.0)
        seen_at_start = seen if factor == 1 else seen_at_start
        if seen >= COVERAGE:
            break
    median_text = f"The scans' median spacing is {mm_text(start)}"
    if spacing != start and seen <= seen_at_start:
        return start, (
            f"{median_text}, and it is kept: coarser ones would not show a patch more of a scan ({mm_text(extent)}) "
            f"along the axis of which it sees {seen:.0%}."
        )
    if spacing == start:
        held = (
            "a patch sees enough of a scan at it"
            if factor == 1
            else f"coarser would leave the smallest class under {CLASS_VOXELS} voxels across"
        )
        return spacing, f"{median_text}, and it is kept: {held}."
    limit = ""
    if class_mm is not None and any(
        mm < factor * min(start) and mm > own for mm, own in zip(spacing, start, strict=True)
    ):
        limit = f" It stops where the smallest class would have under {CLASS_VOXELS} voxels across."
    return spacing, (
        f"{median_text}; at that a patch for {device} would see less than {COVERAGE:.0%} of a scan "
        f"({mm_text(extent)}) along some axis, so the finest axes are coarsened up to {factor} times the finest "
        f"side, where it sees at least {seen:.0%}.{limit}"
    )


def _patch_reason(
    patch: Triple, extent: Millimetres, spacing: Millimetres, device: Device, budget: int, classes: int
) -> str:
    shares = coverage(patch, extent, spacing)
    many = f" (fewer than usual, since there are {classes} classes)" if classes > MANY_CLASSES else ""
    if min(shares) >= 0.999:
        seen = "holds the whole of the median scan's content"
    else:
        seen = "spans " + ", ".join(f"{share:.0%}" for share in shares) + " of the median scan's content"
    slice_text = " It is one voxel thick: a slice." if any(thin(patch)) else ""
    return (
        f"{math.prod(patch):,} voxels, within about {budget:,} on {device}{many}; it {seen} ({mm_text(extent)}), "
        f"and its sides are multiples of the network's down-sampling.{slice_text}"
    )


def _padding_reason(patch: Triple, extent: Millimetres, spacing: Millimetres) -> str:
    """Say where a patch that was asked for is larger than most scans."""
    sizes = [round(length / mm) for length, mm in zip(extent, spacing, strict=True)]
    if all(side <= max(1, size) for side, size in zip(patch, sizes, strict=True)):
        return ""
    return (
        f" The median scan's content has {shape_text(sizes)} voxels at this spacing: smaller scans are padded, "
        "which costs time and shows nothing."
    )


def _require_large_enough(patch: Triple, extent: Millimetres, spacing: Millimetres) -> None:
    if math.prod(patch) < 2:
        raise InputError(
            f"The scans are too small for a network: their median content is {mm_text(extent)}, a single voxel at the "
            f"spacing of {mm_text(spacing)}. Use a finer spacing, or scans that show more."
        )


def _require_usable(patch: Triple) -> None:
    """Refuse sides that cannot be halved to a small bottleneck, and name the nearest that can."""
    for side in patch:
        if halvings(side) - exact_halvings(side) > 1:
            multiple = 2 ** max(1, halvings(side) - 1)
            below = max(multiple, side // multiple * multiple)
            raise InputError(
                f"The patch {shape_text(patch)} has a side of {side} voxels, which cannot be halved "
                f"often enough; the nearest sides that can are {below} and {below + multiple}."
            )
