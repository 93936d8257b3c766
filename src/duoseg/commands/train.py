"""``duoseg train``: from a data set to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from duoseg.commands.plan import plan_dataset
from duoseg.commands.runs import (
    CASES,
    ENVIRONMENT,
    PLAN,
    build_method,
    environment,
    load_plan,
    save_plan,
    write_json,
)
from duoseg.config import CONFIG, Config, load_config, save_config
from duoseg.errors import InputError
from duoseg.files import StrPath
from duoseg.methods.base import Method
from duoseg.planning.cache import PreparedCase, prepare_cases
from duoseg.planning.plan import Plan
from duoseg.progress import Progress, counted
from duoseg.scans.dataset import Dataset, Split, load_dataset
from duoseg.training.checkpoint import (
    CHECKPOINT,
    WEIGHTS,
    load_checkpoint,
    load_weights,
    refuse_changes,
)
from duoseg.training.engine import DeviceName, resolve_device
from duoseg.training.log import JsonLinesLog, Logger, ProgressLog, TensorBoardLog
from duoseg.training.loop import Trainer
from duoseg.training.patches import PatchSampler

CACHE = ".duoseg-cache"


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: the run's folder.
        config: its settings.
        plan: its plan.
        split: its cases.
    """

    folder: Path
    config: Config
    plan: Plan
    split: Split


def train(
    data: StrPath,
    out: StrPath,
    *,
    method: str | None = None,
    labelled: int | None = None,
    steps: int | None = None,
    seed: int | None = None,
    plan: StrPath | None = None,
    config: StrPath | None = None,
    cache: StrPath | None = None,
    start_from: StrPath | None = None,
    resume: bool = False,
    device: DeviceName = "auto",
    threads: int | None = None,
    tensorboard: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train a method on a data set.

    Args:
        data: data set folder or CSV table.
        out: run folder to create, or to go on with.
        method: name of a method; default from ``config``, else ``dtml``.
        labelled: use the labels of the first so many training scans only.
        steps: training steps.
        seed: of initial weights and all draws.
        plan: a plan file to use as it is, but for ``steps``.
        config: a TOML file with any of these and more; options here win.
        cache: where prepared scans lie; by default a hidden folder in the data set's.
        start_from: a finished run whose weights to begin with.
        resume: go on with the run in ``out`` exactly where it stopped.
        device: where to compute.
        threads: CPU threads for the networks; torch's own choice where absent.
        tensorboard: also write TensorBoard logs into ``out``; needs the ``tensorboard`` extra.
        progress: called with what is being done, how much of it is done and how much there is.

    Raises:
        InputError: the request or the data are wrong.
        Interrupted: Ctrl-C or a request to terminate came during the steps; the state is saved.
    """
    out = Path(out)
    if threads is not None:
        torch.set_num_threads(threads)
    settings = _settings(out, config, resume).with_options(method=method, labelled=labelled, steps=steps, seed=seed)
    dataset = load_dataset(data)
    split = dataset.split(labelled=settings.labelled)
    chosen = _plan(dataset, split, settings, plan, out, resume, resolve_device(device), progress)

    torch.manual_seed(settings.training.seed)
    learner = build_method(settings, chosen)
    if start_from is not None:
        load_weights(Path(start_from) / WEIGHTS, learner)

    folder = Path(cache) if cache else dataset.root / CACHE
    prepared, unlabelled = _prepare(learner, split, chosen, folder, progress)
    identity = {
        "config": settings.model_dump(mode="json"),
        "plan": chosen.model_dump(mode="json"),
        "labelled": _contents(prepared, with_label=True),
        "unlabelled": _contents(unlabelled, with_label=False),
    }
    state = _saved_state(out, identity, resume)
    save_config(out / CONFIG, settings)
    save_plan(out / PLAN, chosen)
    write_json(out / CASES, {"labelled": _names(split.labelled), "unlabelled": _names(split.unlabelled)})
    write_json(out / ENVIRONMENT, environment(resolve_device(device), torch.get_num_threads()))

    trainer = Trainer(
        learner,
        PatchSampler(prepared, unlabelled, chosen, seed=settings.training.seed),
        chosen,
        settings=settings.training,
        folder=out,
        loggers=_loggers(out, chosen, state["step"] if state else 0, tensorboard, progress),
        identity=identity,
        device=device,
    )
    if state:
        trainer.restore(state)
    trainer.run()
    return Run(out, settings, chosen, split)


def _settings(out: Path, config: StrPath | None, resume: bool) -> Config:
    begun = (out / CONFIG).is_file()
    if begun and not resume:
        raise InputError(
            f"{out}: already holds a run. Go on with it by --resume, or choose another folder for a new one."
        )
    if resume and not begun:
        raise InputError(f"{out}: there is no run to resume. Start it without --resume.")
    if config is not None:
        return load_config(Path(config))
    return load_config(out / CONFIG) if resume else Config()


def _plan(
    dataset: Dataset,
    split: Split,
    settings: Config,
    plan: StrPath | None,
    out: Path,
    resume: bool,
    device: Any,
    progress: Progress | None,
) -> Plan:
    if plan is not None and settings.plan:
        raise InputError(
            f"{plan}: a plan file is used as it is; take [plan] out of the settings, or leave --plan away."
        )
    if plan is None and resume and (out / PLAN).is_file():
        plan = out / PLAN
    if plan is not None:
        chosen = load_plan(Path(plan))
        return chosen.model_copy(update={"steps": settings.steps}) if settings.steps else chosen
    return plan_dataset(dataset, split, settings, device=device, progress=progress)


def _prepare(
    learner: Method, split: Split, plan: Plan, cache: Path, progress: Progress | None
) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """Prepare the labelled cases, and the unlabelled ones where a stage of the method looks at them."""
    cases = [*split.labelled]
    if any(stage.batch != "labelled" for stage in learner.stages):
        cases += split.unlabelled

    prepared = prepare_cases(
        cases, plan, cache, workers=max(1, torch.get_num_threads()), progress=counted(progress, "prepare")
    )
    count = len(split.labelled)
    return prepared[:count], prepared[count:]


def _loggers(out: Path, plan: Plan, steps_done: int, tensorboard: bool, progress: Progress | None) -> list[Logger]:
    loggers: list[Logger] = [JsonLinesLog(out, steps_done=steps_done)]
    if tensorboard:
        loggers.append(TensorBoardLog(out))
    if progress is not None:
        loggers.append(ProgressLog(progress, steps=plan.steps))
    return loggers


def _saved_state(out: Path, identity: dict[str, Any], resume: bool) -> dict[str, Any] | None:
    """The checkpoint to go on from; None where the run is new, or was stopped before its first step."""
    if not resume or not (out / CHECKPOINT).is_file():
        return None
    state = load_checkpoint(out)
    refuse_changes(state["identity"], identity)
    return state


def _contents(cases: Sequence[PreparedCase], *, with_label: bool) -> dict[str, str]:
    """Case -> names of its cache files, which carry a hash of the scan's content and the plan."""
    if with_label:
        return {c.name: f"{c.image_path.name} {c.label_path.name if c.label_path else ''}" for c in cases}
    return {case.name: case.image_path.name for case in cases}


def _names(cases: Sequence[Any]) -> list[str]:
    return [case.name for case in cases]
