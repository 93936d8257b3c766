"""``duoseg compare``: methods x label counts x seeds, every combination trained, predicted and scored alike."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from duoseg.commands.comparing.asked import Asked
from duoseg.commands.comparing.children import Ended, Event, Task, run_children
from duoseg.commands.comparing.given import counts_given, names_given, seeds_given
from duoseg.commands.comparing.hours import fit, refit, stored_choice
from duoseg.commands.comparing.known import read_known
from duoseg.commands.comparing.locks import LOCK, Claims, locked
from duoseg.commands.comparing.machine import Machine, make_machine
from duoseg.commands.comparing.outputs import Board, StudyFolder, StudyInterrupted, Unfinished, describe
from duoseg.commands.comparing.setup import make_setups, prepare
from duoseg.commands.plan import warn_of_problems
from duoseg.commands.runs import environment
from duoseg.config import CONFIG, Config, load_checked_config
from duoseg.errors import InputError
from duoseg.files import CACHE, StrPath, require_writable
from duoseg.planning.requests import checked_request
from duoseg.progress import Progress
from duoseg.scans.dataset import Dataset, load_dataset
from duoseg.scans.texts import count_text, some_text
from duoseg.study.folds import Labelled, On, Part, Scored, divide, label_counts, unscored_names
from duoseg.study.grid import Combination, find_entries, make_grid
from duoseg.study.records import read_result, read_results
from duoseg.training.devices import DeviceName, resolve_device
from duoseg.training.log import STEPS

BASELINE = "supervised"
WORK = "combinations"
"""What progress calls the whole; what goes on side by side is called ``job 1``, ``job 2``, ..."""

logger = logging.getLogger("duoseg")


def compare(
    data: StrPath,
    out: StrPath,
    *,
    methods: str | Sequence[str],
    labelled: Labelled | Sequence[Labelled] | None = None,
    seeds: int | Sequence[int] = (0, 1, 2),
    on: On = "test",
    folds: int | None = None,
    steps: int | None = None,
    config: StrPath | None = None,
    jobs: int | None = None,
    hours: float | None = None,
    against: str | None = None,
    cache: StrPath | None = None,
    device: DeviceName = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> StudyFolder:
    """Train, predict and score every combination of methods, label counts and seeds, and compare the methods.

    All methods get the same plan, so the same network, patches, batch, augmentation and steps. Each combination is a
    process of its own. Started again, finished combinations count as done and begun ones go on; a study may be extended
    by further methods, label counts and seeds. Several calls at the same time, on one machine or on many that see the
    folder, divide what is left.

    Args:
        data: data set folder or CSV table.
        out: the study's folder, to create or to go on with.
        methods: methods, or entries that ``config`` defines; one, or several.
        labelled: numbers of labelled training scans, or "all"; those of ``config`` where absent, else all.
        seeds: of initial weights and draws; one, or several.
        on: score the test scans, or the holdout scans, which are then left out of training.
        folds: score the labelled training scans instead, in so many parts, each by models that have not seen it.
        steps: training steps; times the factor of each entry.
        config: a TOML file of settings, such as a protocol.
        jobs: how many combinations at a time; as many as the machine has room for where absent.
        hours: choose the steps so that everything takes at most so long on this machine.
        against: the entry that others are compared with; where absent that of earlier calls, else ``supervised`` where
            it is compared, else the first.
        cache: where prepared scans lie; by default a hidden folder in the data set's.
        device: where to compute.
        threads: CPU threads of each job; where absent those that the study began with, in a new one all cores divided
            among ``jobs``, or one on a CPU where that is absent too.
        progress: called with what is being done, how much of it is done and how much there is.

    Raises:
        InputError: the request or the data are wrong, or the folder holds another study.
        Unfinished: some combinations failed; all others are done.
        StudyInterrupted: Ctrl-C or a request to terminate came; what was being trained is saved.
    """
    began = time.monotonic()
    out = Path(out)
    asked_counts, asked_seeds = counts_given(labelled), seeds_given(seeds)
    settings = (load_checked_config(Path(config)) if config else Config()).with_options(steps=steps)
    entries = find_entries(names_given(methods), settings.entries)
    dataset = load_dataset(data)
    warn_of_problems(dataset)
    parts = divide(dataset, on=on, folds=folds)
    _warn_of_unscored(dataset, parts, on)
    scored: Scored = on if folds is None else "folds"
    counts = label_counts(
        asked_counts or ([settings.labelled] if settings.labelled else None),
        parts,
        source="--labelled" if asked_counts or config is None else f"{config}: labelled =",
    )
    grid = make_grid(entries, counts, asked_seeds, [part.fold for part in parts])
    checked_request(steps=steps, spacing=None, patch=None, hours=hours)
    where = resolve_device(device)
    _require_own_folder(out, dataset)
    with locked(out):
        known = read_known(out, on=scored, folds=folds)
        results = {result.combination.name: result for result in read_results(out)}
        done = {one.name: results[one.name] for one in grid if one.name in results}
        earlier = {name: result for name, result in results.items() if name not in done}
        left = [one for one in grid if one.name not in done]
        names = [*(entry.name for entry in entries), *(result.combination.method for result in results.values())]
        baseline = _baseline(against, known.against, names)
        prepared = Path(cache) if cache else dataset.root / CACHE
        setups = make_setups(dataset, out, parts, counts, settings, device=where, cache=prepared, progress=progress)
        machine = make_machine(
            where, setups, entries, settings, count=len(left), jobs=jobs, threads=threads, before=known.threads
        )
        if known.threads not in (None, machine.threads) and left:
            logger.warning(
                f"--threads {machine.threads}: {out} began with {known.threads}; results will differ in their last "
                "digits from those of a study that was computed with one number."
            )
        choice = None if hours is None else stored_choice(out, hours, steps=steps)
        begun = results or any((out / one.name / CONFIG).is_file() for one in grid)
        if hours is not None and choice is None and begun:
            raise InputError(
                f"--hours {hours:g}: {out} was begun without hours, and its steps stay; leave out --hours, or choose "
                "another --out."
            )
        asked = Asked(out, settings, entries, grid, setups, parts, scored, folds, where)
        asked = asked if choice is None else asked.with_steps(choice.steps)
        if hours is None or choice is not None:  # else there is nothing yet to agree with, and the steps are not known
            asked.require_same(done, earlier)
        for setup in setups:
            setup.write()
        for one in grid:  # it is part of the study from now on, computed or not, until somebody removes its folder
            (out / one.name).mkdir(exist_ok=True)
        measured = hours is not None
        if left and measured:
            prepare(setups, entries, settings, prepared, progress)
        if choice is not None:
            choice, asked = refit(choice, asked, left, machine)
        elif hours is not None:
            choice, asked = fit(asked, left, machine, hours=hours, steps=steps, began=began)
        about = describe(
            data=data,
            on=scored,
            folds=folds,
            persons=asked.persons,
            unscored=unscored_names(parts),
            config=config,
            # Those it began with stay: further calls take them, too, where nothing else is asked for.
            environment={**environment(where, known.threads or machine.threads), "jobs": machine.jobs},
            steps=asked.steps,
            against=baseline,
            hours=None if choice is None else choice.model_dump(include={"hours", "steps", "reason"}),
        )
    if left and not measured:  # other calls need not wait for it
        prepare(setups, entries, settings, prepared, progress)
    board = Board(out, about, asked, keeps_against=against is None)
    return _compute(board, left, machine, prepared, progress)


def _compute(
    board: Board, left: Sequence[Combination], machine: Machine, cache: Path, progress: Progress | None
) -> StudyFolder:
    """Run what is left and no other process runs, and write the study's files after each combination."""
    total = len(board.asked.grid)
    warned: set[str] = set()
    claims = Claims(board.out)

    def tasks() -> Iterator[Task]:
        # twice: what another process had at first may since have lost it
        for one in [*board.asked.in_turn(left), *board.asked.in_turn(left)]:
            if one.name in board.begun or not claims.take(one.name):
                continue
            if read_result(board.out / one.name) is None:
                board.begun.add(one.name)
                yield board.asked.task(one, cache, machine.threads)
            else:
                claims.release(one.name)

    def told(task: Task, slot: int, event: Event) -> None:
        if "warning" in event:
            if event["warning"] not in warned:
                logger.warning(event["warning"])
                warned.add(event["warning"])
            return
        if progress is not None:
            what = "" if event["what"] == STEPS else f" {event['what']}"
            progress(f"job {slot + 1}", event["done"], event["total"], f"{task.name}{what}")

    def ended(one: Ended) -> None:
        claims.release(one.task.name)
        result = read_result(board.out / one.task.name)
        if result is None and one.interrupted:
            return
        if result is None:
            board.errors[one.task.name] = one.error or "it ended without a result"
        board.write()
        if progress is not None:
            dice = result.mean_dice() if result else None
            outcome = "failed" if result is None else "" if dice is None else f"Dice {dice:.4f}"
            progress(WORK, board.count_done(), total, f"{one.task.name} {outcome}".rstrip())

    board.write()
    if progress is not None:
        progress(WORK, board.count_done(), total, "")
    interrupted = run_children(tasks(), jobs=machine.jobs, environment=machine.environment, told=told, ended=ended)
    study = board.finish()
    if interrupted:
        raise StudyInterrupted(
            f"{board.out}: interrupted with {board.count_done()} of {total} combinations done; those that were being "
            "trained are saved. The same command goes on from there."
        )
    if study.failed:
        raise Unfinished(study)
    return study


