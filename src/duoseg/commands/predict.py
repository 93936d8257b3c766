"""``duoseg predict``: masks on each scan's own grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from duoseg.commands.predicting.calibrated import judge_of, weights_of
from duoseg.commands.predicting.manifest import Manifest, known_predictions
from duoseg.commands.predicting.outputs import Outputs
from duoseg.commands.predicting.overlap import bytes_to_hold, overlapped
from duoseg.commands.predicting.states import state_of
from duoseg.commands.runs import load_model
from duoseg.config import CONFIG
from duoseg.errors import InputError
from duoseg.files import StrPath, listed
from duoseg.pictures.html import Rows
from duoseg.planning.prepare import Prepared
from duoseg.planning.reading import read_images
from duoseg.prediction.judgement import Judgement
from duoseg.prediction.result import Prediction
from duoseg.progress import Progress
from duoseg.scans.cases import Case
from duoseg.scans.formats import OutputFormat
from duoseg.scans.inputs import Rows as TableRows
from duoseg.scans.inputs import find_inputs
from duoseg.scans.side_by_side import Room
from duoseg.scans.texts import some_text
from duoseg.scans.values import mask_values
from duoseg.training.devices import DeviceName, keep_freed_memory, use_threads
from duoseg.training.memory import naming_want_of_memory
from duoseg.training.places import find_place


@dataclass(frozen=True)
class PredictedScan:
    """One scan's outcome.

    Attributes:
        case: its name.
        mask: the file written.
        volumes_ml: class name -> volume in millilitres.
        judgement: how far the mask may be trusted; None without ``uncertainty``.
        notes: what reading the scan had to assume or change, one sentence each.
    """

    case: str
    mask: Path
    volumes_ml: dict[str, float]
    judgement: Judgement | None = None
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
    uncertainty: bool = False,
    probabilities: bool = False,
    format: OutputFormat = "same",
    mirror: bool | None = None,
    largest_component: bool | None = None,
    resume: bool = False,
    part: tuple[int, int] = (1, 1),
    rows: TableRows = "test",
    device: DeviceName = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Rows[PredictedScan]:
    """Segment scans with a trained run, or with the mean of several.

    Reading a scan, computing, and writing the last one's mask go on at the same time. Processes that ``torchrun`` or
    ``srun`` started together each take their share of the scans.

    Args:
        runs: a run folder, or several.
        inputs: an image file, a DICOM series folder, a folder of either, a CSV table, or several.
        out: folder for the masks, called after their cases, and ``predictions.json``.
        uncertainty: also write, as ``uncertainty/<case>.<ending>``, how probable it is that a voxel's class is wrong,
            and judge how far each mask may be trusted; asks every student, also those that do not predict.
        probabilities: also write each class's probability as ``probabilities/<case>.<class>.<ending>``.
        format: of the masks: "same" as each scan's (a DICOM series gets a DICOM SEG), "nii.gz", "nrrd" (a 3D Slicer
            segmentation), or "dicom-seg". Probabilities of DICOM scans are NIfTI.
        mirror: average over the flips that training used; the run's own setting where absent.
        largest_component: keep each class's largest connected body; the run's own setting where absent.
        resume: leave out scans whose masks these weights and settings (with ``uncertainty`` also this calibration)
            made here, unless the images have changed since.
        rows: of a table: its "test" scans, those that are "raw" (have no label), or "all".
        part: ``(2, 5)`` takes the second of five shares of the scans, for jobs that know nothing of each other.
        device: where to compute.
        threads: CPU threads.
        progress: called with what is being done, how much of it is done and how much there is.

    Returns:
        The scans that were predicted now, in the order of their names.

    Raises:
        InputError: a run cannot be read, there is no such part, or a mask would replace a file that is no earlier
            prediction of that scan.
        Incomplete: some scans could not be read, or their masks not be written; all others are done.
    """
    runs, inputs = listed(runs), listed(inputs)
    if not 1 <= part[0] <= part[1]:
        raise InputError(f"--part: there is no part {part[0]} of {part[1]}; the first of five is 1/5.")
    use_threads(threads)
    keep_freed_memory()
    model = load_model(*runs, device=device)
    changes = {"mirror": mirror, "largest_component": largest_component}
    model.settings = model.settings.model_copy(update={k: v for k, v in changes.items() if v is not None})
    weights = weights_of(runs)
    calibration: str | None = None
    if uncertainty:
        model.judge, calibration = judge_of(runs, model.settings, weights)
    outputs = Outputs(Path(out), runs, model, format, weights, calibration, probabilities, uncertainty)
    cases = find_inputs([Path(path) for path in inputs], channels=model.plan.channels, rows=rows)
    _require_no_masks(cases)
    with Manifest(outputs.out) as manifest:
        own = find_place().share(cases, part=part[0] - 1, parts=part[1])
        for case in own:
            try:
                outputs.require_own(case, manifest.get(case.name))
            except InputError:  # unless another process has written it since
                manifest.renew()
                outputs.require_own(case, manifest.get(case.name))
        left, failures, scans = list[Case](), list[str](), Rows[PredictedScan]()
        for case in own:
            entry = manifest.get(case.name)
            if resume and outputs.finished(case, entry):
                continue
            try:
                outputs.require_untouched(entry, resume=resume)
                left.append(case)
            except InputError as fault:
                if not resume:  # so that nothing has been replaced
                    raise
                failures.append(str(fault))
        done = len(own) - len(left) - len(failures)
        if done and progress is not None:
            progress("predict", done, len(own))
        for outcome in _outcomes(left, outputs, manifest):
            if isinstance(outcome, InputError):
                failures.append(str(outcome))
            else:
                scans.append(outcome)
            if progress is not None:
                progress("predict", done + len(scans) + len(failures), len(own))
    if failures:
        raise Incomplete(failures, scans, asked=len(own) - done)
    return scans


@dataclass(frozen=True)
class _Read:
    """A scan that is ready for the network."""

    prepared: Prepared
    notes: tuple[str, ...]
    state: str


@dataclass(frozen=True)
class _Segmented:
    """A scan whose mask is to be written; the scan itself is no longer needed."""

    prediction: Prediction
    notes: tuple[str, ...]
    state: str


def _outcomes(cases: Sequence[Case], outputs: Outputs, manifest: Manifest) -> Iterator[PredictedScan | InputError]:
    """Read and prepare each scan, segment it, write its mask; yield what came of it."""
    model = outputs.model
    make = model.judged if outputs.uncertainty else model.segment

    def read(case: Case) -> _Read:
        with naming_want_of_memory(case.images[0]):
            state = state_of(case)
            images = read_images(case)
            prepared = model.prepare(images.voxels, images.grid, name=str(case.images[0]))
        values = mask_values(images.voxels[0])
        odd = (f"It holds no other values than {some_text(values)}, as a mask does.",) if values else ()
        return _Read(prepared, (*images.notes, *odd), state)

    def segment(case: Case, scan: _Read) -> _Segmented:
        with naming_want_of_memory(case.images[0]):
            made = make(scan.prepared, keep_probabilities=outputs.probabilities)
            return _Segmented(made, scan.notes, scan.state)

    def write(case: Case, scan: _Segmented) -> PredictedScan:
        volumes = scan.prediction.volumes_ml
        with naming_want_of_memory(case.images[0]):
            mask = outputs.write(case, scan.prediction, volumes, scan.notes, scan.state, manifest)
        return PredictedScan(case.name, mask, volumes, scan.prediction.judgement, scan.notes)

    for _, outcome in overlapped(
        cases, read, segment, write, room=Room(parts=find_place().sharing), size=bytes_to_hold
    ):
        yield outcome


def _require_no_masks(cases: Sequence[Case]) -> None:
    """Refuse masks that an earlier call wrote, as where its folder is given in place of that of the scans."""
    written: dict[Path, set[str]] = {}
    for image in (image for case in cases for image in case.images):
        if image.parent not in written:
            written[image.parent] = {str(entry.get("mask")) for entry in known_predictions(image.parent).values()}
        if image.name in written[image.parent]:
            raise InputError(f"{image}: is a mask that `duoseg predict` wrote, and no scan; give the scans themselves.")


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
