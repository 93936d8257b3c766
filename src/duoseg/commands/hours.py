"""Plans for the hours and the memory that there are: measures steps here, and lets the planner's rules decide."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

import torch

from duoseg.commands.runs import TooLarge, build_method
from duoseg.config import Config
from duoseg.planning.budget import (
    CEILING,
    MEMORY_SHARE,
    Fit,
    Means,
    StepCost,
    bytes_text,
    fit,
    given_up,
    ladder,
    time_text,
)
from duoseg.planning.fitting import total_stride
from duoseg.planning.levels import choose_network
from duoseg.planning.plan import Plan
from duoseg.planning.sizing import Device, Size
from duoseg.progress import Progress, counted
from duoseg.scans.texts import count_text, shape_text
from duoseg.training.devices import resolve_precision
from duoseg.training.memory import available_bytes, estimate_bytes
from duoseg.training.places import find_place
from duoseg.training.timing import measure_step

PREPARING = 2.0
"""Preparing a scan takes about so many times as long as measuring it for the plan."""

PATCHES_TRIED = 20
"""Of those smaller than one that does not fit."""

logger = logging.getLogger("duoseg")


def fit_to_hours(
    make: Callable[[Size], Plan],
    settings: Config,
    *,
    device: Device,
    hours: float,
    reading_seconds: float,
    fixed: Sequence[str],
    progress: Progress | None = None,
) -> Plan:
    """Choose among the plans that ``make`` gives the one that fits, and say in ``reasons`` what was given up.

    Args:
        make: the plan of a size.
        settings: method, its settings, steps, precision.
        device: where to measure and to train.
        hours: wall time of the whole training.
        reading_seconds: how long it took to measure the scans.
        fixed: what was asked for, and stays as it is.
        progress: called with what is being done, how much of it is done and how much there is.

    Raises:
        InputError: nothing fits, or a number is absurd.
    """
    plans = ladder(make)
    usual = plans[0]
    # `usual.steps` are those asked for, where some were
    means = Means(hours, PREPARING * reading_seconds, _available(device), _fixed_steps(usual, fixed))
    report = counted(progress, "measure", f"a step of {settings.method}")
    began, done = time.monotonic(), 0

    def cost(plan: Plan) -> StepCost:
        nonlocal done
        measured = _cost(plan, settings, device, means.available_bytes)
        done += 1
        report(done, len(plans))
        return measured

    chosen = fit(plans, means, cost)
    report(len(plans), len(plans))
    told = _reasons(usual, chosen, means, settings.method, device, fixed, time.monotonic() - began)
    return chosen.plan.model_copy(update={"reasons": {**chosen.plan.reasons, **told}})


def warn_of_memory(plan: Plan, settings: Config, device: Device) -> None:
    """Log a warning where a step of the plan will need about more memory than there is, with what would fit."""
    there = _available(device)
    if there is None:
        return
    need = _estimate(plan, settings, device)
    if need <= MEMORY_SHARE * there:
        return
    found = (_parts_that_fit(plan, settings, device, there), _patch_that_fits(plan, settings, device, there))
    fitting = [text for text in found if text]
    advice = f"What would fit: {', or '.join(fitting)}." if fitting else "Plan a smaller network, or free memory."
    end = "the system may end the training" if device == "cpu" else "the training may end for want of it"
    logger.warning(
        f"A step with a patch of {shape_text(plan.patch)} voxels will need about {bytes_text(need)} of memory, and "
        f"{bytes_text(there)} are available: {end}. {advice}"
    )


def _available(device: Device) -> int | None:
    """The memory that this process may take; processes that compute on one machine's CPUs share its."""
    there, place = available_bytes(device), find_place()
    return there // place.sharing if there is not None and device == "cpu" else there


def _parts_that_fit(plan: Plan, settings: Config, device: Device, there: int) -> str:
    for parts in more_parts(plan):
        smaller = plan.model_copy(update={"batch": plan.batch.model_copy(update={"accumulate": parts})})
        if _estimate(smaller, settings, device) <= MEMORY_SHARE * there:
            return f"`duoseg train --accumulate {parts}`"
    return ""


