"""The plan of a training: a file's, the one that its run has, or a new one."""

from __future__ import annotations

from pathlib import Path

from duoseg.commands.hours import warn_of_memory
from duoseg.commands.plan import plan_dataset, warn_of_problems, warn_of_unused
from duoseg.commands.preparing import looks_at_unlabelled
from duoseg.commands.runs import PLAN, load_plan, require_plan_of
from duoseg.config import Config
from duoseg.errors import InputError
from duoseg.files import StrPath
from duoseg.methods.registry import find_method
from duoseg.planning.overrides import override
from duoseg.planning.plan import Plan
from duoseg.planning.sizing import Device
from duoseg.progress import Progress, counted
from duoseg.scans.copies import require_apart
from duoseg.scans.dataset import Dataset, Split


def choose_plan(
    dataset: Dataset,
    split: Split,
    settings: Config,
    plan: StrPath | None,
    out: Path,
    *,
    accumulate: int | None,
    resume: bool,
    device: Device,
    cache: Path,
    progress: Progress | None,
) -> Plan:
    """The plan to train by, after a look at the data set and at the memory that it needs.

    Args:
        dataset: what is trained on.
        split: the training cases.
        settings: what the configuration and options ask for.
        plan: a plan file, if there is one.
        out: the run's folder.
        accumulate: in how many parts a batch is taken, where that was asked for; it wins over a plan file.
        resume: whether the run goes on, so by the plan that it has.
        device: where to compute.
        cache: where prepared scans lie.
        progress: called with what is being done, how much of it is done and how much there is.

    Raises:
        InputError: the plan is for other classes, or cannot be what the settings ask for.
    """
    warn_of_problems(dataset)
    chosen = _given_plan(dataset, settings, plan, out, resume)
    if not resume:  # a run that goes on compares the contents of its scans with those that it began with
        require_apart(dataset, progress=counted(progress, "look for copies"))
    if chosen is None:
        chosen = plan_dataset(dataset, split, settings, device=device, cache=cache, progress=progress)
    if accumulate is not None:
        chosen = override(chosen, {"batch": {"accumulate": accumulate}})
    if not resume:
        _require_unlabelled(chosen, split, settings)
    warn_of_memory(chosen, settings, device)
    return chosen


def _require_unlabelled(plan: Plan, split: Split, settings: Config) -> None:
    """Refuse a plan by which a method that learns from unlabelled scans would see none of those that are there."""
    method = settings.method
    if not split.unlabelled or plan.batch.unlabelled or not looks_at_unlabelled(find_method(method)):
        return
    raise InputError(
        f"{method} learns from unlabelled scans, of which there are {len(split.unlabelled)}, but the plan takes none a "
        "step (batch.unlabelled is 0), as one made where all scans are labelled. Plan anew with these labels, set "
        "unlabelled in [plan.batch] of the configuration, or train with --method supervised."
    )


def _given_plan(dataset: Dataset, settings: Config, plan: StrPath | None, out: Path, resume: bool) -> Plan | None:
    """The plan that was asked for, or that of the run that goes on; None where one is to be made."""
    given = plan
    if plan is None and resume and (out / PLAN).is_file():
        plan = out / PLAN
    if plan is None:
        return None
    chosen = load_plan(Path(plan))
    if given is not None:
        require_plan_of(dataset, chosen, given)
        warn_of_unused(given, chosen, settings)
    return override(chosen, {"steps": settings.steps} if settings.steps else {})
