"""CPU time until the mean Dice on the holdout scans is 75%: the published networks and procedure against duoseg.

    python benchmarks/time_to_quality.py DATA/left_atrium [--goal 0.75] [--hours 2] [--cache DIR]

Both learn from the same 16 labelled scans and the rest of the training scans, on the grid of the CPU protocol, on one
thread. The published arm is DTML's: two V-Nets, two backward passes and scipy's distance maps in each step, SGD at a
constant 0.01, quarter turns and flips, scored every 50 steps; it is stopped after so many CPU hours, which then bound
the ratio from below. duoseg's arm is its default method under the protocol, trained anew for 25, 50, 100, ... steps.
Scoring is not counted; one seed, and the length is chosen by the score that is shown. Fails where the ratio is under 8;
beside it stands the ratio to all of duoseg's trainings together, those that were too short among them.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from _common import made_with
from published_step import published_step

import duoseg
from duoseg.commands.runs import build_method
from duoseg.config import Config, load_config
from duoseg.methods.base import Method
from duoseg.model.augment import augment
from duoseg.model.draws import SampleGenerator
from duoseg.model.losses import gaussian_ramp
from duoseg.planning.cache import prepare_cases
from duoseg.planning.overrides import override
from duoseg.planning.plan import Plan
from duoseg.planning.reading import read_images, read_label
from duoseg.prediction.model import Model
from duoseg.scans.dataset import Case, load_dataset
from duoseg.study.folds import divide
from duoseg.training.patches import PatchSampler

PROTOCOLS = Path(__file__).parents[1] / "protocols"
LABELLED = 16
SCORED_EVERY = 50
STEPS = (25, 50, 100, 200, 400, 800, 1600)
LIMIT = 8.0


@dataclass(frozen=True)
class Reached:
    """How far an arm came: steps, CPU seconds of training, mean Dice on the holdout scans."""

    steps: int
    cpu_s: float
    dice: float


def main() -> None:
    """Train both arms and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--goal", type=float, default=0.75)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = options.cache or folder / "cache"
        tries = by_duoseg(options.data, folder, cache, options.goal)
        published = by_the_paper(options.data, cache, options.goal, 3600 * options.hours)
    print(f"{made_with()}, one thread, {options.data.name}, {LABELLED} labelled scans, seed 0\n")
    print("| | steps | CPU s | Dice on holdout scans |\n| --- | ---: | ---: | ---: |")
    own = tries[-1]
    for name, reached in (("duoseg", own), ("published networks and procedure", published)):
        print(f"| {name} | {reached.steps} | {reached.cpu_s:.0f} | {reached.dice:.3f} |")
    ratio = published.cpu_s / own.cpu_s
    bound = "" if published.dice >= options.goal else "at least "
    print(f"\n{bound}{ratio:.1f} times as fast to {options.goal:.0%} (limit {LIMIT:.0f})")
    together = sum(one.cpu_s for one in tries)
    print(f"{bound}{published.cpu_s / together:.1f} times, counting the {len(tries) - 1} trainings that were too short")
    sys.exit(ratio < LIMIT or own.dice < options.goal)


def by_duoseg(data: Path, folder: Path, cache: Path, goal: float) -> list[Reached]:
    """Trainings up to the shortest that reaches the goal; all where none does."""
    tries: list[Reached] = []
    for steps in STEPS:
        study = duoseg.compare(
            data,
            folder / f"steps-{steps}",
            methods=["duo"],
            labelled=[LABELLED],
            seeds=[0],
            on="holdout",
            steps=steps,
            config=PROTOCOLS / "left-atrium-cpu.toml",
            cache=cache,
            jobs=1,
            threads=1,
            device="cpu",
        )
        (one,) = study.content["combinations"]
        means = {row["class"]: row["mean"] for row in study.content["summary"] if row["metric"] == "dice"}
        dice = means.get("all", fmean(means.values()))
        tries.append(Reached(steps, one["cost"]["train_cpu_s"], dice))
        told("duoseg", tries[-1])
        if dice >= goal:
            break
    return tries


def by_the_paper(data: Path, cache: Path, goal: float, most_seconds: float) -> Reached:
    """The published procedure until it reaches the goal or has used its time."""
    (part,) = divide(load_dataset(data), on="holdout", folds=None)
    labelled = [case for case in part.train if case.label is not None][:LABELLED]
    unlabelled = [case.without_label() for case in part.train if case not in labelled]
    plan = published_plan(data)
    sampler = PatchSampler(prepare_cases(labelled, plan, cache), prepare_cases(unlabelled, plan, cache), plan, seed=0)
    torch.manual_seed(0)
    method = build_method(Config(method="dtml"), plan).train()
    students = [method.get_submodule(name) for name in ("region", "boundary")]
    optimisers = [
        torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4) for student in students
    ]
    reached, seconds, step = Reached(0, 0.0, 0.0), 0.0, 0
    while reached.dice < goal and seconds < most_seconds:
        began = time.process_time()
        raw = sampler.batch(step, "mixed")
        image, label = augment(
            raw.image,
            raw.label.long(),
            size=plan.patch,
            plan=plan.augmentation,
            generator=SampleGenerator(0, step, raw.positions, torch.device("cpu")),
            spacing=plan.spacing,
        )
        assert label is not None
        published_step(students, optimisers, image, label, gaussian_ramp(step / plan.steps, 40))
        seconds += time.process_time() - began
        step += 1
        if step % SCORED_EVERY == 0 or seconds >= most_seconds:
            reached = Reached(step, seconds, score(method, plan, part.scored))
            told("published", reached)
    return reached


def published_plan(data: Path) -> Plan:
    """The paper's networks, steps and augmentation on the grid of the CPU protocol, with a patch that they can take."""
    paper = load_config(PROTOCOLS / "left-atrium-paper.toml").plan
    plan = duoseg.plan(data, labelled=LABELLED, steps=6000, config=PROTOCOLS / "left-atrium-cpu.toml", device="cpu")
    changes = {name: paper[name] for name in ("network", "batch", "augmentation", "normalisation")}
    return override(plan, {**changes, "patch": [64, 64, 48]})


def score(method: Method, plan: Plan, cases: Sequence[Case]) -> float:
    """Mean Dice of S over cases and classes, on their own grids."""
    model = Model(plan, [copy.deepcopy(method)], device="cpu")  # which lays out what it is given as duoseg does
    dice = []
    for case in cases:
        images = read_images(case)
        mask = model.predict(images.voxels, images.grid, keep_probabilities=False).mask
        reference = read_label(case, images.grid)
        for value in plan.classes.values():
            sizes = int((mask == value).sum()) + int((reference == value).sum())
            both = int(np.count_nonzero((mask == value) & (reference == value)))
            dice.append(2 * both / sizes if sizes else 1.0)
    return fmean(dice)


def told(arm: str, reached: Reached) -> None:
    """Say how far an arm is, for whoever waits."""
    print(
        f"{arm}: {reached.steps} steps, {reached.cpu_s:.0f} CPU s, Dice {reached.dice:.3f}", file=sys.stderr, flush=True
    )


if __name__ == "__main__":
    main()
