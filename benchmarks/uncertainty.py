"""Which map finds the wrong voxels of a mask: average precision of several, on scans with a label.

    python benchmarks/uncertainty.py RUN DATA [--on holdout] [--scans 60]

For each voxel of the prepared scan, from the opinions of all students, each on the scan and, where the plan mirrors, on
its mirror image: *doubt* is what the mean opinion leaves to other classes, *entropy* that of the mean opinion,
*disagreement* how much of it is between the opinions and not in each (mutual information), *variance* that of the
opinions. *both* are the students' opinions of the plain scan, *all* with the mirrored ones, *first* the first student's
alone. A map that ranked all wrong voxels above all right ones would have 1; one that ranked by chance the share of
wrong voxels. A run that was trained on any of the scans is refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from torch import Tensor
from trust import unseen

import duoseg
from duoseg.methods.base import Method
from duoseg.planning.plan import Plan
from duoseg.planning.prepare import prepare_image, prepare_label
from duoseg.planning.reading import read_channels, read_label
from duoseg.prediction.inference import predict_slabs
from duoseg.scans.dataset import load_dataset

TINY = 1e-7


def main() -> None:
    """Read each scan, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--on", choices=("holdout", "test"), default="holdout")
    parser.add_argument("--scans", type=int, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset(options.data)
    cases = unseen(options.run, data, options.on)
    model = duoseg.load(options.run, device="cpu")
    method, plan = model._methods[0], model.plan
    precisions: dict[str, list[float]] = {}
    wrong_share = []
    for case in cases[: options.scans]:
        voxels, grid = read_channels(case)
        image, placement = prepare_image(voxels, grid, plan)
        label = prepare_label(read_label(case, grid, plan.classes), placement, plan)
        plain, mirrored = all_opinions(method, plan, torch.from_numpy(image))
        wrong = (plain.mean(dim=0).argmax(dim=0).numpy() != label) & (label >= 0)
        wrong_share.append(wrong.mean())
        compared = {"first": plain[:1], "both": plain}
        if mirrored is not None:
            compared["all"] = torch.cat([plain, mirrored])
        for name, chosen in compared.items():
            for title, values in maps(chosen).items():
                precisions.setdefault(f"{title}, {name}", []).append(average_precision(values.numpy(), wrong))
    print(f"{len(wrong_share)} scans, {mean(wrong_share):.2%} of their voxels wrong\n")
    print("| map | average precision |\n| --- | ---: |")
    for title, found in precisions.items():
        print(f"| {title} | {mean(found):.3f} |")


@torch.inference_mode()
def all_opinions(method: Method, plan: Plan, image: Tensor) -> tuple[Tensor, Tensor | None]:
    """Each student's probabilities of the image, (students, K + 1, x, y, z), and as many of its mirror image.

    The second is None where the plan has no axis along which training mirrors.
    """
    classes = len(plan.classes) + 1
    axes = [2 + axis for axis in plan.augmentation.mirror_axes[:1]]

    def asked(patches: Tensor) -> Tensor:
        plain = [*method.members(patches)]
        mirrored = [one.flip(axis) for axis in axes for one in method.members(patches.flip(axis))]
        return torch.cat([*plain, *mirrored], dim=1)

    students = len([*method.members(torch.zeros(1, len(plan.channels), *plan.patch))])
    count = students * (1 + len(axes))
    slabs = predict_slabs(
        image, asked, classes=count * classes, patch=plan.patch, window=plan.window, device=torch.device("cpu")
    )
    opinions = slabs.whole().unflatten(0, (count, classes))
    return opinions[:students], opinions[students:] if axes else None


def maps(opinions: Tensor) -> dict[str, Tensor]:
    """Each kind of map, larger where a voxel is less certain."""
    together = opinions.mean(dim=0)
    found = {"doubt": 1 - together.amax(dim=0), "entropy": entropy(together)}
    if len(opinions) > 1:
        found["disagreement"] = entropy(together) - torch.stack([entropy(one) for one in opinions]).mean(dim=0)
        found["variance"] = opinions.var(dim=0).sum(dim=0)
    return found


def entropy(p: Tensor) -> Tensor:
    """Of probabilities (K + 1, x, y, z), in nats."""
    p = p.clamp(min=TINY)
    return -(p * p.log()).sum(dim=0)


def average_precision(values: np.ndarray, wrong: np.ndarray) -> float:
    """The mean, over the wrong voxels, of the share of wrong ones among those at least as uncertain."""
    order = np.argsort(-values.ravel(), kind="stable")
    found = wrong.ravel()[order]
    return float((np.cumsum(found) / np.arange(1, found.size + 1))[found].mean()) if found.any() else 1.0


if __name__ == "__main__":
    main()
