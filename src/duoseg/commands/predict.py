"""``duoseg predict``: masks on each scan's own grid."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from duoseg.commands.runs import load, write_json
from duoseg.config import CONFIG
from duoseg.errors import InputError
from duoseg.files import StrPath, read_json
from duoseg.planning.reading import read_images
from duoseg.prediction.model import Model, Prediction
from duoseg.progress import Progress
from duoseg.scans.cases import Case
from duoseg.scans.formats import OutputFormat, map_suffix, mask_suffix, write_like, written_files
from duoseg.scans.inputs import find_inputs
from duoseg.training.devices import DeviceName, use_threads

PREDICTIONS = "predictions.json"
LONGEST_CLASS = 40
"""Letters of a class name in a file name."""


@dataclass(frozen=True)
class PredictedScan:
    """One scan's outcome.

    Attributes:
        case: its name.
        mask: the file written.
        volumes_ml: class name -> volume in millilitres.
        notes: what reading the scan had to assume or change, one sentence each.
    """

    case: str
    mask: Path
    volumes_ml: dict[str, float]
    notes: tuple[str, ...] = ()


class Incomplete(InputError):
    """Some scans could not be predicted.

    Attributes:
        scans: those that could.
    """

    def __init__(self, failures: Sequence[str], scans: Sequence[PredictedScan], *, asked: int) -> None:
        others = ", all others have" if scans else ""
        super().__init__("\n  ".join([f"{len(failures)} of {asked} scans have no mask{others}:", *failures]))
        self.scans = list(scans)


def predict(
    runs: StrPath | Sequence[StrPath],
    inputs: StrPath | Sequence[StrPath],
    out: StrPath,
    *,
    probabilities: bool = False,
    format: OutputFormat = "same",
    mirror: bool | None = None,
    largest_component: bool | None = None,
    device: DeviceName = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[PredictedScan]:
    """Segment scans with a trained run, or with the mean of several.

    Args:
        runs: a run folder, or several.
        inputs: an image file, a DICOM series folder, a folder of either, a CSV table (its test scans), or several.
        out: folder for the masks, called after their cases, and ``predictions.json``.
        probabilities: also write each class's probability as ``probabilities/<case>.<class>.<ending>``.
        format: of the masks: "same" as each scan's (a DICOM series gets a DICOM SEG), "nii.gz", "nrrd" (a 3D Slicer
            segmentation), or "dicom-seg". Probabilities of DICOM scans are NIfTI.
        mirror: average over the flips that training used; the run's own setting where absent.
        largest_component: keep each class's largest connected body; the run's own setting where absent.
        device: where to compute.
        threads: CPU threads.
        progress: called with what is being done, how much of it is done and how much there is.

    Raises:
        InputError: a run cannot be read, or a mask would replace a file that is no earlier prediction of that scan.
        Incomplete: some scans could not be read, or their masks not be written; all others are done.
    """
    out = Path(out)
    runs, inputs = _listed(runs), _listed(inputs)
    use_threads(threads)
    model = load(*runs, device=device)
    changes = {"mirror": mirror, "largest_component": largest_component}
    model.settings = model.settings.model_copy(update={k: v for k, v in changes.items() if v is not None})
    cases = find_inputs([Path(path) for path in inputs], channels=model.plan.channels)
    manifest = _read_manifest(out / PREDICTIONS)
    targets = {case.name: out / f"{case.name}{mask_suffix(case.images[0], format)}" for case in cases}
    _require_own_files(cases, targets, manifest)
    scans: list[PredictedScan] = []
    failures: list[str] = []
    for done, case in enumerate(cases, start=1):
        try:
            images = read_images(case)
            prediction = model.predict(
                images.voxels, images.grid, name=str(case.images[0]), keep_probabilities=probabilities
            )
            volumes = _volumes(prediction, model, images.grid.voxel_volume_ml)
            scan = PredictedScan(case.name, targets[case.name], volumes, images.notes)
            before = manifest.get(case.name)
            with _recorded(manifest, case.name, _entry(case, scan, runs, model), out / PREDICTIONS):
                write_like(scan.mask, prediction.mask, like=case.images[0], segments=model.plan.classes)
            _remove_other_format(out, before, scan.mask)
            if probabilities:
                ending = map_suffix(case.images[0], format)
                _write_probabilities(case, prediction, out / "probabilities", ending, model)
        except InputError as fault:
            failures.append(str(fault))
            continue
        scans.append(scan)
        if progress is not None:
            progress("predict", done, len(cases))
    if failures:
        raise Incomplete(failures, scans, asked=len(cases))
    return scans


@contextmanager
def _recorded(manifest: dict[str, Any], case: str, entry: dict[str, Any], path: Path) -> Iterator[None]:
    """Record a mask before it is written, and take the record back where it cannot be.

    The record comes first: a mask that it does not list would be taken for somebody else's file.
    """
    before = dict(manifest)
    manifest[case] = entry
    write_json(path, {"scans": list(manifest.values())})
    try:
        yield
    except InputError:
        manifest.clear()
        manifest.update(before)
        write_json(path, {"scans": list(manifest.values())})
        raise


def _listed(paths: StrPath | Sequence[StrPath]) -> Sequence[StrPath]:
    return [paths] if isinstance(paths, str | os.PathLike) else paths


def _volumes(prediction: Prediction, model: Model, voxel_ml: float) -> dict[str, float]:
    return {
        name: round(float(np.count_nonzero(prediction.mask == value)) * voxel_ml, 4)
        for name, value in model.plan.classes.items()
    }


def _write_probabilities(case: Case, prediction: Prediction, folder: Path, ending: str, model: Model) -> None:
    safe = [_file_safe(name)[:LONGEST_CLASS] for name in ("background", *model.plan.classes)]
    for index, name in enumerate(safe):
        own = name if safe.count(name) == 1 else f"{index}_{name}"
        write_like(folder / f"{case.name}.{own}{ending}", prediction.class_map(index), like=case.images[0])


def _entry(case: Case, scan: PredictedScan, runs: Sequence[StrPath], model: Model) -> dict[str, Any]:
    """One scan's record in ``predictions.json``."""
    return {
        "case": case.name,
        "images": [str(image) for image in case.images],
        "mask": scan.mask.name,
        "classes": model.plan.classes,
        "volume_ml": scan.volumes_ml,
        "notes": scan.notes,
        "runs": [str(run) for run in runs],
        "settings": model.settings.model_dump(),
    }


