"""Cost of a training step and of a prediction against those of `supervised`, and the share of time that waits for data.

    python benchmarks/training_step.py [--methods dtml,duo] [--repeats 5] [--steps 10]

All methods train on the same phantoms with the Hippocampus protocol's patch, network and batch, and predict the same
scan. Both are timed in CPU seconds on one thread, in turns, and the medians of the ratios are printed. A method of
stages goes through all of them in its steps. ``--methods all`` takes all that there are. Held to a limit are the steps
of `dtml` and `duo`, and the waiting of all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from _common import made_with

import duoseg
from duoseg.methods import method_names
from duoseg.scans.formats import read_scan
from duoseg.scans.phantoms import write_phantom_dataset
from duoseg.training.log import read_log

LIMITS = {("dtml", "supervised"): 2.2, ("duo", "dtml"): 1.6}
WAIT_LIMIT = 0.03
BASELINE = "supervised"
PROTOCOL = Path(__file__).parents[1] / "protocols" / "hippocampus.toml"


@dataclass
class Cost:
    """CPU seconds of a step and of a prediction, and the share of the wall time spent waiting for patches."""

    step: float
    prediction: float
    waiting: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="dtml,duo", help="a,b,c or all")
    parser.add_argument("--repeats", type=int, default=5)
    # The one step that is taken off is of the last stage: so `duo` has 4 steps of its first one, and 6 of the other.
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    chosen = method_names() if options.methods == "all" else options.methods.split(",")
    names = [BASELINE, *(name for name in chosen if name != BASELINE)]
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_phantom_dataset(folder / "data", subjects=8, labelled=4, test=1)
        measure(data, folder, "dtml", -1, 1)  # prepares all scans, and loads what the first training loads
        for repeat in range(options.repeats):
            for method in names:
                costs[method].append(measure(data, folder, method, repeat, options.steps))

    def times(method: str, other: str, what: str) -> float:
        pairs = zip(costs[method], costs[other], strict=True)
        return median(getattr(one, what) / getattr(rival, what) for one, rival in pairs)

    print(f"{made_with()}, one thread, batch of 4, median of {options.repeats}\n")
    print(f"| method | CPU s a step | times `{BASELINE}` | prediction, times `{BASELINE}` | waiting for data |")
    print("| --- | ---: | ---: | ---: | ---: |")
    waits = {name: median(cost.waiting for cost in costs[name]) for name in names}
    for method in names:
        step, predict = times(method, BASELINE, "step"), times(method, BASELINE, "prediction")
        seconds = median(cost.step for cost in costs[method])
        print(f"| `{method}` | {seconds:.3f} | {step:.2f} | {predict:.2f} | {waits[method]:.2%} |")
    missed = [f"waiting of {name}" for name in names if waits[name] >= WAIT_LIMIT]
    print(f"\nwaiting: limit {WAIT_LIMIT:.0%}")
    for (method, other), limit in LIMITS.items():
        if {method, other} <= costs.keys():
            ratio = times(method, other, "step")
            print(f"a step of {method}: {ratio:.2f} of {other}, limit {limit}")
            missed += [method] * (ratio > limit)
    sys.exit(f"over the limit: {', '.join(missed)}" if missed else 0)


def measure(data: Path, folder: Path, method: str, repeat: int, steps: int) -> Cost:
    """What a training and a prediction cost.

    A training of one step is taken off, so that reading, preparing and building do not count.
    """
    seconds = []
    for count in (1, 1 + steps):
        run = folder / f"{method}-{repeat}-{count}"
        before = time.process_time()
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
        seconds.append(time.process_time() - before)
    scan = read_scan(next((data / "imagesTs").iterdir()))
    model = duoseg.load(run, device="cpu")
    before = time.process_time()
    model.predict(scan.voxels, scan.grid)
    predicted = time.process_time() - before
    last = read_log(run)[-1]
    return Cost((seconds[1] - seconds[0]) / steps, predicted, last["waited_seconds"] / last["seconds"])


if __name__ == "__main__":
    main()
