"""``duoseg train``: from a data set to a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from duoseg.commands.choosing import choose_plan
from duoseg.commands.hours import more_parts
from duoseg.commands.live import LivePage
from duoseg.commands.preparing import prepare_training
from duoseg.commands.report import REPORT, write_run_page
from duoseg.commands.resuming import (
    Beginning,
    note_environment,
    origin_asked_for,
    scans_identity,
    settings_identity,
)
from duoseg.commands.runs import (
    CASES,
    ORIGIN,
    PLAN,
    build_method,
    require_file,
    save_plan,
    with_all_settings,
    write_json,
)
from duoseg.config import CONFIG, Config, load_checked_config, load_config, save_config
from duoseg.errors import InputError
from duoseg.files import CACHE, StrPath, held, require_writable
from duoseg.pictures.html import framed
from duoseg.planning.plan import Plan
from duoseg.progress import Progress
from duoseg.scans.dataset import Split, load_dataset
from duoseg.training.checkpoint import (
    WEIGHTS,
    load_checkpoint,
    load_weights,
)
from duoseg.training.devices import DeviceName, resolve_device, resolve_precision, use_threads
from duoseg.training.engine import join_fabric, ranks_of
from duoseg.training.interruption import Interrupted
from duoseg.training.log import JsonLinesLog, Logger, ProgressLog, TensorBoardLog
from duoseg.training.loop import Trainer
from duoseg.training.memory import is_out_of_memory
from duoseg.training.patches import PatchSampler
from duoseg.training.ranks import Ranks, find_launch, require_divisible

LOCK = ".training.lock"


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

    def _repr_html_(self) -> str:
        """The run's page."""
        return framed(self.folder / REPORT)


