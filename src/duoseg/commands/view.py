"""``duoseg view``: whole scans with their masks, in a browser on this machine."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from duoseg.commands.predicting.calibrated import CROSSED, HELD, MASKS
from duoseg.commands.predicting.manifest import PREDICTIONS, Entry, read_finished
from duoseg.commands.predicting.outputs import layers_of
from duoseg.errors import InputError
from duoseg.files import StrPath
from duoseg.pictures.planes import greys, window_of
from duoseg.planning.orient import canonical_spacing, to_canonical
from duoseg.reporting.viewing import ViewedScan, ViewServer
from duoseg.reporting.volumes import ranked
from duoseg.scans.dataset import load_dataset
from duoseg.scans.formats import exists, read_grid, read_scan
from duoseg.scans.scan import Grid


def view(folder: StrPath, *, port: int = 0) -> ViewServer:
    """Make a server of a viewer of the scans of a folder of predictions; `serve_forever` starts it.

    Args:
        folder: of predictions (it has a ``predictions.json``); of a run of a study, whose ``masks`` are one; or of a
            calibrated run, whose annotated scans are shown as models predicted them that had not seen them.
        port: of 127.0.0.1; any that is free where 0.

    Raises:
        InputError: there are no predictions, or this installation has no viewer.
    """
    crossed = Path(folder) / CROSSED
    places = (Path(folder), Path(folder) / MASKS, crossed / MASKS)
    masks = next((place for place in places if (place / PREDICTIONS).is_file()), None)
    entries = {} if masks is None else read_finished(masks)
    if masks is None or not entries:
        raise InputError(f"{folder}: holds no predictions. Give a folder that `duoseg predict --out` wrote.")
    absent = [image for entry in entries.values() for image in entry["images"][:1] if not exists(Path(image))]
    if absent:
        raise InputError(
            f"{absent[0]}: is not there, though a mask in {masks} was made of it. Masks name their scans as `duoseg "
            "predict` was given them: start in the folder in which it ran, or bring the scan back."
        )
    ordered = sorted(entries.values(), key=lambda entry: (entry.get("trust", 0.0), entry["case"]))
    maps = layers_of(masks, ordered)
    truths: dict[str, Path] = {}
    if masks == crossed / MASKS:
        truths = {case.name: case.label for case in load_dataset(crossed / HELD).test if case.label is not None}
    scans = [_viewed(masks, entry, truths.get(entry["case"]), maps[entry["case"]]) for entry in ordered]
    return ViewServer(f"Predictions in {masks.resolve().name}", scans, port=port)


def _viewed(masks: Path, entry: Entry, truth: Path | None, uncertainty: Path | None) -> ViewedScan:
    image = Path(entry["images"][0])
    volumes = {"image": partial(_grey, image)}
    if truth is not None:
        volumes["truth"] = partial(_layer, truth, image)
    volumes["prediction"] = partial(_layer, masks / entry["mask"], image)
    if uncertainty is not None:
        volumes["uncertainty"] = partial(_layer, uncertainty, image)
    label = f"{entry['case']} (trust {entry['trust']:.2f})" if "trust" in entry else entry["case"]
    return ViewedScan(label, volumes)


def _grey(image: Path) -> bytes:
    """A scan's intensities as 0 to 255."""
    scan = read_scan(image)
    return _nifti(greys(scan.voxels, *window_of(scan.voxels)), scan.grid)


def _layer(file: Path, image: Path) -> bytes:
    """A mask or a map on its scan."""
    grid = read_grid(image)
    placed = read_scan(file).onto(grid)
    if placed is None:
        raise InputError(f"{file}: does not lie on {image}.")
    voxels = placed.voxels
    return _nifti(ranked(voxels) if np.issubdtype(voxels.dtype, np.integer) else voxels.astype(np.float32), grid)


def _nifti(voxels: np.ndarray, grid: Grid) -> bytes:
    """An uncompressed NIfTI file in right-anterior-superior order."""
    affine = np.diag([*canonical_spacing(grid), 1.0])
    return nib.Nifti1Image(to_canonical(voxels, *grid.canonical()), affine).to_bytes()
