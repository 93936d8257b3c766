"""``duoseg compare --hours``: as many steps as fit, the same for all that is compared."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

from duoseg.commands.comparing.asked import Asked, Measured
from duoseg.commands.comparing.children import Ended, Event, Task, run_children
from duoseg.commands.comparing.machine import Machine
from duoseg.commands.comparing.measure import Item, MeasureRequest
from duoseg.commands.comparing.places import SETUPS
from duoseg.commands.comparing.setup import entry_config
from duoseg.commands.comparing.steps import Choice, choose_steps, makespan
from duoseg.commands.runs import write_json
from duoseg.config import parse
from duoseg.errors import InputError
from duoseg.files import read_json, write_text
from duoseg.planning.budget import time_text
from duoseg.scans.texts import count_text
from duoseg.study.grid import Combination

HOURS = "hours.json"
MEASURE = "duoseg.commands.comparing.measure"

logger = logging.getLogger("duoseg")


def stored_choice(out: Path, hours: float, *, steps: int | None = None) -> Choice | None:
    """What was chosen for these hours when the study began; None where nothing was.

    Raises:
        InputError: it was for other hours, or other steps are asked for.
    """
    path = out / SETUPS / HOURS
    if not path.is_file():
        return None
    try:
        choice = parse(Choice, read_json(path), source=str(path))
    except InputError as fault:
        raise InputError(
            f"{fault} It has the steps that were chosen for --hours: put it back, or remove it and give --steps."
        ) from fault
    if choice.hours != hours:
        raise InputError(
            f"{path}: the study's steps ({choice.steps}) were chosen for --hours {choice.hours:g}, and all that is "
            f"compared needs the same: give these hours again, or --steps {choice.steps}, or choose another --out."
        )
    if steps not in (None, choice.steps):
        raise InputError(
            f"--steps {steps}: the study began with {choice.steps} steps, chosen for its hours ({path}); leave out "
            "--steps, or choose another --out."
        )
    return choice


def fit(
    asked: Asked, left: Sequence[Combination], machine: Machine, *, hours: float, steps: int | None, began: float
) -> tuple[Choice, Asked]:
    """Measure what everything takes, choose the steps, and keep them; return them, and the study with both.

    Args:
        asked: the study.
        left: what is to be computed.
        machine: what with.
        hours: wall time of everything, from ``began`` on.
        steps: as many and no others.
        began: when the command did, as ``time.monotonic`` tells it.

    Raises:
        InputError: they do not suffice, or nothing can be measured.
    """
    asked = replace(asked, measured=measure(asked, machine))
    choice = choose_steps(
        asked.work(left),
        hours=hours,
        spent_s=time.monotonic() - began,
        jobs=machine.jobs,
        usual=asked.steps or max(setup.plan.steps for setup in asked.setups),
        asked=steps,
    )
    _store(asked.out, choice)
    return choice, asked.with_steps(choice.steps)


def refit(choice: Choice, asked: Asked, left: Sequence[Combination], machine: Machine) -> tuple[Choice, Asked]:
    """Tell what a study that grows takes beyond the hours that it was fitted into; its steps stay.

    Args:
        choice: as it was made.
        asked: the study with the steps that were chosen.
        left: what is still to be computed.
        machine: what with.

    Raises:
        InputError: nothing can be measured.
    """
    joined = [one for one in left if one.name not in choice.combinations]
    if not joined:
        return choice, asked
    asked = replace(asked, measured=measure(asked, machine))
    told = (
        f"Joined later: {count_text(len(joined), 'combination')} of {choice.steps} steps, about "
        f"{time_text(makespan(asked.work(joined), machine.jobs, choice.steps))}."
    )
    logger.warning(f"--hours {choice.hours:g}: the study's steps were chosen before it grew, and stay. {told}")
    names = (*choice.combinations, *(one.name for one in joined))
    grown = choice.model_copy(update={"reason": f"{choice.reason} {told}", "combinations": names})
    _store(asked.out, grown)
    return grown, asked


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
        scored_tables=tuple(dict.fromkeys(setup.scored_table.absolute() for setup in asked.setups)),
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


def _store(out: Path, choice: Choice) -> None:
    """Keep it in the study's folder, for when the study goes on."""
    write_json(out / SETUPS / HOURS, choice.model_dump())
