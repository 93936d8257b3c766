"""``duoseg view``: whole scans with their masks, in a browser on this machine."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
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
from duoseg.prediction.judgement import Judgement
from duoseg.reporting.viewing import ViewedScan, ViewServer
from duoseg.reporting.volumes import ranked
from duoseg.scans.dataset import load_dataset
from duoseg.scans.formats import exists, read_grid, read_scan
from duoseg.scans.scan import Grid, Scan
from duoseg.scans.segments import by_name
from duoseg.scans.texts import some_text

logger = logging.getLogger("duoseg")


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
        raise InputError(
            f"{folder}: holds no predictions. Give a folder that `duoseg predict --out` wrote, or a "
            "run that `duoseg calibrate` has given masks of its own annotated scans."
        )
    absent = [entry["images"][0] for entry in entries.values() if not exists(Path(entry["images"][0]))]
    if len(absent) == len(entries):
        raise InputError(
            f"{absent[0]}: is not there, though a mask in {masks} was made of it; nor are the scans of the others. "
            "Bring them back, or predict them where they are now."
        )
    if absent:
        logger.warning("left out, since they are no longer there: %s", some_text(absent))
    ordered = sorted((entry for entry in entries.values() if entry["images"][0] not in absent), key=_rank)
    maps = layers_of(masks, ordered)
    truths: dict[str, Path] = {}
    if masks == crossed / MASKS:
        truths = {case.name: case.label for case in load_dataset(crossed / HELD).test if case.label is not None}
    scans = [_viewed(masks, entry, truths.get(entry["case"]), maps[entry["case"]]) for entry in ordered]
    shades = max(len(_values(entry)) for entry in ordered)
    return ViewServer(f"Predictions in {masks.resolve().name}", scans, shades=shades, port=port)


def _rank(entry: Entry) -> tuple[tuple[bool, float], str]:
    """The least trusted first; those that nothing is known of by name."""
    judgement = Judgement.from_json(entry)
    return (True, 0.0) if judgement is None else judgement.rank, entry["case"]


def _values(entry: Entry) -> list[int]:
    """Of the classes in a mask."""
    return sorted(entry["classes"].values())


def _viewed(masks: Path, entry: Entry, truth: Path | None, uncertainty: Path | None) -> ViewedScan:
    image, values = Path(entry["images"][0]), _values(entry)
    volumes = {"image": partial(_grey, image)}
    if truth is not None:
        volumes["truth"] = partial(_mask, truth, image, values, entry["classes"])
    volumes["prediction"] = partial(_mask, masks / entry["mask"], image, values)
    if uncertainty is not None:
        volumes["uncertainty"] = partial(_map, uncertainty, image)
    judgement = Judgement.from_json(entry)
    said = [] if judgement is None else [f"trust {judgement.trust:.2f}", *(["unlike"] if judgement.unlike else [])]
    return ViewedScan(f"{entry['case']} ({', '.join(said)})" if said else entry["case"], volumes)


def _grey(image: Path) -> bytes:
    """A scan's intensities as 0 to 255."""
    scan = read_scan(image)
    return _nifti(greys(scan.voxels, *window_of(scan.voxels)), scan.grid)


def _mask(file: Path, image: Path, values: Sequence[int], classes: Mapping[str, int] | None = None) -> bytes:
    """A mask on its scan; with the values of ``classes`` where its segments have others."""
    voxels, grid = _placed(by_name(read_scan(file), classes or {}), image)
    return _nifti(ranked(voxels, values), grid)


def _map(file: Path, image: Path) -> bytes:
    """A map on its scan."""
    voxels, grid = _placed(read_scan(file), image)
    return _nifti(voxels.astype(np.float32), grid)


def _placed(layer: Scan, image: Path) -> tuple[np.ndarray, Grid]:
    """A mask or a map on its scan's grid."""
    grid = read_grid(image)
    placed = layer.onto(grid)
    if placed is None:
        raise InputError(f"{layer.source}: does not lie on {image}.")
    return placed.voxels, grid


def _nifti(voxels: np.ndarray, grid: Grid) -> bytes:
    """An uncompressed NIfTI file in right-anterior-superior order."""
    affine = np.diag([*canonical_spacing(grid), 1.0])
    return nib.Nifti1Image(to_canonical(voxels, *grid.canonical()), affine).to_bytes()
