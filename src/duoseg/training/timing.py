"""What one training step takes on this machine: the real step, on patches of noise."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import numpy as np
import torch

from duoseg.methods.base import Method, Stage
from duoseg.planning.budget import StepCost
from duoseg.planning.plan import Plan, Triple
from duoseg.training.devices import DeviceName, Precision, keep_freed_memory, lay_out
from duoseg.training.engine import make_fabric
from duoseg.training.memory import PeakMemory, is_out_of_memory, release_freed_memory
from duoseg.training.patches import Box, PatchSampler, batches, margin
from duoseg.training.steps import Steps

WARM_UP = 2  # steps in which libraries choose their algorithms and memory is first asked for
TIMED = 5
MOST_SECONDS = 30.0


@dataclass(frozen=True)
class _Noise:
    """A scan of noise, as large as a patch with its margin."""

    image: np.ndarray
    label: np.ndarray
    classes: int

    @property
    def shape(self) -> Triple:
        x, y, z = self.label.shape
        return x, y, z

    @cached_property
    def foreground(self) -> list[np.ndarray]:
        return [np.argwhere(self.label == index)[:1] for index in range(1, self.classes + 1)]

    def read_image(self, box: Box) -> np.ndarray:
        return self.image[(slice(None), *box)]

    def read_label(self, box: Box) -> np.ndarray:
        return self.label[box]


def measure_step(
    learner: Method,
    plan: Plan,
    *,
    device: DeviceName = "auto",
    precision: Precision = "auto",
    most_seconds: float = MOST_SECONDS,
) -> StepCost:
    """Take a few real steps (augmentation, forward, backward, optimiser) and return what one takes.

    Time is the median after a warm-up; of a method with several stages, their mean by share. The learner is trained
    on noise: throw it away. The global generator is left as it was.

    Args:
        learner: freshly built for the plan.
        plan: patch, batch, augmentation, optimiser.
        device: where to compute.
        precision: as in a training.
        most_seconds: no further step begins after so long, stages having equal parts of it; but one step of each is
            always taken.

    Raises:
        InputError: the device is missing or cannot compute in that precision.
    """
    keep_freed_memory()
    fabric = make_fabric(device, precision)
    kind = fabric.device.type
    weights = sum(weight.numel() * weight.element_size() for weight in learner.parameters())
    peak = PeakMemory(kind)
    total = sum(stage.share for stage in learner.stages)
    stage_seconds = most_seconds / len(learner.stages)
    seconds = 0.0
    with torch.random.fork_rng(devices=[fabric.device] if kind == "cuda" else []):
        try:
            lay_out(learner, fabric.device)
            learner.train()
            learner.start_training(plan.steps)
            sampler = noise_sampler(plan)
            for stage in learner.stages:
                learner.start_stage(stage)
                steps = Steps(fabric, learner, plan, seed=0)
                seconds += stage.share / total * _stage_seconds(steps, sampler, stage, kind, stage_seconds)
        except RuntimeError as fault:
            if not is_out_of_memory(fault):
                raise
            seconds = math.inf
    taken = peak.bytes()
    release_freed_memory()
    # On a GPU the weights were counted when they were moved there.
    return StepCost(seconds, None if taken is None else taken + (weights if kind == "cpu" else 0))


def _stage_seconds(steps: Steps, sampler: PatchSampler, stage: Stage, kind: str, most_seconds: float) -> float:
    began = before = time.perf_counter()
    times: list[float] = []
    for step, raw in enumerate(batches(sampler, stage.batch, range(WARM_UP + TIMED), torch.device(kind))):
        steps.take(raw, step=step, progress=0.5)
        if kind == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        times.append(now - before)
        before = now
        if now - began > most_seconds:
            break
    return median(times[min(WARM_UP, len(times) - 1) :])


def noise_sampler(plan: Plan) -> PatchSampler:
    """Patches of noise, labelled and unlabelled, as large as the plan's."""
    x, y, z = (side + 2 * extra for side, extra in zip(plan.patch, margin(plan.patch, plan.augmentation), strict=True))
    random = np.random.default_rng(0)
    classes = len(plan.classes)
    scan = _Noise(
        image=random.standard_normal((len(plan.channels), x, y, z), np.float32),
        label=random.integers(0, classes + 1, (x, y, z), np.int8),
        classes=classes,
    )
    return PatchSampler([scan], [scan] if plan.batch.unlabelled else [], plan, seed=0)