def _read_manifest(path: Path) -> dict[str, Any]:
    """The records of scans predicted into this folder before, by case."""
    if not path.is_file():
        return {}
    try:
        return {entry["case"]: entry for entry in read_json(path)["scans"]}
    except (KeyError, TypeError) as fault:
        raise InputError(f"{path}: is no list of predictions: move it away, or choose another --out folder.") from fault


def _require_own_files(cases: Sequence[Case], targets: Mapping[str, Path], manifest: Mapping[str, Any]) -> None:
    """Refuse to replace any file but a mask that an earlier prediction of the same scan wrote here."""
    for case in cases:
        target, entry = targets[case.name], manifest.get(case.name)
        there = [file for file in written_files(target) if file.exists()]
        if there and entry is None:
            raise InputError(
                f"{there[0]}: is already there and was not written by `duoseg predict`: choose another --out folder."
            )
        earlier = [os.path.abspath(image) for image in (entry or {}).get("images", ())]
        if entry is not None and earlier != [os.path.abspath(image) for image in case.images]:
            raise InputError(
                f"{target}: an earlier prediction made {case.name!r} here of another scan ({', '.join(earlier)}); "
                "choose another --out folder."
            )


def _remove_other_format(out: Path, entry: Mapping[str, Any] | None, mask: Path) -> None:
    """Remove the mask that an earlier prediction of the same scan wrote in another format."""
    if entry is not None and entry.get("mask") != mask.name and Path(str(entry.get("mask"))).name == entry.get("mask"):
        for file in set(written_files(out / entry["mask"])) - set(written_files(mask)):
            file.unlink(missing_ok=True)


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
