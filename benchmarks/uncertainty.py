"""Which map finds the wrong voxels of a mask: average precision of several, on scans with a label.

    python benchmarks/uncertainty.py RUN DATA [--on holdout] [--scans 60]

For each voxel of the prepared scan, from the opinions of all students, each on the scan and on its mirror image:
*doubt* is what the mean opinion leaves to other classes, *entropy* that of the mean opinion, *disagreement* how much of
it is between the opinions and not in each (mutual information), *variance* that of the opinions. *both* are the
students' opinions of the plain scan, *all* with the mirrored ones, *first* the first student's alone. A map that
ranked all wrong voxels above all right ones would have 1; one that ranked by chance the share of wrong voxels.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from torch import Tensor

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
    cases = data.test if options.on == "test" else [case for case in data.train if case.name in data.holdout]
    model = duoseg.load(options.run, device="cpu")
    method, plan = model._methods[0], model.plan
    precisions: dict[str, list[float]] = {}
    wrong_share = []
    for case in cases[: options.scans]:
        voxels, grid = read_channels(case)
        image, placement = prepare_image(voxels, grid, plan)
        label = prepare_label(read_label(case, grid, plan.classes), placement, plan)
        opinions = all_opinions(method, plan, torch.from_numpy(image))
        students = len(opinions) // 2
        wrong = (opinions[:students].mean(dim=0).argmax(dim=0).numpy() != label) & (label >= 0)
        wrong_share.append(wrong.mean())
        for name, chosen in {"first": opinions[:1], "both": opinions[:students], "all": opinions}.items():
            for title, values in maps(chosen).items():
                precisions.setdefault(f"{title}, {name}", []).append(average_precision(values.numpy(), wrong))
    print(f"{len(wrong_share)} scans, {mean(wrong_share):.2%} of their voxels wrong\n")
    print("| map | average precision |\n| --- | ---: |")
    for title, found in precisions.items():
        print(f"| {title} | {mean(found):.3f} |")


@torch.inference_mode()
def all_opinions(method: Method, plan: Plan, image: Tensor) -> Tensor:
    """Each student's probabilities of the image, then of its mirror image, (opinions, K + 1, x, y, z)."""
    axis = plan.augmentation.mirror_axes[0]
    classes = len(plan.classes) + 1

    def both(patches: Tensor) -> Tensor:
        turned = [one.flip(2 + axis) for one in method.members(patches.flip(2 + axis))]
        return torch.cat([*method.members(patches), *turned], dim=1)

    count = 2 * len([*method.members(torch.zeros(1, len(plan.channels), *plan.patch))])
    slabs = predict_slabs(
        image, both, classes=count * classes, patch=plan.patch, window=plan.window, device=torch.device("cpu")
    )
    return slabs.whole().unflatten(0, (count, classes))


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
