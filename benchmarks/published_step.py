"""A training step of `dtml` against the published procedure, on the published networks and on duoseg's own.

    python benchmarks/published_step.py [--repeats 5]

The published code computes distance maps of all samples by scipy in each step and goes backward twice, once for each
student. That is done here with the same V-Nets, losses and optimiser as duoseg's `dtml`, whose one backward pass gives
the same gradients (asserted by ``tests/methods/test_dtml.py``), and which needs no distance map. Patches of 64 x 64 x
48 of noise, 2 labelled and 2 unlabelled, CPU seconds of a step on one thread, each arm in a process of its own, in
turns. Reading and augmenting patches count for duoseg alone. A second published arm has duoseg's layout of memory and
its allocator's settings, which tells what these are worth and what the procedure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from _common import made_with
from scipy import ndimage
from torch import Tensor

from duoseg.methods.base import Method
from duoseg.methods.dtml import Dtml, DtmlSettings
from duoseg.model.distance import bounded, mask_from_distance
from duoseg.model.losses import class_probabilities, cross_entropy, dice_loss, gaussian_ramp
from duoseg.model.networks import NetworkFactory
from duoseg.planning.plan import (
    AugmentationPlan,
    BatchPlan,
    NetworkPlan,
    Normalisation,
    OptimiserPlan,
    Plan,
    WindowPlan,
)
from duoseg.training.devices import keep_freed_memory, lay_out, memory_format
from duoseg.training.engine import make_fabric
from duoseg.training.patches import batches
from duoseg.training.steps import Steps
from duoseg.training.timing import noise_sampler

PATCH = (64, 64, 48)
HALVES = ((2, 2, 2),) * 4
NETWORKS = {
    "published": NetworkPlan(architecture="vnet", channels=(16, 32, 64, 128, 256), strides=HALVES, dropout=0.5),
    "own": NetworkPlan(architecture="residual_unet", stem="strided", channels=(16, 32, 64, 128), strides=HALVES[:3]),
}
LIMITS = {"dtml, published networks": 1.6, "dtml, own networks": 8.0}
WARM_UP = 1
TIMED = {"published": 3, "own": 12}
"""Steps of ours with these networks: short ones differ more."""


def main() -> None:
    """Measure all arms in turns and print, or one arm and print its seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--arm", choices=list(ARMS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        torch.set_num_threads(1)
        print(json.dumps(ARMS[options.arm]()))
        return
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for _ in range(options.repeats):
        for arm in ARMS:
            command = [sys.executable, __file__, "--arm", arm]
            seconds[arm].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    print(f"{made_with()}, one thread, median of {options.repeats}\n")
    print("| | CPU s a step | times as fast |\n| --- | ---: | ---: |")
    failed = False
    published = seconds[PUBLISHED]
    for arm, own in seconds.items():
        ratio = median(a / b for a, b in zip(published, own, strict=True))
        print(f"| {arm} | {median(own):.2f} | {ratio:.1f} |")
        failed |= ratio < LIMITS.get(arm, 0)
    print("\nlimits: " + ", ".join(f"{arm} {limit}" for arm, limit in LIMITS.items()))
    sys.exit(failed)


def plan_with(network: NetworkPlan) -> Plan:
    """One channel, one class, plain SGD."""
    return Plan(
        channels=("MRI",),
        classes={"organ": 1},
        spacing=(1.0, 1.0, 1.0),
        patch=PATCH,
        normalisation=(Normalisation(channel="MRI", scheme="zscore"),),
        network=network,
        batch=BatchPlan(labelled=2, unlabelled=2),
        optimiser=OptimiserPlan(name="sgd", learning_rate=0.01, momentum=0.9, weight_decay=1e-4),
        augmentation=AugmentationPlan(mirror_axes=(0, 1, 2)),
        window=WindowPlan(),
        steps=100,
    )


def dtml_with(network: str) -> Method:
    """Fresh students."""
    plan = plan_with(NETWORKS[network])
    networks = NetworkFactory(plan.network, in_channels=1, classes=1, patch=plan.patch)
    return Dtml(networks, DtmlSettings())


def ours(network: str) -> float:
    """A whole step as `duoseg train` takes it, reading and augmentation included."""
    keep_freed_memory()
    plan, method, fabric = plan_with(NETWORKS[network]), dtml_with(network), make_fabric("cpu", "32")
    lay_out(method, fabric.device)
    steps = Steps(fabric, method.train(), plan, seed=0)
    numbers = range(WARM_UP + TIMED[network])
    times, before = [], time.process_time()
    for step, raw in zip(numbers, batches(noise_sampler(plan), "mixed", numbers, fabric.device), strict=True):
        steps.take(raw, step=step, progress=0.5)
        now = time.process_time()
        times.append(now - before)
        before = now
    return median(times[WARM_UP:])


def published(*, laid_out: bool) -> float:
    """The published order of work, without augmentation or reading; in duoseg's layout or in PyTorch's own."""
    method = dtml_with("published").train()
    generator, device = torch.Generator().manual_seed(0), torch.device("cpu")
    image = torch.randn((4, 1, *PATCH), generator=generator)
    if laid_out:
        keep_freed_memory()
        lay_out(method, device)
        image = image.contiguous(memory_format=memory_format(device))
    label = (torch.rand((4, *PATCH), generator=generator) > 0.5).long()
    students = [method.get_submodule(name) for name in ("region", "boundary")]
    optimisers = [
        torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4) for student in students
    ]
    times = []
    for step in range(WARM_UP + TIMED["published"]):
        began = time.process_time()
        published_step(students, optimisers, image, label, gaussian_ramp(step / 100, 40))
        times.append(time.process_time() - began)
    return median(times[WARM_UP:])


def published_step(
    students: list[torch.nn.Module],
    optimisers: list[torch.optim.SGD],
    image: Tensor,
    label: Tensor,
    weight: float,
) -> None:
    region, boundary = students
    logits = region(image)
    p = class_probabilities(logits)[:, 1:]
    mask = mask_from_distance(bounded(boundary(image)), 1500.0)
    distances = torch.stack([_signed_distance(one) for one in label])
    assert distances.shape == label.shape  # the published code does not use them either
    y = label[:2]
    mutual = weight * (mask - p).square().mean()
    losses = [(cross_entropy(logits[:2], y) + dice_loss(p[:2], y)) / 2 + mutual, dice_loss(mask[:2], y) + mutual]
    for optimiser in optimisers:
        optimiser.zero_grad()
    losses[0].backward(retain_graph=True)
    losses[1].backward()
    for optimiser in optimisers:
        optimiser.step()


def _signed_distance(label: Tensor) -> Tensor:
    inside = label.bool().numpy()
    outer, inner = (torch.from_numpy(ndimage.distance_transform_edt(one)) for one in (~inside, inside))
    return outer - inner


PUBLISHED = "published procedure and networks"
ARMS: dict[str, Callable[[], float]] = {
    PUBLISHED: lambda: published(laid_out=False),
    "the same in duoseg's layout": lambda: published(laid_out=True),
    "dtml, published networks": lambda: ours("published"),
    "dtml, own networks": lambda: ours("own"),
}


if __name__ == "__main__":
    main()
