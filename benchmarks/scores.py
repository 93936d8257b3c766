"""Surface scores of one left-atrium-sized label: duoseg against MONAI, side by side.

``python benchmarks/scores.py`` prints a table, ``--json`` the same as JSON. Both tools compute HD95, ASSD and
NSD of one pair of masks on one thread; runs alternate, so that a slow moment of the machine hits both; the
median counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import monai.metrics as monai_metrics
import numpy as np
import torch
from scipy import ndimage

from duoseg.scores.evaluate import score_masks

SHAPE = (175, 132, 88)
SPACING = (0.625, 0.625, 0.625)
TOLERANCE_MM = 1.0
LIMIT_S = 0.3


def make_pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A chamber with ragged walls, about 9% of the volume, and a prediction about two voxels off (uint8)."""
    rng = np.random.default_rng(seed)
    axes = [np.linspace(-1, 1, size) for size in SHAPE]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    walls = [ndimage.gaussian_filter(rng.normal(size=SHAPE), 4) * 2 for _ in range(2)]
    prediction, reference = ((radius + wall < 0.56).astype(np.uint8) for wall in walls)
    return prediction, reference


def ours(prediction: np.ndarray, reference: np.ndarray) -> dict[str, float | None]:
    """All scores of one label by duoseg."""
    return score_masks(prediction, reference, SPACING, {"x": 1}, tolerance_mm=TOLERANCE_MM)["x"]


def theirs(prediction: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """The three surface scores by MONAI."""
    both = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference)]
    options = {"include_background": True, "spacing": SPACING}
    return {
        "hd95_mm": monai_metrics.compute_hausdorff_distance(*both, percentile=95, **options).item(),
        "assd_mm": monai_metrics.compute_average_surface_distance(*both, symmetric=True, **options).item(),
        "nsd": monai_metrics.compute_surface_dice(*both, class_thresholds=[TOLERANCE_MM], **options).item(),
    }


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process, all threads, for one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(runs: int) -> dict[str, Any]:
    """Time both tools ``runs`` times in turn, after one warm-up each, and compare their values."""
    prediction, reference = make_pair()
    tools = {"duoseg": ours, "monai": theirs}
    values = {name: tool(prediction, reference) for name, tool in tools.items()}
    times: dict[str, list[float]] = {name: [] for name in tools}
    for _ in range(runs):
        for name, tool in tools.items():
            times[name].append(cpu_seconds(lambda tool=tool: tool(prediction, reference)))
    medians = {name: statistics.median(found) for name, found in times.items()}
    return {
        "shape": SHAPE,
        "runs": runs,
        "cpu_seconds": medians,
        "ratio": medians["monai"] / medians["duoseg"],
        "within_limit": medians["duoseg"] < LIMIT_S,
        "limit_s": LIMIT_S,
        "values": {name: {metric: found[metric] for metric in values["monai"]} for name, found in values.items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CPU time of surface scores, duoseg against MONAI.")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each tool (default 5)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(arguments.runs)
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"one label, {' x '.join(map(str, SHAPE))} voxels, one thread, median of {arguments.runs}")
    print(f"{'':8} {'CPU s':>8} {'HD95 mm':>9} {'ASSD mm':>9} {'NSD':>7}")
    for name, found in result["values"].items():
        seconds = result["cpu_seconds"][name]
        print(f"{name:8} {seconds:8.3f} {found['hd95_mm']:9.4f} {found['assd_mm']:9.4f} {found['nsd']:7.4f}")
    verdict = "within" if result["within_limit"] else "over"
    print(f"MONAI / duoseg = {result['ratio']:.1f}; duoseg is {verdict} its limit of {LIMIT_S} CPU s")


if __name__ == "__main__":
    main()
