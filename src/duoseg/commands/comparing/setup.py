"""What all combinations of one label count and fold share: the division of the scans, the plan, the prepared scans."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache as remembered
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from duoseg.commands.comparing.children import cores
from duoseg.commands.plan import plan_dataset
from duoseg.commands.runs import PLAN, build_method, load_plan, save_plan, write_json
from duoseg.config import Config, parse
from duoseg.files import StrPath, atomic_path, read_json
from duoseg.methods.base import Method
from duoseg.planning.cache import hash_source, prepare_cases
from duoseg.planning.plan import Plan
from duoseg.progress import Progress, counted
from duoseg.scans.cases import Case
from duoseg.scans.copies import require_apart
from duoseg.scans.dataset import Dataset, Split, load_dataset
from duoseg.scans.formats import read_grid
from duoseg.study.folds import Part
from duoseg.study.grid import Entry
from duoseg.version import __version__

SETUPS = "setup"
SPLITS = "splits.json"
SCORED = Path("scored") / "scans.csv"
KEY = "made-of.json"
MOST_WORKERS = 4  # each holds a scan

Device = Literal["cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Setup:
    """What the combinations of one label count and fold share.

    Attributes:
        labelled: number of labelled training scans.
        fold: number of the fold, if there are any.
        folder: where its files lie.
        splits: the file that divides the data set so; None where it is divided so by itself.
        split: the training cases.
        plan: for all methods; its steps are the study's.
        scored: the cases to score.
        scans: for each case what it is used for, and a hash of what is read of it.
    """

    labelled: int
    fold: int | None
    folder: Path
    splits: Path | None
    split: Split
    plan: Plan
    scored: tuple[Case, ...]
    scans: dict[str, str]

    @property
    def plan_file(self) -> Path:
        """The plan of its trainings."""
        return self.folder / PLAN

    @property
    def scored_table(self) -> Path:
        """The scored scans as a data set of its own, which `predict` and `evaluate` take in any layout."""
        return self.folder / SCORED


def make_setups(
    data: StrPath,
    out: Path,
    parts: Sequence[Part],
    counts: Sequence[int],
    settings: Config,
    *,
    device: Device,
    progress: Progress | None = None,
) -> list[Setup]:
    """Divide the data set and plan, once for each label count and fold.

    A plan is made anew only where something that it is made of has changed.

    Raises:
        InputError: the data are wrong, a scan is on two sides, or no plan can be made.
    """
    content = remembered(hash_source)
    found = []
    for part in parts:
        splits = None
        if part.splits is not None:
            splits = out / SETUPS / (SPLITS if part.fold is None else f"splits-fold{part.fold}.json")
            write_json(splits, part.splits)
        dataset = load_dataset(data, splits=splits)
        require_apart(dataset, progress=counted(progress, "compare scans"))
        for count in counts:
            folder = out / SETUPS / (f"{count}" if part.fold is None else f"{count}-fold{part.fold}")
            split = dataset.split(labelled=count)
            scans = _scans(split, part.scored, content)
            plan = _plan(folder, dataset, split, settings.with_options(labelled=count), scans, device, progress)
            _write_scored(folder / SCORED, part.scored, plan)
            found.append(Setup(count, part.fold, folder, splits, split, plan, part.scored, scans))
    return found


def entry_config(settings: Config, entry: Entry, *, labelled: int, seed: int, steps: int | None) -> Config:
    """The configuration of one combination.

    Args:
        settings: of the study.
        entry: what is trained.
        labelled: number of labelled training scans.
        seed: of the training.
        steps: the study's steps; the plan's own where None, which only an entry without a factor may have.
    """
    own = {**settings.methods.get(entry.method, {}), **entry.settings}
    changes = {
        "method": entry.method,
        "methods": {entry.method: own} if own else {},
        "entries": {},
        "labelled": labelled,
        "steps": None if steps is None else entry.steps(steps),
        "training": {**settings.training.model_dump(), "seed": seed},
    }
    return parse(Config, {**settings.model_dump(), **changes}, source=f"[entries.{entry.name}]")


def prepare(
    setups: Sequence[Setup], entries: Sequence[Entry], settings: Config, cache: Path, progress: Progress | None
) -> None:
    """Prepare all training scans, so that the trainings find them prepared."""
    for setup in setups:
        learners = [build_meta(settings, entry, setup) for entry in entries]
        cases = [*setup.split.labelled]
        if any(stage.batch != "labelled" for learner in learners for stage in learner.stages):
            cases += setup.split.unlabelled
        described = f"for {setup.labelled} labelled" + ("" if setup.fold is None else f", fold {setup.fold}")
        workers = min(MOST_WORKERS, cores())
        prepare_cases(cases, setup.plan, cache, workers=workers, progress=counted(progress, "prepare", described))


def build_meta(settings: Config, entry: Entry, setup: Setup) -> Method:
    """An entry's method without storage: shapes and stages only."""
    config = entry_config(settings, entry, labelled=setup.labelled, seed=0, steps=setup.plan.steps)
    with torch.device("meta"):
        return build_method(config, setup.plan)


