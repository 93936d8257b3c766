"""``duoseg plan``: from a data set to a plan, with the reason for each choice."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

from duoseg.commands.runs import save_plan
from duoseg.config import Config, load_config
from duoseg.files import StrPath
from duoseg.planning.fingerprint import take_fingerprint
from duoseg.planning.plan import Plan, Spacing, Triple
from duoseg.planning.planner import make_plan, override
from duoseg.planning.requests import checked_request
from duoseg.progress import Progress, counted
from duoseg.scans.dataset import Dataset, Split, load_dataset
from duoseg.training.engine import DeviceName, resolve_device

logger = logging.getLogger("duoseg")


def plan(
    data: StrPath,
    *,
    labelled: int | None = None,
    steps: int | None = None,
    spacing: Spacing | None = None,
    patch: Triple | None = None,
    config: StrPath | None = None,
    out: StrPath | None = None,
    device: DeviceName = "auto",
    progress: Progress | None = None,
) -> Plan:
    """Plan a training without starting it.

    Args:
        data: data set folder or CSV table.
        labelled: read the labels of the first so many training scans only.
        steps: training steps.
        spacing: voxel sides to train at, in mm, canonical axis order.
        patch: patch sides, in voxels.
        config: a TOML file whose ``[plan]`` replaces automatic choices.
        out: write the plan here, as JSON.
        device: the device that the training will use; larger devices get larger patches and networks.
        progress: called with what is being done, how much of it is done and how much there is.

    Raises:
        InputError: the data or the request are wrong.
    """
    settings = (load_config(Path(config)) if config else Config()).with_options(labelled=labelled, steps=steps)
    dataset = load_dataset(data)
    warn_of_problems(dataset)
    split = dataset.split(labelled=settings.labelled)
    made = plan_dataset(
        dataset, split, settings, device=resolve_device(device), spacing=spacing, patch=patch, progress=progress
    )
    if out is not None:
        save_plan(Path(out), made)
    return made


def warn_of_problems(dataset: Dataset) -> None:
    """Log what a person should know of a data set's layout, such as a label that belongs to no image."""
    for problem in dataset.problems:
        if problem.severity == "warning":
            logger.warning(str(problem))


def plan_dataset(
    dataset: Dataset,
    split: Split,
    settings: Config,
    *,
    device: Literal["cpu", "cuda", "mps"],
    spacing: Spacing | None = None,
    patch: Triple | None = None,
    progress: Progress | None = None,
) -> Plan:
    """The plan for these cases: automatic, then as ``settings`` and the arguments have it."""
    asked: dict[str, Any] = dict(settings.plan)
    settled: dict[str, Any] = {"steps": settings.steps, "spacing": spacing, "patch": patch}
    for name, option in settled.items():
        in_file = asked.pop(name, None)
        settled[name] = in_file if option is None else option
    checked_request(**settled)  # before the scans are read
    fingerprint = take_fingerprint(split, dataset, progress=counted(progress, "plan"))
    return override(make_plan(fingerprint, device=device, **settled), asked)
