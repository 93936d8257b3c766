"""Seconds per scan and peak memory of `duoseg check` against the number of scans.

    python benchmarks/checking.py [--scans 100,1000]

Makes a data set of phantoms, each another subject, and checks the first so many of them, each time in a process of its
own. Fails where ten times the scans take more than a few per cent more memory.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from _common import Cost, duoseg, made_with

from duoseg.scans.phantoms import write_phantom_dataset

LIMIT = 0.1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", default="100,1000")
    parser.add_argument("--data", type=Path, help="keep the phantoms here, and take them from here if they are there")
    options = parser.parse_args()
    counts = sorted(int(count) for count in options.scans.split(","))
    costs: dict[int, Cost] = {}
    with tempfile.TemporaryDirectory() as name:
        whole = options.data or Path(name) / "phantoms"
        if not (whole / "dataset.json").is_file():
            write_phantom_dataset(whole, subjects=counts[-1], labelled=counts[-1], test=0)
        for count in counts:
            costs[count] = duoseg("check", first_scans(whole, Path(name) / f"first-{count}", count), "--quiet")
    print(f"{made_with()}, one core\n\n| scans | s per scan | CPU s per scan | peak memory (MiB) |")
    print("| ---: | ---: | ---: | ---: |")
    for count, cost in costs.items():
        print(f"| {count} | {cost.wall_s / count:.3f} | {cost.cpu_s / count:.3f} | {cost.peak_mib:.0f} |")
    growth = costs[counts[-1]].peak_mib / costs[counts[0]].peak_mib - 1
    print(f"\nmemory from {counts[0]} to {counts[-1]} scans: {growth:+.1%} (limit {LIMIT:.0%})")
    sys.exit(growth >= LIMIT)


def first_scans(source: Path, folder: Path, count: int) -> Path:
    """A data set of the first ``count`` subjects of ``source``, as links to its files."""
    cases = json.loads((source / "splits.json").read_text())["train"][:count]
    for kind, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        (folder / kind).mkdir(parents=True)
        for case in cases:
            os.symlink((source / kind / f"{case}{ending}").resolve(), folder / kind / f"{case}{ending}")
    (folder / "dataset.json").write_text((source / "dataset.json").read_text())
    return folder


if __name__ == "__main__":
    main()
