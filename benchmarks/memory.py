"""Peak memory of a training against the number of scans.

    python benchmarks/memory.py [--scans 50,500]

Trains `dtml` for a few steps on so many phantoms, each training in a process of its own, and prints the growth.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from _common import duoseg, made_with

from duoseg.scans.phantoms import make_phantom

LABELLED = 4
LIMIT = 0.05
SHAPE = (48, 48, 32)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", default="50,500")
    options = parser.parse_args()
    counts = [int(count) for count in options.scans.split(",")]
    peaks = {}
    with tempfile.TemporaryDirectory() as name:
        for count in counts:
            data = write_scans(Path(name) / f"scans-{count}", count)
            run = Path(name) / f"run-{count}"
            cost = duoseg(
                *("train", data, "--out", run, "--method", "dtml", "--steps", 10),
                *("--threads", 1, "--device", "cpu", "--quiet"),
            )
            peaks[count] = cost.peak_mib
    print(f"{made_with()}\n\n| scans | peak memory (MiB) |\n| ---: | ---: |")
    for count, peak in peaks.items():
        print(f"| {count} | {peak:.0f} |")
    growth = peaks[counts[-1]] / peaks[counts[0]] - 1
    print(f"\ngrowth from {counts[0]} to {counts[-1]} scans: {growth:+.1%} (limit {LIMIT:.0%})")
    sys.exit(growth >= LIMIT)


def write_scans(folder: Path, count: int) -> Path:
    """A data set of one phantom under ``count`` different noises: memory does not care that they look alike."""
    image, label, affine = make_phantom(0, shape=SHAPE)
    random = np.random.default_rng(0)
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
    for index in range(count):
        noisy = (image[0] + random.integers(0, 50, image[0].shape)).astype(np.int16)
        nib.save(nib.Nifti1Image(noisy, affine), folder / "imagesTr" / f"case{index:03d}_0000.nii.gz")
        if index < LABELLED:
            nib.save(nib.Nifti1Image(label, affine), folder / "labelsTr" / f"case{index:03d}.nii.gz")
    description = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


if __name__ == "__main__":
    main()
