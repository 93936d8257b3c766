"""Two full runs on odd scans, through the command line alone: check, plan, train, predict, evaluate.

    python benchmarks/odd_scans.py [--only thick|dicom] [--steps 1200] [--out DIR]

`thick`: 3 classes, 2 channels, voxels of 1 x 1 x 8 mm, oblique, 5 labelled of 20. `dicom`: a table of DICOM series with
NIfTI labels, whose axes run the other way as converters leave them, 5 labelled of 20; masks as DICOM SEG, read back by
highdicom. Fails where a mean Dice on the test scans is under 0.7, or a SEG lies elsewhere than its series.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
from _common import duoseg, made_with

from duoseg.scans.formats import read_grid
from duoseg.scans.phantom_series import write_phantom_series
from duoseg.scans.phantoms import make_phantom, write_phantom_dataset

LIMIT = 0.7
SUBJECTS, LABELLED, TEST = 20, 5, 6


def main() -> None:
    """Run both, and print their scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("thick", "dicom"))
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--method", default="duo")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    runs = {"thick": thick, "dicom": dicom}
    dice = {}
    with tempfile.TemporaryDirectory() as name:
        out = options.out or Path(name)
        for key in [options.only] if options.only else runs:
            dice[key] = runs[key](out / key, options.method, options.steps)
    print(f"{made_with()}, {options.method}, {options.steps} steps, seed 0, one thread\n")
    print("| run | class | Dice |\n| --- | --- | ---: |")
    for key, classes in dice.items():
        for label, value in classes.items():
            print(f"| {key} | {label} | {value:.3f} |")
    sys.exit(any(classes["all"] < LIMIT for classes in dice.values()))


def thick(out: Path, method: str, steps: int) -> dict[str, float]:
    """Two channels of thick oblique slices in several axis orders."""
    data = write_phantom_dataset(
        out / "data",
        subjects=SUBJECTS,
        labelled=LABELLED,
        test=TEST,
        size=(68, 68, 8),
        spacing=(1.0, 1.0, 8.0),
        classes=3,
        channels=2,
    )
    train_and_predict(data, out, method, steps, [data / "imagesTs"])
    return scores(out / "masks", data / "labelsTs", out)


def dicom(out: Path, method: str, steps: int) -> dict[str, float]:
    """A table of DICOM series; masks as DICOM SEG."""
    table, references, series = write_table(out / "archive")
    train_and_predict(table, out, method, steps, series, "--format", "dicom-seg")
    for folder in series:
        require_on_grid(out / "masks" / f"{folder.name}.dcm", folder)
    return scores(out / "masks", references, out)


def write_table(folder: Path) -> tuple[Path, Path, list[Path]]:
    """Write the series, their labels and the table; return table, folder of test labels, test series."""
    rows, tested = [], []
    for number in range(SUBJECTS + TEST):
        image, label, affine = make_phantom((7, number), spacing=(1.2, 1.2, 2.0))
        test = number >= SUBJECTS
        series = folder / "pacs" / f"patient{number:02d}"
        write_phantom_series(series, image[0], affine, modality="MR")
        path = folder / ("test-labels" if test else "labels") / f"patient{number:02d}.nii.gz"
        if test or number < LABELLED:
            path.parent.mkdir(parents=True, exist_ok=True)
            turned = nib.Nifti1Image(label, affine).as_reoriented(np.array([[0, -1], [1, -1], [2, 1]]))
            nib.save(turned, path)
        rows.append(
            {
                "image": str(series.resolve()),
                "label": str(path.relative_to(folder)) if path.exists() else "",
                "split": "test" if test else "train",
                "subject": f"patient{number:02d}",
            }
        )
        tested += [series] if test else []
    with (folder / "scans.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    names = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "atrium": 1}}
    for place in (folder, folder / "test-labels"):
        (place / "dataset.json").write_text(json.dumps(names))
    return folder / "scans.csv", folder / "test-labels", tested


def train_and_predict(data: Path, out: Path, method: str, steps: int, inputs: list[Path], *options: str) -> None:
    """Check, train and predict by the command line."""
    fixed = ("--device", "cpu", "--threads", 1, "--quiet")
    duoseg("check", data, "--quiet")
    duoseg("plan", data, "--steps", steps, "--out", out / "plan.json", "--quiet")
    duoseg("train", data, "--out", out / "run", "--method", method, "--plan", out / "plan.json", *fixed)
    duoseg("predict", out / "run", *inputs, "--out", out / "masks", *options, *fixed)


def scores(masks: Path, references: Path, out: Path) -> dict[str, float]:
    """Mean Dice by class, and of all."""
    duoseg("evaluate", masks, references, "--json", out / "scores.json", "--quiet")
    means = json.loads((out / "scores.json").read_text())["mean"]
    return {label: values["dice"] for label, values in means.items()}


def require_on_grid(mask: Path, series: Path) -> None:
    """Refuse a SEG that highdicom does not find on the grid of its series, to 1e-3 mm."""
    volume = highdicom.seg.segread(mask).get_volume(combine_segments=True)
    grid = read_grid(series)
    in_lps = np.array([volume.map_indices_to_reference(np.array([corner])) for corner in corners(volume.spatial_shape)])
    found = np.sort(in_lps.reshape(-1, 3) * (-1, -1, 1), axis=0)
    expected = np.sort(grid.corners(), axis=0)
    apart = np.abs(found - expected).max()
    if apart > 1e-3:
        raise SystemExit(f"{mask}: lies {apart:.3g} mm from {series}")


def corners(shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """The indices of the eight corner voxels."""
    x, y, z = (size - 1 for size in shape)
    return [(i, j, k) for i in (0, x) for j in (0, y) for k in (0, z)]


if __name__ == "__main__":
    main()
