"""From an image file to a mask file: duoseg against MONAI, equal network, windows and blending.

    python benchmarks/predicting.py [--repeats 5] [--data DATA/hippocampus] [--side 512 --slices 300] [--json FILE]

Both predict the same scans with the same weights, each in a process of its own on one thread, in turns: a CT-like
phantom of 512 x 512 x 300 voxels with 2 classes, and with ``--data`` the first 60 test scans of a data set. Compared
are CPU seconds from the first scan that is read to the last mask that is written, libraries and weights being loaded,
and the peak memory of the whole process. MONAI runs the usual chain of its bundles: load, orient, normalise, resample,
sliding windows, softmax, back to the scan's grid (``Invertd``), argmax, save. Fails where it is not 1.3 times as slow,
needs on the phantom less than twice the memory, or where the Dice of a class between both tools' masks is below 0.8 or
the class is in neither (the two place windows and resample by rules of their own, and the networks are young).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import nibabel as nib
import numpy as np
from _common import duoseg, made_with, python

from duoseg.scans.formats import read_scan

SPEED_LIMIT = 1.3
MEMORY_LIMIT = 2.0
LEAST_DICE = 0.8
"""Of young networks, which a grid a tenth of a voxel elsewhere makes change their mind."""
OWN, PEER = (Path(__file__).with_name(f"_predict_{name}.py") for name in ("duoseg", "monai"))
SPACING = (0.7, 0.7, 1.0)
CLASSES = {"background": 0, "liver": 1, "spleen": 2}
BODY = (
    (20, 0, (0, 0, 0), (0.8, 0.6, 3.0)),
    (400, 0, (0, -0.4, 0), (0.09, 0.09, 3.0)),
    (110, 1, (0.35, 0.05, 0), (0.3, 0.35, 0.5)),
    (130, 2, (-0.45, -0.15, 0.1), (0.15, 0.2, 0.3)),
)
"""Tissue, spine, liver, spleen: Hounsfield units, class, centre and radii in half widths of the scan."""
CONFIG = """
[plan]
spacing = [2.0, 2.0, 2.0]
patch = [64, 64, 48]
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--data", type=Path, help="a data set with test scans, such as hippocampus")
    parser.add_argument("--json", type=Path, help="where to write the figures as well")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, scan = ct_run(folder), folder / "scan" / "phantom.nii.gz"
        scan.parent.mkdir()
        # not here: Linux counts this process's memory as that of those that it starts
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(write_ct, (scan, 7, (options.side, options.side, options.slices), SPACING))
        found["CT phantom"] = measure(run, scan.parent, folder / "ct", options.repeats)
        if options.data:
            run, scans = real_run(folder, options.data)
            found[f"{len(list(scans.iterdir()))} scans of {options.data.name}"] = measure(
                run, scans, folder / "real", options.repeats
            )
    print(f"{made_with()}, one thread, median of {options.repeats}\n")
    print("| | duoseg CPU s | MONAI CPU s | times | duoseg MiB | MONAI MiB | times | least Dice of a class |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, one in found.items():
        cells = [one[key] for key in ("own_s", "peer_s", "speed", "own_mib", "peer_mib", "memory")]
        print(f"| {name} | " + " | ".join(f"{cell:.4g}" for cell in cells) + f" | {one['dice']:.4f} |")
    limits = f"{SPEED_LIMIT} times as fast; a Dice of {LEAST_DICE}; of the phantom 1/{MEMORY_LIMIT:.0f} of the memory"
    print(f"\nlimits: {limits}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    slow = any(one["speed"] < SPEED_LIMIT or one["dice"] < LEAST_DICE for one in found.values())
    sys.exit(slow or found["CT phantom"]["memory"] < MEMORY_LIMIT)


def measure(run: Path, scans: Path, out: Path, repeats: int) -> dict[str, float]:
    """Both tools in turns on a folder of scans; ratios of each turn."""
    own: list[tuple[float, float]] = []
    peer: list[tuple[float, float]] = []
    out.mkdir()
    for _ in range(repeats):
        for script, costs in ((OWN, own), (PEER, peer)):
            seconds = out / "seconds.json"
            whole = python(script, run, scans, out / script.stem, seconds)
            costs.append((json.loads(seconds.read_text()), whole.peak_mib))
    turns = list(zip(own, peer, strict=True))
    return {
        "own_s": median(seconds for seconds, _ in own),
        "peer_s": median(seconds for seconds, _ in peer),
        "speed": median(b / a for (a, _), (b, _) in turns),
        "own_mib": median(mib for _, mib in own),
        "peer_mib": median(mib for _, mib in peer),
        "memory": median(b / a for (_, a), (_, b) in turns),
        "dice": least_dice(out / OWN.stem, out / PEER.stem),
    }


def least_dice(own: Path, peer: Path) -> float:
    """The Dice between two folders of masks, over all scans together, of the class in which they differ most."""
    sizes, common = Counter[int](), Counter[int]()
    classes = json.loads((own / "predictions.json").read_text())["scans"][0]["classes"]
    for path in sorted(own.glob("*.nii.gz")):
        first, second = (read_scan(folder / path.name).voxels for folder in (own, peer))
        for value in classes.values():
            sizes[value] += int(np.count_nonzero(first == value)) + int(np.count_nonzero(second == value))
            common[value] += int(np.count_nonzero((first == value) & (second == value)))
    return min(2 * common[value] / sizes[value] if sizes[value] else 0.0 for value in classes.values())


def ct_run(folder: Path) -> Path:
    """A run on small CT-like phantoms: enough steps for classes that are somewhere."""
    data = folder / "ct-data"
    for kind in ("imagesTr", "labelsTr"):
        (data / kind).mkdir(parents=True)
    for index in range(4):
        write_ct(
            data / "imagesTr" / f"ct{index}_0000.nii.gz",
            index,
            (160, 160, 100),
            (2.24, 2.24, 3.0),
            label=data / "labelsTr" / f"ct{index}.nii.gz",
        )
    described: dict[str, Any] = {"channel_names": {"0": "CT"}, "labels": CLASSES, "file_ending": ".nii.gz"}
    (data / "dataset.json").write_text(json.dumps(described))
    return train(folder / "ct-run", data, CONFIG)


def real_run(folder: Path, data: Path) -> tuple[Path, Path]:
    """A run on a data set, and a folder of links to its first 60 test scans."""
    scans = folder / "scans"
    scans.mkdir()
    for path in sorted((data / "imagesTs").iterdir())[:60]:
        (scans / path.name.replace("_0000", "")).symlink_to(path.resolve())
    return train(folder / "real-run", data, ""), scans


def train(run: Path, data: Path, config: str) -> Path:
    """The supervised method for 60 steps."""
    settings = run.with_suffix(".toml")
    settings.write_text(config)
    duoseg(
        *("train", data, "--out", run, "--config", settings, "--method", "supervised", "--steps", 60),
        *("--threads", 2, "--device", "cpu", "--quiet"),
    )
    return run


def write_ct(
    path: Path,
    seed: int,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    *,
    label: Path | None = None,
) -> None:
    """A body of soft tissue in air, with a spine and two organs, in Hounsfield units with noise; int16."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size, dtype=np.float32) for size in shape), indexing="ij", sparse=True)
    image = np.full(shape, -1000, np.int16)
    classes = np.zeros(shape, np.uint8)
    shift = rng.uniform(-0.04, 0.04, 3).astype(np.float32)

    def ellipsoid(centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
        parts = zip((x, y, z), np.add(centre, shift), radii, strict=True)
        return np.less(sum(((axis - middle) / radius) ** 2 for axis, middle, radius in parts), 1)

    for hounsfield, value, centre, radii in BODY:
        inside = ellipsoid(centre, radii)
        image[inside], classes[inside] = hounsfield, value
    for plane in range(shape[2]):  # one at a time: the noise of all would be 8 times the scan
        image[:, :, plane] += rng.normal(0, 15, shape[:2]).astype(np.int16)
    affine = np.diag([*spacing, 1.0])
    nib.save(nib.Nifti1Image(image, affine), path)
    if label is not None:
        nib.save(nib.Nifti1Image(classes, affine), label)


if __name__ == "__main__":
    main()