def more_parts(plan: Plan) -> list[int]:
    """In how many more parts than now a batch can be taken, by the processes that share it."""
    batch, count = plan.batch, find_place().count
    several = range(batch.accumulate + 1, math.gcd(batch.labelled, batch.unlabelled) + 1)
    return [parts for parts in several if batch.labelled % (parts * count) == batch.unlabelled % (parts * count) == 0]


def _patch_that_fits(plan: Plan, settings: Config, device: Device, there: int) -> str:
    """The largest of some smaller patches of about the same proportions that fits, with the network planned for it."""
    multiples = total_stride(plan.network)
    for share in range(PATCHES_TRIED - 1, 0, -1):
        scale = (share / PATCHES_TRIED) ** (1 / 3)
        x, y, z = (max(1, int(scale * side / of)) * of for side, of in zip(plan.patch, multiples, strict=True))
        patch = (x, y, z)
        network = plan.network if "network" in settings.plan else choose_network(patch, plan.spacing, device)[0]
        smaller = plan.model_copy(update={"patch": patch, "network": network})
        if math.prod(patch) > math.prod(multiples) and _estimate(smaller, settings, device) <= MEMORY_SHARE * there:
            return f"`duoseg plan --patch {','.join(map(str, patch))}`"
    return ""


def _cost(plan: Plan, settings: Config, device: Device, there: int | None) -> StepCost:
    """Measure a step, unless the system might end this process for the memory that it asks for."""
    try:
        if device == "cpu" and there is not None:
            need = _estimate(plan, settings, device)
            if need > MEMORY_SHARE * there:
                return StepCost(math.inf, need)
        with torch.random.fork_rng(devices=[]):
            learner = build_method(settings, plan)
    except TooLarge:
        return StepCost(math.inf)
    return measure_step(learner, plan, device=device, precision=settings.training.precision)


def _estimate(plan: Plan, settings: Config, device: Device) -> int:
    """About how much memory a step takes here; in half precision at least so much, since what is not halved is less."""
    with torch.device("meta"):
        need = estimate_bytes(build_method(settings, plan), plan, processes=find_place().count)
    return need if resolve_precision(device, settings.training.precision) == "32" else need // 2


def _fixed_steps(usual: Plan, fixed: Sequence[str]) -> int | None:
    return usual.steps if "steps" in fixed else None


def _reasons(
    usual: Plan, chosen: Fit, means: Means, method: str, device: Device, fixed: Sequence[str], seconds: float
) -> dict[str, str]:
    machine = f"cpu ({count_text(torch.get_num_threads(), 'thread')})" if device == "cpu" else device
    if device == "cuda":
        machine = torch.cuda.get_device_name()
    peak = chosen.cost.peak_bytes
    memory = "" if peak is None else f" and up to {bytes_text(peak)} of memory"
    aside = means.hours * 3600 - means.usable_seconds
    lost = given_up(usual, chosen.plan)
    parts = [
        f"{means.hours:g} hours on {machine}: a step of {method} takes {chosen.cost.seconds:.3g} s{memory}, measured "
        f"here, so {chosen.room:,} steps fit; {time_text(aside)} are set aside for preparing, saving and the page.",
        f"Given up against the plan without --hours: {lost}." if lost else "Nothing is given up.",
    ]
    if chosen.too_large:
        parts.append(f"Larger plans that need more memory than there is: {chosen.too_large}.")
    if fixed:
        parts.append(f"Kept as asked for: {', '.join(fixed)}.")
    parts.append(f"Measuring took {time_text(seconds)}.")
    return {"steps": _steps_reason(usual, chosen, means), "hours": " ".join(parts)}


def _steps_reason(usual: Plan, chosen: Fit, means: Means) -> str:
    taken = time_text(chosen.plan.steps * chosen.cost.seconds)
    if means.steps is not None:
        return f"As asked for; they take about {taken}."
    if chosen.room > chosen.plan.steps:
        return f"{CEILING} times the usual {usual.steps}, about {taken}: the rest of the time is not needed."
    return f"As many as fit into the hours, about {taken}; the usual number is {usual.steps}."
