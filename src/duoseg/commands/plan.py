"""``duoseg plan``: from a data set to a plan, with the reason for each choice."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, Literal

import torch

from duoseg.commands.hours import fit_to_hours, warn_of_memory
from duoseg.commands.replacing import require_no_run, require_replaceable_json
from duoseg.commands.runs import require_known_settings, save_plan
from duoseg.config import Config, load_checked_config
from duoseg.files import CACHE, StrPath
from duoseg.planning.fingerprint import take_fingerprint
from duoseg.planning.known import Known
from duoseg.planning.overrides import differences, override
from duoseg.planning.plan import Plan, Spacing, Triple
from duoseg.planning.planner import make_plan
from duoseg.planning.requests import checked_request
from duoseg.planning.sizing import Size
from duoseg.progress import Progress, counted
from duoseg.scans.dataset import Dataset, Split, load_dataset
from duoseg.training.devices import DeviceName, resolve_device, use_threads

logger = logging.getLogger("duoseg")


def plan(
    data: StrPath,
    *,
    labelled: int | None = None,
    steps: int | None = None,
    spacing: Spacing | None = None,
    patch: Triple | None = None,
    hours: float | None = None,
    config: StrPath | None = None,
    out: StrPath | None = None,
    device: DeviceName = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Plan a training without starting it.

    Args:
        data: data set folder or CSV table.
        labelled: read the labels of the first so many training scans only.
        steps: training steps.
        spacing: voxel sides to train at, in mm, canonical axis order.
        patch: patch sides, in voxels.
        hours: wall time that the training may take; steps are then measured on this machine, and spacing, patch,
            width and steps chosen to fit, where they are not given. Without it the plan is reproducible.
        config: a TOML file whose ``[plan]`` replaces automatic choices.
        out: write the plan here, as JSON.
        device: the device that the training will use; larger devices get larger patches and networks.
        threads: CPU threads that the training will use; only measuring needs them.
        progress: called with what is being done, how much of it is done and how much there is.

    Raises:
        InputError: the data or the request are wrong, or no plan fits the hours or the memory.
    """
    if out is not None:
        require_replaceable_json(Path(out), what="plan", keys={"classes", "patch"})  # before anything is measured
        require_no_run(Path(out))
    use_threads(threads)
    settings = (load_checked_config(Path(config)) if config else Config()).with_options(labelled=labelled, steps=steps)
    dataset = load_dataset(data)
    warn_of_problems(dataset)
    split = dataset.split(labelled=settings.labelled)
    require_known_settings(settings)
    where = resolve_device(device)
    made = plan_dataset(
        dataset, split, settings, device=where, spacing=spacing, patch=patch, hours=hours, progress=progress
    )
    if hours is None:  # else it has been measured
        warn_of_memory(made, settings, where)
    if out is not None:
        save_plan(Path(out), made)
    return made


def warn_of_problems(dataset: Dataset) -> None:
    """Log what a person should know of a data set's layout, such as a label that belongs to no image."""
    for problem in dataset.problems:
        if problem.severity == "warning":
            logger.warning(str(problem))


def warn_of_unused(source: StrPath, plan: Plan, settings: Config) -> None:
    """Log what a configuration's ``[plan]`` says otherwise than a plan file, which is used as it is."""
    settled = ("reasons", "steps") if settings.steps else ("reasons",)  # `steps` wins over both
    asked = {name: value for name, value in settings.plan.items() if name not in settled}
    unused = differences(plan, asked)
    if unused:
        logger.warning(
            f"{source}: is used as it is, so the configuration's [plan] is not, which has another {', '.join(unused)}. "
            "To use [plan], leave out --plan, or make the plan file with this --config."
        )


def plan_dataset(
    dataset: Dataset,
    split: Split,
    settings: Config,
    *,
    device: Literal["cpu", "cuda", "mps"],
    spacing: Spacing | None = None,
    patch: Triple | None = None,
    hours: float | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Plan:
    """The plan for these cases: automatic, then as ``settings`` and the arguments have it; see `plan`.

    What ``cache``, by default the data set's own, knows of scans is not measured again.
    """
    asked: dict[str, Any] = dict(settings.plan)
    settled: dict[str, Any] = {"steps": settings.steps, "spacing": spacing, "patch": patch}
    for name, option in settled.items():
        in_file = asked.pop(name, None)
        settled[name] = in_file if option is None else option
    checked_request(**settled, hours=hours)  # before the scans are read
    began = time.monotonic()
    with Known(cache or dataset.root / CACHE, make=cache is not None) as known:
        fingerprint = take_fingerprint(
            split,
            dataset,
            known=known if hours is None else None,  # how long reading takes tells how long preparing will
            threads=torch.get_num_threads(),
            progress=counted(progress, "plan"),
        )
    reading_seconds = time.monotonic() - began

    def make(size: Size) -> Plan:
        return override(make_plan(fingerprint, device=device, size=size, **settled), asked)

    if hours is None:
        return make(Size())
    return fit_to_hours(
        make,
        settings,
        device=device,
        hours=hours,
        reading_seconds=reading_seconds,
        fixed=[*(name for name, value in settled.items() if value is not None), *asked],
        progress=progress,
    )