def train(
    data: StrPath,
    out: StrPath,
    *,
    method: str | None = None,
    labelled: int | None = None,
    steps: int | None = None,
    seed: int | None = None,
    accumulate: int | None = None,
    plan: StrPath | None = None,
    config: StrPath | Config | None = None,
    splits: StrPath | None = None,
    cache: StrPath | None = None,
    start_from: StrPath | None = None,
    resume: bool = False,
    device: DeviceName = "auto",
    threads: int | None = None,
    tensorboard: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train a method on a data set.

    Where ``torchrun`` or ``srun`` has started several processes, they train together: each takes its share of every
    batch, and prepares a part of the scans; the first one plans and writes.

    Args:
        data: data set folder or CSV table.
        out: run folder to create, or to go on with.
        method: name of a method; default from ``config``, else ``duo``.
        labelled: use the labels of the first so many training scans only.
        steps: training steps.
        seed: of initial weights and all draws.
        accumulate: go through each batch in so many parts, one after the other, in about so much less memory.
        plan: a plan file to use as it is, but for ``steps`` and ``accumulate``.
        config: a TOML file with any of these and more, or its content; options here win.
        splits: a file to take instead of the data set's ``splits.json``; to be given again with ``resume``.
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
    use_threads(threads)
    launch = find_launch()
    _settings(out, config, resume)  # which refuses what is none before a folder is made for it
    new = not out.exists()
    require_writable(out / CONFIG)
    if start_from is not None and not resume:
        require_file(Path(start_from), WEIGHTS)  # before the work of planning
    with ExitStack() as until_the_end:
        if launch.first:
            if new:
                until_the_end.callback(_remove_empty, out)
            words = f"{out}: another process is training in this folder; wait for its end, or choose another folder."
            until_the_end.enter_context(held(out / LOCK, words))
        settings = _settings(out, config, resume).with_options(method=method, labelled=labelled, steps=steps, seed=seed)
        settings = with_all_settings(settings)
        state = load_checkpoint(out) if resume else None
        dataset = load_dataset(data, splits=splits)
        split = dataset.split(labelled=settings.labelled)
        folder = Path(cache) if cache else dataset.root / CACHE
        progress = progress if launch.first else None
        made: Plan | None = None
        if launch.first:
            made = choose_plan(
                dataset,
                split,
                settings,
                plan,
                out,
                accumulate=accumulate,
                resume=state is not None,
                device=resolve_device(device),
                cache=folder,
                progress=progress,
            )
            require_divisible(made.batch, launch.count)
        fabric = join_fabric(device, settings.training.precision, launch)
        ranks = ranks_of(fabric)
        with ranks.together(str(out)):
            chosen = cast(Plan, fabric.broadcast(made))
            identity = settings_identity(settings, chosen, resolve_precision(device, settings.training.precision))
            beginning = None if state is None else Beginning(out, state["identity"])
            if beginning is not None:  # before the work of preparing scans, and again with their contents
                beginning.require_same(identity)

            until_the_end.enter_context(_own_draws(fabric.device))
            torch.manual_seed(settings.training.seed)
            learner = build_method(settings, chosen)
            origin = origin_asked_for(start_from, chosen, resumed=out if state is not None else None)
            if start_from is not None and state is None:
                load_weights(Path(start_from) / WEIGHTS, learner)
                learner.begin_with_weights()
            labelled_cases, unlabelled_cases = prepare_training(
                [learner], split, chosen, folder, cores=torch.get_num_threads(), ranks=ranks, progress=progress
            )
            identity |= scans_identity([*labelled_cases, *unlabelled_cases])
            if beginning is not None:
                beginning.require_same(identity)

            trainer = Trainer(
                learner,
                PatchSampler(labelled_cases, unlabelled_cases, chosen, seed=settings.training.seed, ranks=ranks),
                chosen,
                settings=settings.training,
                folder=out,
                loggers=_loggers(out, chosen, state, tensorboard, progress) if ranks.first else [],
                identity=identity,
                fabric=fabric,
            )
            if state is not None:
                _restore(trainer, state, out)
            elif ranks.first:
                _begin(trainer, Run(out, settings, chosen, split), origin)
            if ranks.first:
                note_environment(out, settings.method, resolve_device(device), resumed=state is not None)
            _run_to_the_end(trainer, out, chosen, ranks)
        if ranks.first:
            write_run_page(out, out / REPORT)
        return Run(out, settings, chosen, split)


def _remove_empty(folder: Path) -> None:
    """Where a training was refused before it wrote anything, nothing is left of it."""
    with suppress(OSError):
        folder.rmdir()


def _own_draws(device: torch.device) -> AbstractContextManager[None]:
    """Draws from torch's global generators that change nothing for the caller."""
    return torch.random.fork_rng(devices=[device.index] if device.type == "cuda" else [])


def _begin(trainer: Trainer, run: Run, origin: Mapping[str, Any] | None) -> None:
    """Write what a new run is."""
    out, split = run.folder, run.split
    save_plan(out / PLAN, run.plan)
    write_json(out / CASES, {"labelled": _names(split.labelled), "unlabelled": _names(split.unlabelled)})
    (out / ORIGIN).unlink(missing_ok=True)
    if origin is not None:
        write_json(out / ORIGIN, origin)
    trainer.begin()
    save_config(out / CONFIG, run.config)  # last: it is what makes the folder a run that can be resumed


def _restore(trainer: Trainer, state: dict[str, Any], out: Path) -> None:
    try:
        trainer.restore(state)
    except (RuntimeError, ValueError, KeyError, TypeError) as fault:
        raise InputError(
            f"{out}: its checkpoint does not fit its plan; start the run anew in another folder."
        ) from fault


def _run_to_the_end(trainer: Trainer, out: Path, plan: Plan, ranks: Ranks) -> None:
    """Train; where that ends early, its page tells how far it came."""
    try:
        trainer.run()
    except BaseException as fault:
        # Where another process has ended, the launcher soon ends this one: words come first.
        if ranks.first and (ranks.count == 1 or isinstance(fault, (InputError, Interrupted))):
            with suppress(Exception):  # what ended the training is what is to be told
                write_run_page(out, out / REPORT)  # no more to be loaded anew
        if is_out_of_memory(fault):
            parts = "".join(f"--accumulate {number}, " for number in more_parts(plan)[:1])
            raise InputError(
                f"{out}: a step needs more memory than there is. Start anew in another folder with {parts}"
                "a plan of a smaller --patch, or fewer patches in [plan.batch]."
            ) from fault
        raise


def _settings(out: Path, config: StrPath | Config | None, resume: bool) -> Config:
    begun = (out / CONFIG).is_file()
    if begun and not resume:
        raise InputError(
            f"{out}: already holds a run. Go on with it by --resume, choose another folder for a new one, or remove it."
        )
    if not begun and (out / WEIGHTS).is_file():
        raise InputError(
            f"{out}: holds {WEIGHTS} of a run whose {CONFIG} is missing. Put that back, or choose another folder."
        )
    if resume and not begun:
        raise InputError(f"{out}: there is no run to resume. Start it without --resume.")
    if config is not None:
        return config if isinstance(config, Config) else load_checked_config(Path(config))
    return load_config(out / CONFIG) if resume else Config()


def _loggers(
    out: Path, plan: Plan, state: Mapping[str, Any] | None, tensorboard: bool, progress: Progress | None
) -> list[Logger]:
    steps_done = state["step"] if state else 0
    loggers: list[Logger] = [JsonLinesLog(out, steps_done=steps_done)]
    if tensorboard:
        loggers.append(TensorBoardLog(out, steps_done=steps_done))
    if progress is not None:
        loggers.append(ProgressLog(progress, steps=plan.steps))
    loggers.append(LivePage(partial(_write_live_page, out)))
    return loggers


def _write_live_page(out: Path, note: str, refresh_seconds: int) -> Path:
    return write_run_page(out, out / REPORT, note=note, refresh_seconds=refresh_seconds)


def _names(cases: Sequence[Any]) -> list[str]:
    return [case.name for case in cases]