def diagonal_mm(case: Case) -> float:
    """The largest distance between two voxels' centres of a scan, mm."""
    grid = read_grid(case.images[0])
    reach = np.array(grid.shape) - 1
    corners = [np.array(signs) * reach for signs in ((1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1))]
    return float(max(np.linalg.norm(grid.affine[:3, :3] @ corner) for corner in corners))


def _plan(
    folder: Path,
    dataset: Dataset,
    split: Split,
    settings: Config,
    scans: Mapping[str, str],
    device: Device,
    progress: Progress | None,
) -> Plan:
    """The plan in a setup's folder, if it is made of the same; else a new one."""
    key = {"key": _key(settings, scans, dataset, device)}
    path = folder / PLAN
    if path.is_file() and (folder / KEY).is_file() and read_json(folder / KEY) == key:
        return load_plan(path)
    plan = plan_dataset(dataset, split, settings, device=device, progress=progress)
    save_plan(path, plan)
    write_json(folder / KEY, key)
    return plan


def _scans(split: Split, scored: Sequence[Case], content: Callable[[Path], str]) -> dict[str, str]:
    roles = (("labelled", split.labelled), ("unlabelled", split.unlabelled), ("scored", scored))
    return {case.name: f"{role}, content {_content(case, content)}" for role, cases in roles for case in cases}


def _content(case: Case, content: Callable[[Path], str]) -> str:
    files = [*case.images, *([case.label] if case.label else [])]
    return hashlib.sha256("".join(map(content, files)).encode()).hexdigest()[:16]


def _key(settings: Config, scans: Mapping[str, str], dataset: Dataset, device: Device) -> str:
    """A hash of what a plan is made of."""
    made_of = [
        __version__,
        settings.plan,
        settings.steps,
        {name: used for name, used in scans.items() if not used.startswith("scored")},
        dataset.channels,
        dataset.classes,
        dataset.ignore_value,
        device,
    ]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _write_scored(path: Path, cases: Sequence[Case], plan: Plan) -> None:
    """Write the scored scans as a table of test scans, with a description that names the classes."""
    channels = range(2, len(plan.channels) + 1)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "image", *(f"image_{number}" for number in channels), "label", "split"])
        for case in cases:
            files = [*case.images, case.label]
            writer.writerow([case.name, *(Path(str(file)).absolute() for file in files), "test"])
    labels = {"background": 0, **plan.classes}
    if plan.ignore_value is not None:
        labels["ignore"] = plan.ignore_value
    names = {str(number): channel for number, channel in enumerate(plan.channels)}
    write_json(path.with_name("dataset.json"), {"channel_names": names, "labels": labels})
    load_dataset(path)  # tells now what predicting would refuse
