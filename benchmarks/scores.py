"""Scores of one label: duoseg against MONAI and MedPy, side by side.

    python benchmarks/scores.py [--data DATA/left_atrium] [--runs 5] [--json]

All compute Dice, HD95 and ASSD of the same pairs of masks on one thread, duoseg and MONAI also NSD; runs alternate, so
that a slow moment of the machine hits all; medians of the ratios count. Pairs are the labels of a data set's test scans
(or one phantom chamber) and the same with walls about two voxels off. Values that mean the same must be the same:
MedPy's HD95 is that of both surfaces together, its ASSD the mean of two means, so of MedPy that is Dice alone.
`make bench` installs MedPy; without it its column is left out. Fails where MONAI is not 2 times, or MedPy 5 times, as
slow, or a value differs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai.metrics as monai_metrics
import numpy as np
import torch
from _common import made_with
from scipy import ndimage

from duoseg.scans.formats import read_scan
from duoseg.scores.evaluate import score_masks

SHAPE = (175, 132, 88)
SPACING = (0.625, 0.625, 0.625)
TOLERANCE_MM = 1.0
LIMITS = {"monai": 2.0, "medpy": 5.0}
SAME = {"monai": ("dice", "hd95_mm", "assd_mm", "nsd"), "medpy": ("dice",)}
EQUAL = 1e-4
"""Relative; MONAI's distances are in 32 bits."""


@dataclass(frozen=True)
class Pair:
    """Two masks (x, y, z) of 0 and 1, uint8, on one grid of ``spacing`` mm."""

    prediction: np.ndarray
    reference: np.ndarray
    spacing: tuple[float, ...]


def make_pair(seed: int = 0) -> Pair:
    """A chamber with ragged walls, about 9% of the volume, and a prediction about two voxels off."""
    rng = np.random.default_rng(seed)
    axes = [np.linspace(-1, 1, size) for size in SHAPE]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    walls = [ndimage.gaussian_filter(rng.normal(size=SHAPE), 4) * 2 for _ in range(2)]
    prediction, reference = ((radius + wall < 0.56).astype(np.uint8) for wall in walls)
    return Pair(prediction, reference, SPACING)


def real_pairs(data: Path) -> list[Pair]:
    """The largest class of each test label, and the same with its wall moved by about two voxels."""
    pairs = []
    for path in sorted((data / "labelsTs").iterdir()):
        scan = read_scan(path)
        voxels = scan.voxels.reshape(scan.voxels.shape[-3:])
        reference = voxels == np.bincount(voxels[voxels > 0].astype(int)).argmax()
        inside, outside = (np.asarray(ndimage.distance_transform_edt(mask)) for mask in (reference, ~reference))
        noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=reference.shape), 4)
        moved = inside - outside + 2 * noise / noise.std() > 0
        pairs.append(Pair(moved.astype(np.uint8), reference.astype(np.uint8), tuple(scan.grid.spacing)))
    return pairs


def ours(pair: Pair) -> dict[str, float | None]:
    """All scores of one label by duoseg."""
    return score_masks(pair.prediction, pair.reference, pair.spacing, {"x": 1}, tolerance_mm=TOLERANCE_MM)["x"]


def by_monai(pair: Pair) -> dict[str, float]:
    """Four scores by MONAI."""
    both = [torch.from_numpy(mask)[None, None].float() for mask in (pair.prediction, pair.reference)]
    options = {"include_background": True, "spacing": pair.spacing}
    return {
        "dice": monai_metrics.compute_dice(*both, include_background=True).item(),
        "hd95_mm": monai_metrics.compute_hausdorff_distance(*both, percentile=95, **options).item(),
        "assd_mm": monai_metrics.compute_average_surface_distance(*both, symmetric=True, **options).item(),
        "nsd": monai_metrics.compute_surface_dice(*both, class_thresholds=[TOLERANCE_MM], **options).item(),
    }


def by_medpy(pair: Pair) -> dict[str, float]:
    """Three scores by MedPy."""
    from medpy.metric import binary  # pyrefly: ignore[missing-import] (not a dependency)

    masks = pair.prediction, pair.reference
    return {
        "dice": binary.dc(*masks),
        "hd95_mm": binary.hd95(*masks, voxelspacing=pair.spacing),
        "assd_mm": binary.assd(*masks, voxelspacing=pair.spacing),
    }


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process, all threads, for one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(pairs: list[Pair], runs: int) -> dict[str, Any]:
    """Time all tools ``runs`` times in turn, after one warm-up each, and compare their values."""
    tools: dict[str, Callable[[Pair], Any]] = {"duoseg": ours, "monai": by_monai}
    if importlib.util.find_spec("medpy"):
        tools["medpy"] = by_medpy
    values = {name: [tool(pair) for pair in pairs] for name, tool in tools.items()}
    times: dict[str, list[float]] = {name: [] for name in tools}
    for _ in range(runs):
        for name, tool in tools.items():
            times[name].append(cpu_seconds(lambda tool=tool: [tool(pair) for pair in pairs]))
    rivals = [name for name in tools if name != "duoseg"]
    ratios = {
        name: statistics.median(a / b for a, b in zip(times[name], times["duoseg"], strict=True)) for name in rivals
    }
    return {
        "pairs": len(pairs),
        "runs": runs,
        "cpu_seconds": {name: statistics.median(found) / len(pairs) for name, found in times.items()},
        "ratios": ratios,
        "means": {
            name: {
                metric: statistics.fmean(one[metric] for one in found) for metric in found[0] if metric in SAME["monai"]
            }
            for name, found in values.items()
        },
        "largest_difference": {
            name: max(
                abs(one[metric] / own[metric] - 1)
                for one, own in zip(values[name], values["duoseg"], strict=True)
                for metric in SAME[name]
            )
            for name in rivals
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a data set with labelled test scans; one phantom without")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each tool (default 5)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(real_pairs(arguments.data) if arguments.data else [make_pair()], arguments.runs)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)
    for name in LIMITS.keys() - result["ratios"].keys():
        print(f"{name} is not installed here, so it was not measured")
    slow = [name for name, ratio in result["ratios"].items() if ratio < LIMITS[name]]
    apart = result["largest_difference"]
    unequal = [name for name, difference in apart.items() if not difference <= EQUAL]  # what is no number is not equal
    sys.exit(bool(slow or unequal))


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    print(f"{made_with()}, one thread, {result['pairs']} pairs of masks, median of {result['runs']}\n")
    print("| | CPU s a pair | times duoseg | Dice | HD95 (mm) | ASSD (mm) | NSD | equal within |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, found in result["means"].items():
        scores = " | ".join(f"{found[metric]:.4f}" if metric in found else "" for metric in SAME["monai"])
        ratio, difference = result["ratios"].get(name, 1.0), result["largest_difference"].get(name)
        last = "" if difference is None else f"{difference:.0e}"
        print(f"| {name} | {result['cpu_seconds'][name]:.3f} | {ratio:.1f} | {scores} | {last} |")
    print("\nlimits: " + ", ".join(f"{name} {limit:.0f} times" for name, limit in LIMITS.items()))


if __name__ == "__main__":
    main()
