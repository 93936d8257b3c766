"""A training step in bf16 against one in 32 bits, on a CPU that multiplies matrices of bf16 (AMX).

    python benchmarks/half_precision.py [--method duo] [--repeats 5] [--steps 10]

The method trains on the same phantoms in both precisions, with the networks, patches and batches of two protocols, in
turns; CPU seconds on one thread and the median of the ratios are printed. Ends with status 1 where bf16 is not faster,
and at once, with status 3, where the processor has no such instructions: there it takes up to hundreds of times longer.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from _common import NOT_HERE, made_with
from training_step import trained

from duoseg.scans.phantoms import write_phantom_dataset

PRECISIONS = ("32", "bf16")
PROTOCOLS = ("hippocampus", "left-atrium-cpu")
FLAG = "amx_bf16"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="duo")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    processor = Path("/proc/cpuinfo")
    if not processor.is_file() or FLAG not in processor.read_text().split():
        print(f"{processor}: does not name {FLAG}, so there is nothing to compare here", file=sys.stderr)
        sys.exit(NOT_HERE)
    print(f"{made_with()}, one thread, steps of {options.method}, median of {options.repeats}\n")
    print("| protocol | CPU s a step, 32 bits | bf16 | times as fast |\n| --- | ---: | ---: | ---: |")
    missed = []
    for protocol in PROTOCOLS:
        seconds = measured(protocol, options.method, options.repeats, options.steps)
        faster = median(slow / fast for slow, fast in zip(*(seconds[name] for name in PRECISIONS), strict=True))
        whole, half = (median(seconds[name]) for name in PRECISIONS)
        print(f"| `{protocol}.toml` | {whole:.3f} | {half:.3f} | {faster:.2f} |", flush=True)
        missed += [protocol] * (faster <= 1)
    sys.exit(f"not faster: {', '.join(missed)}" if missed else 0)


def measured(protocol: str, method: str, repeats: int, steps: int) -> dict[str, list[float]]:
    """The CPU seconds of a step of each repeat, by precision."""
    text = (Path(__file__).parents[1] / "protocols" / f"{protocol}.toml").read_text(encoding="utf-8")
    seconds: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_phantom_dataset(folder / "data", subjects=12, labelled=8, test=1)
        for repeat in range(-1, repeats):  # the first loads and prepares what all others find
            for precision in PRECISIONS:
                config = folder / f"{precision}.toml"
                config.write_text(f'{text}\n[training]\nprecision = "{precision}"\n')
                place = folder / f"{precision}-{repeat}"
                step, _ = trained(data, place, method=method, steps=steps if repeat >= 0 else 1, config=config)
                seconds[precision] += [step] * (repeat >= 0)
    return seconds


if __name__ == "__main__":
    main()