def _baseline(against: str | None, before: str | None, names: Sequence[str]) -> str:
    if against is None:
        known = (name for name in (before, BASELINE) if name is not None and name in names)
        return next(known, names[0])
    if against not in names:
        raise InputError(f"--against {against}: is not compared. Compared are {', '.join(dict.fromkeys(names))}.")
    return against


def _warn_of_unscored(dataset: Dataset, parts: Sequence[Part], on: On) -> None:
    """Log which scans of those to be scored have no label to score them by."""
    if out := unscored_names(parts):
        scans = count_text(len(out) + sum(len(part.scored) for part in parts), f"{on} scan")
        logger.warning(
            f"{dataset.place}: {len(out)} of {scans} cannot be scored, for want of a label: {some_text(out)}. Add "
            f"{'it' if len(out) == 1 else 'them'}, or read the scores as those of the others."
        )


def _require_own_folder(out: Path, dataset: Dataset) -> None:
    """Refuse a folder that is a run, or holds the data."""
    if (out / CONFIG).is_file():
        raise InputError(f"{out}: is a run's folder; choose another --out for the study.")
    if out.exists() and os.path.samefile(out, dataset.root):
        raise InputError(f"{out}: is the data set's own folder; choose another --out.")
    folders = {file.resolve().parent for case in (*dataset.train, *dataset.test) for file in case.files}
    inside = (folders - {dataset.root.resolve()}) & {out.resolve(), *out.resolve().parents}
    if inside:
        raise InputError(f"{out}: {min(inside)} holds scans of the data set; choose an --out elsewhere.")
    require_writable(out / LOCK)
