"""Fitting a plan to the hours and the memory there are: which of several plans, and how many steps.

Nothing is measured here: what a step of a plan costs is asked of a function, and only of the plans that are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from duoseg.errors import InputError
from duoseg.planning.plan import Plan
from duoseg.planning.sizing import Size
from duoseg.scans.texts import mm_text, number_text, shape_text

RUNGS = ((1.0, 1.0), (1.0, 0.5), (0.5, 0.5), (0.5, 0.25), (0.5, 0.125))
"""Width and voxels of a patch, as shares of the usual ones; each rung about halves a step's time."""

SMALLEST_PATCH = 16**3  # voxels; nothing is gained by smaller ones
RESERVE = 0.1  # of the hours, for preparing, saving and the page
START_SECONDS = 20.0  # for starting, saving and the page, beside preparing, however short the training
FLOOR = 0.5  # of the usual steps; with fewer, a smaller network learns more
CEILING = 4  # times the usual steps; a few labels do not teach more and more
FEWEST = 50  # steps; fewer teach nothing
MEMORY_SHARE = 0.9  # of what is available; the rest is for reading patches


@dataclass(frozen=True)
class StepCost:
    """What one step takes.

    Attributes:
        seconds: wall time; infinite where the step was not taken, or failed, for want of memory.
        peak_bytes: memory at its height; None where unknown.
    """

    seconds: float
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Means:
    """What a training may use.

    Attributes:
        hours: wall time from its start to its page.
        aside_seconds: what preparing the scans is thought to take; with 20 s for starting and the page it is set aside,
            or a tenth of the hours if that is more.
        available_bytes: memory; None where unknown.
        steps: as many and no others, where asked for.
    """

    hours: float
    aside_seconds: float = 0.0
    available_bytes: int | None = None
    steps: int | None = None

    @property
    def usable_seconds(self) -> float:
        """The time for steps."""
        seconds = self.hours * 3600
        return max(0.0, seconds - max(RESERVE * seconds, START_SECONDS + self.aside_seconds))


@dataclass(frozen=True)
class Fit:
    """The plan that was chosen.

    Attributes:
        plan: with its number of steps.
        cost: of one step.
        room: steps that the time would have allowed.
        too_large: plans passed over for want of memory.
    """

    plan: Plan
    cost: StepCost
    room: int
    too_large: int


def ladder(make: Callable[[Size], Plan]) -> list[Plan]:
    """Return ever cheaper plans, the usual one first; ``make`` gives the plan of a size.

    First the patch is halved, then the network's width, then the patch again, twice. The spacing follows the patch by
    the planner's own rules: it gets coarser where a patch would see too little, and the smallest class keeps its
    voxels across. What is fixed stays, so there may be a single plan.
    """
    usual = make(Size())
    voxels = math.prod(usual.patch)
    plans = [usual]
    for width, share in RUNGS[1:]:
        size = Size(width=width, voxels=max(SMALLEST_PATCH, round(share * voxels)), stem=usual.network.stem)
        try:
            plan = make(size)
        except InputError:  # what is fixed leaves no such plan
            continue
        if not any(_alike(plan, other) for other in plans):
            plans.append(plan)
    return plans


def fit(plans: Sequence[Plan], means: Means, cost: Callable[[Plan], StepCost]) -> Fit:
    """Return the first plan whose steps fit, with as many as fit, up to 4 times the usual number.

    A plan is passed over while fewer than half its usual steps fit. If that is so for all, the one with most steps is
    taken.

    Args:
        plans: from the usual one to the cheapest; each with its usual number of steps.
        means: time and memory.
        cost: tells what a step of a plan takes; asked of each plan once, until one fits.

    Raises:
        InputError: not even the cheapest plan fits the memory, or 50 of its steps (those asked for, if any) the time.
    """
    slow: list[Fit] = []
    large: list[StepCost] = []
    for plan in plans:
        found = cost(plan)
        if not _fits(found, means):
            large.append(found)
            continue
        room = math.floor(means.usable_seconds / found.seconds)
        wanted = means.steps or math.ceil(FLOOR * plan.steps)
        steps = means.steps or max(1, min(room, CEILING * plan.steps))
        chosen = Fit(plan.model_copy(update={"steps": steps}), found, room, len(large))
        if room >= wanted:
            return chosen
        slow.append(chosen)
    if not slow:
        raise InputError(_memory_text(large[-1], means))
    best = max(slow, key=lambda one: one.room)
    if means.steps is not None or best.room < FEWEST:
        raise InputError(_time_text(best, means))
    return best


def given_up(usual: Plan, chosen: Plan) -> str:
    """Say in what a plan is less than the usual one, such as ``steps 1500 -> 900``; empty if in nothing."""
    pairs = (
        ("spacing", mm_text(usual.spacing), mm_text(chosen.spacing)),
        ("patch", shape_text(usual.patch), shape_text(chosen.patch)),
        ("channels", _channels_text(usual), _channels_text(chosen)),
        ("steps", str(usual.steps), str(min(usual.steps, chosen.steps))),
    )
    return ", ".join(f"{name} {before} -> {after}" for name, before, after in pairs if before != after)


def bytes_text(count: float) -> str:
    """Return an amount of memory for people: ``0.3 GB``."""
    return f"{count / 1e9:.2g} GB" if count < 1e10 else f"{count / 1e9:,.0f} GB"


def time_text(seconds: float) -> str:
    """Return a time for people: ``42 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{number_text(seconds, 2)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def _alike(first: Plan, second: Plan) -> bool:
    return first.model_dump(exclude={"reasons"}) == second.model_dump(exclude={"reasons"})


def _fits(cost: StepCost, means: Means) -> bool:
    if math.isinf(cost.seconds):
        return False
    if cost.peak_bytes is None or means.available_bytes is None:
        return True
    return cost.peak_bytes <= MEMORY_SHARE * means.available_bytes


def _channels_text(plan: Plan) -> str:
    return f"{plan.network.channels[0]} to {plan.network.channels[-1]}"


def _memory_text(cost: StepCost, means: Means) -> str:
    need = "more memory than there is" if cost.peak_bytes is None else f"about {bytes_text(cost.peak_bytes)} of memory"
    there = "" if means.available_bytes is None else f" ({bytes_text(means.available_bytes)} available)"
    return (
        f"--hours: a step of even the smallest plan needs {need}{there}; give a smaller --patch or a smaller network, "
        "or free memory."
    )


def _time_text(best: Fit, means: Means) -> str:
    wanted = means.steps or FEWEST
    seconds = wanted * best.cost.seconds
    total = max(seconds / (1 - RESERVE), seconds + START_SECONDS + means.aside_seconds)
    asked = "steps that were asked for" if means.steps else "steps, the fewest that teach anything,"
    return (
        f"--hours {means.hours:g}: the {wanted} {asked} would take {time_text(total)} even with the cheapest plan "
        f"({best.cost.seconds:.2g} s a step, and what starting, preparing and saving take); give at least --hours "
        f"{math.ceil(total / 36) / 100:g}, or ask for less."
    )
