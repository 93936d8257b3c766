"""Cost of a training step against that of `supervised` on as many images, and the share of time spent waiting for data.

    python benchmarks/training_step.py [--methods dtml] [--repeats 5] [--steps 8]

All methods train on the same phantoms with the Hippocampus protocol's patch, network and batch. Their steps are timed
in CPU seconds on one thread, in turns, and the median of the ratios is printed. ``--methods all`` takes all that there
are. Held to a limit are `dtml`, and the waiting of all.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

from _common import made_with

import duoseg
from duoseg.methods import method_names
from duoseg.scans.phantoms import write_phantom_dataset
from duoseg.training.log import read_log

RATIO_LIMIT, WAIT_LIMIT = 2.2, 0.05
BASELINE = "supervised"
PROTOCOL = Path(__file__).parents[1] / "protocols" / "hippocampus.toml"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="dtml", help="a,b,c or all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    chosen = method_names() if options.methods == "all" else options.methods.split(",")
    names = [BASELINE, *(name for name in chosen if name != BASELINE)]
    costs: dict[str, list[float]] = {name: [] for name in names}
    waits: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_phantom_dataset(folder / "data", subjects=8, labelled=4, test=1)
        measure(data, folder, "dtml", -1, 1)  # prepares all scans, and loads what the first training loads
        for repeat in range(options.repeats):
            for method in names:
                cost, wait = measure(data, folder, method, repeat, options.steps)
                costs[method].append(cost)
                waits[method].append(wait)
    ratios = {name: median(a / b for a, b in zip(costs[name], costs[BASELINE], strict=True)) for name in names}
    print(f"{made_with()}, one thread, batch of 4, median of {options.repeats}\n")
    print(f"| method | CPU s a step | times `{BASELINE}` | waiting for data |\n| --- | ---: | ---: | ---: |")
    for method in names:
        print(f"| `{method}` | {median(costs[method]):.3f} | {ratios[method]:.2f} | {median(waits[method]):.2%} |")
    print(f"\nlimits: dtml {RATIO_LIMIT} times {BASELINE}, waiting {WAIT_LIMIT:.0%}")
    sys.exit(ratios.get("dtml", 0.0) > RATIO_LIMIT or any(median(wait) >= WAIT_LIMIT for wait in waits.values()))


def measure(data: Path, folder: Path, method: str, repeat: int, steps: int) -> tuple[float, float]:
    """CPU seconds of one step, and the share of the training's wall time spent waiting for patches.

    A training of one step is taken off, so that reading, preparing and building do not count.
    """
    seconds = []
    for count in (1, 1 + steps):
        run = folder / f"{method}-{repeat}-{count}"
        before = os.times()
        duoseg.train(
            data,
            run,
            config=PROTOCOL,
            method=method,
            steps=count,
            cache=folder / "cache",
            device="cpu",
            threads=1,
        )
        after = os.times()
        seconds.append(after.user + after.system - before.user - before.system)
    last = read_log(run)[-1]
    return (seconds[1] - seconds[0]) / steps, last["waited_seconds"] / last["seconds"]


if __name__ == "__main__":
    main()
