"""As many steps as fit into some hours, the same for all that is compared."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from duoseg.commands.comparing.asked import Work
from duoseg.commands.runs import MOST_STEPS
from duoseg.errors import InputError
from duoseg.planning.budget import FEWEST, RESERVE, START_SECONDS, time_text


class Choice(BaseModel):
    """The steps of a study that fit its hours.

    Attributes:
        hours: wall time that was given.
        steps: of every combination, but for the factors of entries.
        reason: in words.
        combinations: names of those that the hours were divided among, and of those that have joined since.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hours: float
    steps: Annotated[int, Field(ge=1)]
    reason: str
    combinations: tuple[str, ...]


def choose_steps(
    work: Sequence[Work], *, hours: float, spent_s: float, jobs: int, usual: int, asked: int | None
) -> Choice:
    """Choose the steps of the study, the same for all its combinations but for their factors.

    Args:
        work: what is to be computed, in the order in which it will be.
        hours: wall time of everything.
        spent_s: what reading, planning and preparing have taken of it.
        jobs: how many combinations are computed side by side.
        usual: steps without a limit of time; no more are taken.
        asked: as many and no others.

    Raises:
        InputError: fewer than 50 steps fit, or not as many as were asked for; says what would.
    """
    usable = hours * 3600 * (1 - RESERVE) - spent_s - START_SECONDS
    room = _most_steps(work, jobs, usable)
    wanted = asked or FEWEST
    if room < wanted:
        raise InputError(_too_little(work, hours, spent_s, jobs, usable, wanted, asked is not None))
    steps = asked or min(room, usual)
    ordered = sorted(work, key=lambda one: one.measured.step_s)
    times = {one.entry.name: one.measured.step_s for one in (ordered[0], ordered[-1])}
    spread = " to ".join(f"{seconds:.2g} s ({name})" for name, seconds in times.items())
    why = "as asked for" if asked else f"as many as fit (usual: {usual})" if room < usual else "the usual number"
    return Choice(
        hours=hours,
        steps=steps,
        reason=(
            f"{hours:g} hours, {jobs} side by side: a step takes {spread}, predicting and scoring a scan up to "
            f"{max(w.measured.predict_s for w in work):.2g} s, measured here side by side. {len(work)} combinations of "
            f"{steps} steps, {why}, take about {time_text(makespan(work, jobs, steps))}."
        ),
        combinations=tuple(one.combination.name for one in work),
    )


def makespan(work: Sequence[Work], jobs: int, steps: int) -> float:
    """The wall time, s, of all combinations where each begins, in order, when a place is free."""
    free = [0.0] * jobs
    for one in work:
        heapq.heappush(free, heapq.heappop(free) + one.seconds(steps))
    return max(free)


def _most_steps(work: Sequence[Work], jobs: int, usable: float) -> int:
    low, high = 0, MOST_STEPS
    while low < high:
        middle = (low + high + 1) // 2
        if makespan(work, jobs, middle) <= usable:
            low = middle
        else:
            high = middle - 1
    return low


def _too_little(
    work: Sequence[Work], hours: float, spent_s: float, jobs: int, usable: float, wanted: int, asked: bool
) -> str:
    takes = makespan(work, jobs, wanted)
    needed = (takes + spent_s + START_SECONDS) / (1 - RESERVE)
    what = "steps that were asked for" if asked else "steps, the fewest that teach anything,"
    message = (
        f"--hours {hours:g}: {len(work)} combinations of the {wanted} {what} would take {time_text(needed)}, {jobs} "
        f"side by side; give at least --hours {math.ceil(needed / 36) / 100:g}"
    )
    seeds = list(dict.fromkeys(one.combination.seed for one in work))
    for count in range(len(seeds) - 1, 0, -1):
        fewer = [one for one in work if one.combination.seed in seeds[:count]]
        if makespan(fewer, jobs, wanted) <= usable:
            return f"{message}, or {count} of {len(seeds)} seeds, which fit."
    if asked and _most_steps(work, jobs, usable) >= FEWEST:
        return f"{message}, or leave out --steps: {_most_steps(work, jobs, usable)} would fit."
    return f"{message}, or compare less: fewer methods, label counts or folds."
