"""``duoseg compare --hours``: as many steps as fit, the same for all that is compared."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from duoseg.commands.comparing.children import Ended, Event, Task, run_children
from duoseg.commands.comparing.machine import Machine
from duoseg.commands.comparing.measure import Item, MeasureRequest
from duoseg.commands.comparing.setup import SETUPS, entry_config
from duoseg.commands.comparing.study import Asked, Measured, Work
from duoseg.commands.runs import write_json
from duoseg.errors import InputError
from duoseg.files import read_json, write_text
from duoseg.planning.budget import FEWEST, RESERVE, START_SECONDS, time_text

HOURS = "hours.json"
MEASURE = "duoseg.commands.comparing.measure"
MOST_STEPS = 10**9


def stored_choice(out: Path, hours: float) -> dict[str, Any] | None:
    """What was chosen for these hours when the study began; None where nothing was.

    Raises:
        InputError: it was for other hours.
    """
    path = out / SETUPS / HOURS
    if not path.is_file():
        return None
    choice = read_json(path)
    if not isinstance(choice, dict) or not isinstance(choice.get("steps"), int):
        raise InputError(f"{path}: is no choice of steps; remove it, and it is made anew.")
    if choice.get("hours") != hours:
        raise InputError(
            f"{out}: its steps ({choice['steps']}) were chosen for --hours {choice.get('hours'):g}, and all that is "
            f"compared needs the same: give these hours again, or --steps {choice['steps']}, or choose another --out."
        )
    return choice


def measure(asked: Asked, machine: Machine) -> dict[tuple[str, int], Measured]:
    """Measure every entry at every label count, in as many processes as will work side by side.

    Raises:
        InputError: an entry cannot be measured, such as for want of memory.
    """
    items: dict[str, Item] = {}
    keys: dict[tuple[str, int], str] = {}
    for setup in asked.setups:
        for entry in asked.entries:
            config = entry_config(asked.settings, entry, labelled=setup.labelled, seed=0, steps=setup.plan.steps)
            plan = setup.plan.model_dump(mode="json", exclude={"reasons", "steps", "normalisation"})
            key = json.dumps([config.method, config.methods, plan], sort_keys=True)
            if (entry.name, setup.labelled) not in keys:
                keys[entry.name, setup.labelled] = key
                items.setdefault(key, Item(config=config, plan=setup.plan_file.absolute()))
    request = MeasureRequest(
        items=tuple(items.values()),
        scored_table=asked.setups[0].scored_table.absolute(),
        device=asked.device,
        threads=machine.threads,
    )
    folder = asked.out / SETUPS
    write_text(folder / "measure.json", request.model_dump_json())
    tasks = [
        Task(f"measure {slot}", MEASURE, folder / "measure.json", folder / f"measure-{slot}.log")
        for slot in range(machine.jobs)
    ]
    events: list[Event] = []
    ends: list[Ended] = []
    interrupted = run_children(
        tasks,
        jobs=machine.jobs,
        environment=machine.environment,
        told=lambda task, slot, event: events.append(event),
        ended=ends.append,
    )
    if interrupted:
        raise KeyboardInterrupt
    failed = [one.error for one in ends if one.error is not None]
    if failed:
        raise InputError(f"--hours: what a step takes cannot be measured here: {failed[0]}")
    found = {}
    for index, key in enumerate(items):
        ours = [event for event in events if event["index"] == index]
        found[key] = Measured(mean(one["step_s"] for one in ours), mean(one["predict_s"] for one in ours))
    slow = [name for (name, _), key in keys.items() if not math.isfinite(found[key].step_s)]
    if slow:
        raise InputError(f"--hours: a step of {slow[0]} needs more memory than there is; try fewer --jobs.")
    return {place: found[key] for place, key in keys.items()}


def choose_steps(
    work: Sequence[Work], *, hours: float, spent_s: float, jobs: int, usual: int, asked: int | None
) -> dict[str, Any]:
    """Choose the steps of the study, the same for all its combinations but for their factors.

    Args:
        work: what is to be computed, in the order in which it will be.
        hours: wall time of everything.
        spent_s: what reading, planning and preparing have taken of it.
        jobs: how many combinations are computed side by side.
        usual: steps without a limit of time; no more are taken.
        asked: as many and no others.

    Returns:
        ``hours``, ``steps``, and in words the ``reason``.

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
    return {
        "hours": hours,
        "steps": steps,
        "reason": (
            f"{hours:g} hours, {jobs} side by side: a step takes {spread}, predicting and scoring a scan up to "
            f"{max(w.measured.predict_s for w in work):.2g} s, measured here side by side. {len(work)} combinations of "
            f"{steps} steps, {why}, take about {time_text(makespan(work, jobs, steps))}."
        ),
    }


def store_choice(out: Path, choice: Mapping[str, Any]) -> None:
    """Keep what was chosen, for when the study goes on."""
    write_json(out / SETUPS / HOURS, choice)


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
