"""``duoseg predict``: masks on each scan's own grid."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from duoseg.commands.runs import load, write_json
from duoseg.config import CONFIG
from duoseg.errors import InputError
from duoseg.files import StrPath
from duoseg.planning.reading import read_channels
from duoseg.prediction.model import Model, Prediction
from duoseg.progress import Progress
from duoseg.scans.cases import Case
from duoseg.scans.formats import format_suffix, write_like
from duoseg.scans.inputs import find_inputs
from duoseg.training.engine import DeviceName, use_threads

PREDICTIONS = "predictions.json"


@dataclass(frozen=True)
class PredictedScan:
    """One scan's outcome.

    Attributes:
        case: its name.
        mask: the file written.
        volumes_ml: class name -> volume in millilitres.
    """

    case: str
    mask: Path
    volumes_ml: dict[str, float]


def predict(
    runs: StrPath | Sequence[StrPath],
    inputs: StrPath | Sequence[StrPath],
    out: StrPath,
    *,
    probabilities: bool = False,
    mirror: bool | None = None,
    largest_component: bool | None = None,
    device: DeviceName = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[PredictedScan]:
    """Segment scans with a trained run, or with the mean of several.

    Args:
        runs: a run folder, or several.
        inputs: an image file, a folder of them, or several.
        out: folder for ``<case>.nii.gz`` masks and ``predictions.json``.
        probabilities: also write each class's probability as ``probabilities/<case>.<class>.nii.gz``.
        mirror: average over the flips that training used; the run's own setting where absent.
        largest_component: keep each class's largest connected body; the run's own setting where absent.
        device: where to compute.
        threads: CPU threads.
        progress: called with what is being done, how much of it is done and how much there is.

    Raises:
        InputError: a run cannot be read, or a mask would replace a file that is no earlier prediction; or, after all
            other scans are done, some scans could not be read.
    """
    out = Path(out)
    runs, inputs = _listed(runs), _listed(inputs)
    use_threads(threads)
    model = load(*runs, device=device)
    changes = {"mirror": mirror, "largest_component": largest_component}
    model.settings = model.settings.model_copy(update={k: v for k, v in changes.items() if v is not None})
    cases = find_inputs([Path(path) for path in inputs], channels=model.plan.channels)
    manifest = _read_manifest(out / PREDICTIONS)
    _require_own_files(cases, out, manifest)
    scans: list[PredictedScan] = []
    failures: list[str] = []
    for done, case in enumerate(cases, start=1):
        try:
            voxels, grid = read_channels(case)
            prediction = model.predict(voxels, grid, name=str(case.images[0]))
        except InputError as fault:
            failures.append(str(fault))
            continue
        scan = PredictedScan(case.name, _target(case, out), _volumes(prediction, model, grid.voxel_volume_ml))
        # The record first: a mask that it does not list would be taken for somebody else's file.
        manifest[case.name] = _entry(case, scan, runs, model)
        write_json(out / PREDICTIONS, {"scans": list(manifest.values())})
        write_like(scan.mask, prediction.mask, like=case.images[0])
        if probabilities:
            _write_probabilities(case, prediction, out / "probabilities", model)
        scans.append(scan)
        if progress is not None:
            progress("predict", done, len(cases))
    if failures:
        raise InputError(f"{len(failures)} of {len(cases)} scans have no mask, all others have: " + " ".join(failures))
    return scans


def _listed(paths: StrPath | Sequence[StrPath]) -> Sequence[StrPath]:
    return [paths] if isinstance(paths, str | os.PathLike) else paths


def _target(case: Case, out: Path) -> Path:
    return out / f"{case.name}{format_suffix(case.images[0])}"


def _volumes(prediction: Prediction, model: Model, voxel_ml: float) -> dict[str, float]:
    return {
        name: round(float(np.count_nonzero(prediction.mask == value)) * voxel_ml, 4)
        for name, value in model.plan.classes.items()
    }


def _write_probabilities(case: Case, prediction: Prediction, folder: Path, model: Model) -> None:
    source = case.images[0]
    for index, name in enumerate(["background", *model.plan.classes]):
        target = folder / f"{case.name}.{_file_safe(name)}{format_suffix(source)}"
        write_like(target, prediction.class_map(index), like=source)


def _entry(case: Case, scan: PredictedScan, runs: Sequence[StrPath], model: Model) -> dict[str, Any]:
    """One scan's record in ``predictions.json``."""
    return {
        "case": case.name,
        "images": [str(image) for image in case.images],
        "mask": scan.mask.name,
        "classes": model.plan.classes,
        "volume_ml": scan.volumes_ml,
        "runs": [str(run) for run in runs],
        "settings": model.settings.model_dump(),
    }


def _read_manifest(path: Path) -> dict[str, Any]:
    """The records of scans predicted into this folder before, by case."""
    if not path.is_file():
        return {}
    try:
        return {entry["case"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))["scans"]}
    except (ValueError, KeyError, TypeError) as fault:
        raise InputError(f"{path}: is no list of predictions: move it away, or choose another --out folder.") from fault


def _require_own_files(cases: Sequence[Case], out: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse to replace any file but a mask that an earlier prediction wrote here."""
    for case in cases:
        target = _target(case, out)
        if target.exists() and case.name not in manifest:
            raise InputError(
                f"{target}: is already there and was not written by `duoseg predict`: choose another --out folder."
            )


def _file_safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)


def runs_and_inputs(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Tell run folders from images on the command line: a run folder holds a ``config.toml``.

    Raises:
        InputError: there is no run, or no image, among them.
    """
    runs = [path for path in paths if (path / CONFIG).is_file()]
    inputs = [path for path in paths if path not in runs]
    if not runs:
        raise InputError(f"{paths[0]}: is not a run folder. Give one that `duoseg train --out` wrote, then the images.")
    if not inputs:
        raise InputError("There is nothing to predict: give image files, or folders of them, after the run.")
    return runs, inputs
