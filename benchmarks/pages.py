"""How large the page of a run with 200 scored scans is, and how long writing it takes.

    python benchmarks/pages.py [--scans 200] [--repeats 5]

Phantoms as large as a cardiac MRI are segmented by a small network with `--uncertainty` and scored. Then `duoseg
report` writes the page: every scan in a table, three of them as pictures and, where the viewer is installed, in 3-D.
Fails where the median time is 30 s or the page has 15 MB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

import nibabel as nib
import numpy as np
from _common import duoseg, made_with

from duoseg.scans.formats import read_scan
from duoseg.scans.phantoms import write_phantom_dataset

FINER = 3
"""Times as many voxels along each axis as the usual phantom has."""
SUBJECTS = 8
MOST_BYTES, MOST_SECONDS = 15_000_000, 30.0
SMALL = """
method = "supervised"
steps = 60

[plan]
spacing = [4.0, 4.0, 4.0]
patch = [32, 32, 16]
"""


def main() -> None:
    """Make the scans and the page; print its size and the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = ("data", "scans", "truth", "run", "masks", "page.html")
        data, scans, truth, run, masks, page = (folder / part for part in names)
        write_phantom_dataset(data, subjects=4, labelled=2, test=SUBJECTS)
        write_scans(data, scans, truth, asked.scans)
        (folder / "small.toml").write_text(SMALL)
        duoseg("train", data, "--config", folder / "small.toml", "--out", run)
        duoseg("predict", run, scans, "--out", masks, "--uncertainty")
        scores = folder / "scores.json"
        duoseg("evaluate", masks, truth, "--json", scores)
        costs = [
            duoseg("report", masks, "--reference", truth, "--scores", scores, "--out", page)
            for _ in range(asked.repeats)
        ]
        size = page.stat().st_size
    seconds = median(cost.wall_s for cost in costs)
    print(f"{made_with()}\n")
    print(f"page of {asked.scans} scans of some 168 x 168 x 96 voxels: {size / 1e6:.1f} MB (limit 15)")
    print(
        f"written in {seconds:.1f} s (limit {MOST_SECONDS:.0f}), median of {len(costs)}; "
        f"{median(cost.cpu_s for cost in costs):.1f} s of CPU time, {max(cost.peak_mib for cost in costs):.0f} MiB"
    )
    sys.exit(seconds >= MOST_SECONDS or size >= MOST_BYTES)


def write_scans(data: Path, images: Path, labels: Path, count: int) -> None:
    """So many scans and their true masks: a few phantoms in finer voxels, each under several noises."""
    random = np.random.default_rng(0)
    images.mkdir()
    labels.mkdir()
    sources = sorted((data / "imagesTs").iterdir())
    for index in range(count):
        source = sources[index % len(sources)]
        image, label = read_scan(source), read_scan(data / "labelsTs" / source.name.replace("_0000", ""))
        affine = image.grid.affine @ np.diag([1 / FINER, 1 / FINER, 1 / FINER, 1])
        voxels = _finer(image.voxels)
        noisy = (voxels + random.integers(0, 50, voxels.shape)).astype(np.int16)
        nib.save(nib.Nifti1Image(noisy, affine), images / f"scan{index:03d}_0000.nii.gz")
        nib.save(nib.Nifti1Image(_finer(label.voxels).astype(np.uint8), affine), labels / f"scan{index:03d}.nii.gz")


def _finer(voxels: np.ndarray) -> np.ndarray:
    return voxels.repeat(FINER, axis=0).repeat(FINER, axis=1).repeat(FINER, axis=2)


if __name__ == "__main__":
    main()
