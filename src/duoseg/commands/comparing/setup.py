"""What all combinations of one label count and fold share: the division of the scans, the plan, the prepared scans."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache as remembered
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from duoseg.commands.comparing.frozen import scans_of, write_table
from duoseg.commands.comparing.places import SCORED, TRAINING, setup_folder
from duoseg.commands.plan import plan_dataset
from duoseg.commands.preparing import prepare_training
from duoseg.commands.runs import PLAN, build_method, load_plan, save_plan, write_json
from duoseg.config import Config, parse
from duoseg.errors import InputError
from duoseg.files import read_json
from duoseg.methods.base import Method
from duoseg.planning.cache import known_hash
from duoseg.planning.known import Known
from duoseg.planning.plan import Plan
from duoseg.progress import Progress, counted
from duoseg.scans.cases import Case
from duoseg.scans.copies import require_apart
from duoseg.scans.dataset import Dataset, Split
from duoseg.scans.formats import read_grid
from duoseg.scans.limits import cores
from duoseg.study.folds import Part
from duoseg.study.grid import Entry
from duoseg.version import __version__

KEY = "made-of.json"

Device = Literal["cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Setup:
    """What the combinations of one label count and fold share.

    Attributes:
        labelled: number of labelled training scans.
        fold: number of the fold, if there are any.
        folder: where its files lie.
        split: the training cases.
        plan: for all methods; its steps are the study's.
        key: a hash of what the plan is made of.
        scored: the cases to score.
        scans: for each case what it is used for, and a hash of what is read of it.
    """

    labelled: int
    fold: int | None
    folder: Path
    split: Split
    plan: Plan
    key: str
    scored: tuple[Case, ...]
    scans: dict[str, str]

    @property
    def described(self) -> str:
        """What it is of, in words."""
        return f"{self.labelled} labelled" + ("" if self.fold is None else f", fold {self.fold}")

    @property
    def plan_file(self) -> Path:
        """The plan of its trainings."""
        return self.folder / PLAN

    @property
    def training_table(self) -> Path:
        """The training scans as a data set of its own, with the labels that may be used and no others."""
        return self.folder / TRAINING

    @cached_property
    def diagonals_mm(self) -> dict[str, float]:
        """Of each scored scan."""
        return {case.name: diagonal_mm(case) for case in self.scored}

    def write(self) -> None:
        """Write its files: combinations train on and score these scans, whatever becomes of the data set's folders.

        Raises:
            InputError: a scan cannot be listed in a table.
        """
        key = {"key": self.key}
        if not _is_made_of(self.folder, key):
            (self.folder / KEY).unlink(missing_ok=True)  # first: a plan is believed only beside its own key
            save_plan(self.plan_file, self.plan)
            write_json(self.folder / KEY, key)
        write_table(self.training_table, [*self.split.labelled, *self.split.unlabelled], self.plan, side="train")
        write_table(self.scored_table, self.scored, self.plan, side="test")

    @property
    def scored_table(self) -> Path:
        """The scored scans as a data set of its own, which `predict` and `evaluate` take in any layout."""
        return self.folder / SCORED


def make_setups(
    dataset: Dataset,
    out: Path,
    parts: Sequence[Part],
    counts: Sequence[int],
    settings: Config,
    *,
    device: Device,
    cache: Path,
    progress: Progress | None = None,
) -> list[Setup]:
    """Divide the data set and plan, once for each label count and fold.

    Nothing is written but what is known of files, in ``cache``. A plan is made anew only where something that it is
    made of has changed.

    Raises:
        InputError: the data are wrong, a scan is on two sides, no plan can be made, or plans differ in classes.
    """
    found = []
    with Known(cache) as known:
        content = remembered(lambda path: known_hash(path, known))
        for part in parts:
            divided = replace(dataset, train=part.train, test=part.scored, holdout=())
            require_apart(divided, progress=counted(progress, "look for copies"))
            for count in counts:
                folder = setup_folder(out, count, part.fold)
                split = divided.split(labelled=count)
                scans = scans_of(split, part.scored, content)
                own = settings.with_options(labelled=count)
                key = _key(own, scans, divided, device)
                if _is_made_of(folder, {"key": key}):
                    plan = load_plan(folder / PLAN)
                else:
                    plan = plan_dataset(divided, split, own, device=device, progress=progress)
                found.append(Setup(count, part.fold, folder, split, plan, key, part.scored, scans))
    _require_same_classes(dataset, found)
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
        prepare_training(
            learners,
            setup.split,
            setup.plan,
            cache,
            cores=cores(),
            described=f"for {setup.described}",
            progress=progress,
        )


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


def _require_same_classes(dataset: Dataset, setups: Sequence[Setup]) -> None:
    """Refuse plans of different classes, as they come of labels without names of which some lack a class."""
    found: dict[tuple[str, ...], str] = {}
    for setup in setups:
        found.setdefault(tuple(setup.plan.classes), setup.described)
    if len(found) > 1:
        told = "; ".join(f"{described}: {', '.join(classes)}" for classes, described in found.items())
        raise InputError(
            f"{dataset.place}: which classes there are depends on the scans whose labels are used ({told}). Name all "
            "classes in a dataset.json, so that every training has the same."
        )


def _is_made_of(folder: Path, key: Mapping[str, str]) -> bool:
    return (folder / PLAN).is_file() and (folder / KEY).is_file() and read_json(folder / KEY) == key


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
