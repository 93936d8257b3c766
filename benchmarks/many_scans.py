"""What a scan costs among a hundred others and among thousands: time, memory, and the wait for the first step.

    python benchmarks/many_scans.py [--scans 100,1000,5000] [--data DIR]

For each number of phantoms (four subjects under so many noises): `duoseg check`; a training of one step, which plans
and prepares; the same again with everything prepared; a training of 10 steps; `duoseg predict` of all. Each is a
process of its own on one thread; of the short ones the middle of three counts. Fails where a scan among many costs
more than 10% above one among few, start-up apart; memory grows by 10% or more and by 8 KiB a scan or more; or a
training of one step on prepared scans takes 15 s.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
from _common import Cost, duoseg, made_with

from duoseg.scans.phantoms import make_phantom

LABELLED = 4
SHAPE = (48, 48, 32)
GROWTH_LIMIT = 0.1
KIB_LIMIT = 8.0
"""What a list of scans may take for each, such as a row of a table that is printed at the end."""
START_LIMIT_S = 15.0
REPEATS = 3
"""Of what takes little: the difference of two short times is small beside what else the machine does."""
WORKS = ("check", "prepare", "start", "train", "predict")
BY_SCAN = ("check", "prepare", "predict")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", default="100,1000,5000", help="three numbers or more")
    parser.add_argument("--data", type=Path, help="keep the phantoms here, and take them from here if they are there")
    options = parser.parse_args()
    counts = sorted(int(count) for count in options.scans.split(","))
    if len(counts) < 3:
        parser.error("fewer than three numbers of scans do not tell how the cost of a scan grows")
    costs: dict[int, dict[str, Cost]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = options.data or folder / "phantoms"
        if not (whole / "dataset.json").is_file():
            write_scans(whole, counts[-1])
        if (there := len(list((whole / "imagesTr").iterdir()))) < counts[-1]:
            parser.error(f"{whole} holds {there} scans, not {counts[-1]}: give another --data, or fewer --scans")
        for count in counts:
            costs[count] = measure(first_scans(whole, folder / f"first-{count}", count), folder / f"out-{count}")
    print(f"{made_with()}, one thread\n\n| scans | command | wall s | CPU s | peak memory (MiB) |")
    print("| ---: | --- | ---: | ---: | ---: |")
    for count, found in costs.items():
        for work, cost in found.items():
            print(f"| {count} | {work} | {cost.wall_s:.1f} | {cost.cpu_s:.1f} | {cost.peak_mib:.0f} |")
    sys.exit(judge(costs))


def judge(costs: dict[int, dict[str, Cost]]) -> bool:
    """Print what grows; whether any limit is passed."""
    failed = False
    (few, *_, many) = costs
    print()
    for work in WORKS:
        before, after = (costs[count][work].peak_mib for count in (few, many))
        growth, each = after / before - 1, 1024 * (after - before) / (many - few)
        print(f"{work}: memory from {few} to {many} scans {growth:+.1%}, {each:.1f} KiB a scan")
        failed |= growth >= GROWTH_LIMIT and each >= KIB_LIMIT
    steps = list(pairwise([0, *costs]))[1:]
    for work in BY_SCAN:
        each = [(costs[b][work].cpu_s - costs[a][work].cpu_s) / (b - a) for a, b in steps]
        told = ", ".join(f"{1000 * one:.1f} ms from {a} to {b}" for one, (a, b) in zip(each, steps, strict=True))
        print(f"{work}: CPU time a scan {told}")
        failed |= len(each) > 1 and each[-1] > (1 + GROWTH_LIMIT) * each[0]
    start = costs[many]["start"].wall_s
    print(f"start, one step and end with {many} prepared scans: {start:.1f} s (limit {START_LIMIT_S:.0f} s)")
    return failed or start >= START_LIMIT_S


def measure(data: Path, out: Path) -> dict[str, Cost]:
    """What each command costs on one data set."""
    common = ("--threads", 1, "--device", "cpu", "--quiet")
    config = data.with_suffix(".toml")
    config.write_text("[plan]\npatch = [32, 32, 32]\n")

    def train(name: str, steps: int, cache: str) -> Cost:
        words = ("--method", "dtml", "--steps", steps, "--config", config)
        return duoseg("train", data, "--out", out / name, *words, "--cache", out / cache, *common)

    return {
        "check": middle([duoseg("check", data, "--threads", "1", "--quiet") for _ in range(REPEATS)]),
        "prepare": middle([train(f"new-{turn}", 1, f"cache-{turn}") for turn in range(REPEATS)]),
        "start": middle([train(f"start-{turn}", 1, "cache-0") for turn in range(REPEATS)]),
        "train": train("longer", 10, "cache-0"),
        "predict": duoseg("predict", out / "longer", data / "imagesTr", "--out", out / "masks", *common),
    }


def middle(costs: list[Cost]) -> Cost:
    """The one of median CPU time."""
    return sorted(costs, key=lambda cost: cost.cpu_s)[len(costs) // 2]


def write_scans(folder: Path, count: int) -> None:
    """A data set of as many phantoms as there are labels, by turns under ``count`` different noises."""
    phantoms = [make_phantom(index, shape=SHAPE) for index in range(LABELLED)]
    random = np.random.default_rng(0)
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
    for index in range(count):
        image, label, affine = phantoms[index % LABELLED]
        noisy = (image[0] + random.integers(0, 50, image[0].shape)).astype(np.int16)
        nib.save(nib.Nifti1Image(noisy, affine), folder / "imagesTr" / f"case{index:05d}_0000.nii.gz")
        if index < LABELLED:
            nib.save(nib.Nifti1Image(label, affine), folder / "labelsTr" / f"case{index:05d}.nii.gz")
    description = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(description))


def first_scans(source: Path, folder: Path, count: int) -> Path:
    """A data set of the first ``count`` scans of ``source``, as links to its files."""
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
        for path in sorted((source / kind).iterdir())[:count]:
            os.symlink(path.resolve(), folder / kind / path.name)
    (folder / "dataset.json").write_text((source / "dataset.json").read_text())
    return folder


if __name__ == "__main__":
    main()
