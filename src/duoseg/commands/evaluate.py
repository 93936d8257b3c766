"""``duoseg evaluate``: scores of masks against references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from duoseg.commands.predicting.manifest import PREDICTIONS, Entry, find_predictions
from duoseg.commands.replacing import require_replaceable_json, require_replaceable_text
from duoseg.commands.runs import labelled_scans_of
from duoseg.errors import InputError
from duoseg.files import StrPath
from duoseg.progress import Progress, counted
from duoseg.scans.cases import Problem
from duoseg.scans.description import require_classes
from duoseg.scans.texts import count_text, some_text
from duoseg.scores import evaluate as scoring
from duoseg.scores.output import write_csv, write_json
from duoseg.scores.pairing import description_beside, find_names, pair_masks
from duoseg.scores.policy import TOLERANCE_MM
from duoseg.scores.results import Scores


def evaluate(
    prediction: StrPath,
    reference: StrPath,
    *,
    json: StrPath | None = None,
    csv: StrPath | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    dataset: StrPath | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Scores:
    """Score a mask against its reference, or a folder of masks against a folder of references.

    Args:
        prediction: a mask file, or a folder of them.
        reference: the true mask, or a folder of them.
        json: write all scores here.
        csv: write one row per case and class here.
        tolerance_mm: of the normalised surface distance.
        dataset: a ``dataset.json`` that names the classes; by default the one beside the references.
        threads: at most so many processes share the cases. With more than 1 a script must keep what it does behind
            ``if __name__ == "__main__":``, as for Python's `multiprocessing`.
        progress: called with what is being done, how much of it is done and how much there is.

    Raises:
        InputError: files are missing, cannot be read, or lie on different grids; or the scores would take the place of
            one of them.
    """
    outputs = [Path(path) for path in (json, csv) if path is not None]
    if outputs:
        _require_apart(outputs, Path(prediction), Path(reference), Path(dataset) if dataset else None)
    if json is not None:
        require_replaceable_json(Path(json), what="scores", keys={"cases", "policy"})
    if csv is not None:
        require_replaceable_text(Path(csv), what="scores", begins="case,label,")
    masks = Path(prediction)
    entries, unreadable = find_predictions(masks)
    _require_same_classes(masks, entries, Path(reference), Path(dataset) if dataset else None)
    scores = scoring.evaluate(
        masks,
        Path(reference),
        dataset_json=Path(dataset) if dataset else None,
        tolerance_mm=tolerance_mm,
        threads=threads,
        progress=counted(progress, "evaluate"),
    )
    scores = replace(scores, problems=(*scores.problems, *unreadable, *_trained_on(masks, entries, scores)))
    if json is not None:
        write_json(scores, Path(json))
    if csv is not None:
        write_csv(scores, Path(csv))
    return scores


def _require_same_classes(
    masks: Path, entries: Mapping[str, Entry], reference: Path, dataset_json: Path | None
) -> None:
    """Refuse masks whose values were predicted as other classes than the references declare; some may be left out."""
    declared = find_names(reference, dataset_json).classes if entries else {}
    values = {*declared.values()}
    for entry in entries.values():
        predicted = entry.get("classes", {})
        shared = [(name, value) for name, value in predicted.items() if name in declared or value in values]
        if any(declared.get(name) != value for name, value in shared):
            require_classes(declared, predicted, reference, str(masks / PREDICTIONS))


def _trained_on(masks: Path, entries: Mapping[str, Entry], scores: Scores) -> Iterator[Problem]:
    """Yield that scored scans were trained on, by their names: such scores tell nothing of other scans."""
    used = labelled_scans_of(run for entry in entries.values() for run in entry.get("runs", ()))
    seen = [one.case for one in scores.cases if any(one.case in used[run] for run in _runs(entries.get(one.case)))]
    if seen:
        yield Problem(
            "warning",
            masks,
            f"{len(seen)} of {count_text(len(scores.cases), 'scored scan')} have the names of scans that were trained "
            f"on with their annotations: {some_text(seen)}",
            "if these are the same, their scores tell nothing of others: score others, or let `duoseg compare --folds` "
            "or `duoseg calibrate` score these in turn",
        )


def _runs(entry: Entry | None) -> list[str]:
    return [] if entry is None else [str(run) for run in entry.get("runs", ())]


def _require_apart(outputs: Sequence[Path], prediction: Path, reference: Path, dataset_json: Path | None) -> None:
    """Refuse to write scores over what they are made of, or over each other."""
    pairs, _ = pair_masks(prediction, reference)
    inputs = [file for pair in pairs for file in (pair.prediction, pair.reference) if file is not None]
    inputs += [file for file in (reference, description_beside(reference), dataset_json) if file is not None]
    taken = {file.resolve() for file in inputs}
    for path in outputs:
        if path.resolve() in taken:
            raise InputError(f"{path}: is read to make the scores, or is to hold others: write them elsewhere.")
        taken.add(path.resolve())
