"""``duoseg report``: one page about a run or a study."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from duoseg.commands.comparing.pictured import study_pictures
from duoseg.commands.evaluate import evaluate
from duoseg.commands.picturing import read_picture, scored_pictures
from duoseg.commands.predicting.calibrated import CALIBRATION, CROSSED, HELD, MASKS, crossed_scores, weights_of
from duoseg.commands.predicting.manifest import PREDICTIONS, read_finished
from duoseg.commands.predicting.outputs import layers_of
from duoseg.commands.preparing import looks_at_unlabelled
from duoseg.commands.replacing import require_replaceable_text
from duoseg.commands.runs import CASES, ENVIRONMENT, ORIGIN, PLAN, WEIGHTS, load_plan, require_file
from duoseg.config import CONFIG, load_config
from duoseg.errors import InputError
from duoseg.files import StrPath, read_json
from duoseg.methods.registry import find_method, source_of
from duoseg.prediction.judgement import Judgement
from duoseg.progress import Progress
from duoseg.reporting.page import write_report
from duoseg.reporting.predictions_page import PredictedCase, chosen, write_predictions_page
from duoseg.reporting.records import RunSummary
from duoseg.reporting.study_page import write_study_page
from duoseg.scans.dataset import load_dataset
from duoseg.scans.inputs import is_table
from duoseg.scans.texts import count_text
from duoseg.scores.output import read_scores, to_json
from duoseg.scores.results import Scores
from duoseg.study.folds import person_texts
from duoseg.study.reading import STUDY
from duoseg.training.log import read_log

REPORT = "report.html"

logger = logging.getLogger("duoseg")


def report(
    run: StrPath,
    *,
    out: StrPath | None = None,
    reference: StrPath | None = None,
    scores: StrPath | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write the page of a run, of a folder of predictions, or of a study.

    That of a run shows losses, plan with reasons, settings and environment; that of predictions every scan and where to
    look first, or with the true masks of the scans their scores and all about the run; that of a study who is better.

    Args:
        run: run folder, folder of predictions (it has a ``predictions.json``), or study folder (``study.json``).
        out: the page; ``report.html`` in that folder where absent.
        reference: of predictions: the true masks to score them with, a folder or a table.
        scores: their scores, where `duoseg.evaluate` has already written them as JSON.
        threads: at most so many processes share the scoring; see `duoseg.evaluate`.
        progress: called with what is being done, how much of it is done and how much there is.

    Raises:
        InputError: the folder holds none of them, or what it holds is damaged; masks cannot be scored, or the run that
            made them is not where it was.
    """
    folder = Path(run)
    page = Path(out) if out else folder / REPORT
    require_replaceable_text(page, what="page", begins="<!DOCTYPE html>", holds="default-src 'none'")
    if scores is not None and reference is None:
        raise InputError("--scores: give the true masks by --reference, too; their outlines are on the page.")
    if reference is not None:
        known = None if scores is None else read_scores(Path(scores))
        return _write_scored(folder, page, Path(reference), known, threads, progress)
    if (folder / STUDY).is_file():
        write_study_page(folder, page, pictures=study_pictures(folder))
        return page
    if (folder / PREDICTIONS).is_file():
        return _write_predictions(folder, page)
    return write_run_page(folder, page)


def _write_scored(
    folder: Path, page: Path, reference: Path, scores: Scores | None, threads: int, progress: Progress | None
) -> Path:
    """Write the page of the run that made some masks, with the scores of every scan on it."""
    entries = read_finished(folder) if (folder / PREDICTIONS).is_file() else {}
    made_by = {repr((entry["runs"], entry["weights"], entry["settings"])): entry for entry in entries.values()}
    if len(made_by) != 1:
        what = "masks of several runs or settings" if made_by else "no predictions"
        raise InputError(f"{folder}: holds {what}; --reference scores a folder that one `duoseg predict` wrote.")
    (made,) = made_by.values()
    runs = made["runs"]
    if not (Path(runs[0]) / CONFIG).is_file():
        raise InputError(f"{runs[0]}: is not there, though it made the masks in {folder}. Bring it back.")
    _require_same(Path(runs[0]), made["weights"][0])
    scores = scores or evaluate(folder, reference, threads=threads, progress=progress)
    persons = person_texts(load_dataset(reference).test) if is_table(reference) else {}
    notes = [f"The masks are the mean of {count_text(len(runs), 'run')}; losses and plan are those of the first."]
    return write_report(
        page,
        title=f"Scores of {folder.resolve().name}",
        runs=[summarise_run(Path(runs[0]), scores=to_json(scores), persons=persons)],
        pictures=scored_pictures(scores, folder, reference),
        notes=notes if len(runs) > 1 else [],
    )


def _write_predictions(folder: Path, page: Path) -> Path:
    entries = read_finished(folder)
    if not entries:
        raise InputError(f"{folder / PREDICTIONS}: names no mask; predict some scans into that folder first.")
    scans = {
        case: PredictedCase(
            case=case,
            volumes_ml=entry["volume_ml"],
            judgement=Judgement.from_json(entry),
            notes=entry.get("notes", ()),
            made_by={"runs": entry["runs"], "weights (SHA-256)": entry["weights"], **entry["settings"]},
        )
        for case, entry in entries.items()
    }
    pictures = []
    shown = chosen(list(scans.values()))
    maps = layers_of(folder, [entries[scan.case] for scan in shown.values()])
    for label, scan in shown.items():
        try:
            pictures.append((label, read_picture(entries[scan.case], folder, uncertainty=maps[scan.case])))
        except InputError as fault:
            logger.warning("%s is not shown: %s", scan.case, fault)
    makers = dict.fromkeys(
        (Path(run), weights)
        for entry in entries.values()
        for run, weights in zip(entry["runs"], entry["weights"], strict=True)
    )
    return write_predictions_page(
        page,
        title=f"Predictions in {folder.resolve().name}",
        scans=list(scans.values()),
        pictures=pictures,
        runs=_found(makers),
    )


def _require_same(run: Path, weights: str) -> None:
    require_file(run, WEIGHTS)
    if weights_of([run]) != [weights]:
        raise InputError(f"{run}: has other weights now than when it made the masks; predict them anew.")


def _found(makers: Iterable[tuple[Path, str]]) -> list[RunSummary]:
    """Those of the runs that are as they were; runs of one method are told apart by their folders."""
    found: dict[Path, RunSummary] = {}
    for run, weights in makers:
        try:
            summary = summarise_run(run)
            _require_same(run, weights)
            found[run] = summary
        except InputError as fault:
            logger.warning("how the masks were made is not shown: %s", fault)
    methods = Counter(summary.method for summary in found.values())
    folders = Counter(run.resolve().name for run in found)
    for run, summary in found.items():
        if methods[summary.method] > 1:
            place = run.resolve().name
            found[run] = replace(summary, name=f"{summary.name} ({place if folders[place] == 1 else run})")
    return list(found.values())


def write_run_page(folder: Path, page: Path, *, note: str = "", refresh_seconds: int | None = None) -> Path:
    """Write the page of a run, finished or not, and return its path.

    Args:
        folder: run folder.
        page: the file.
        note: a further paragraph for the summary.
        refresh_seconds: of a page that is written again and again: how often a browser is to load it anew.
    """
    notes, pictures, persons = [note] if note else [], [], dict[str, str]()
    scores: Scores | None = None
    try:
        scores = crossed_scores(folder)
    except InputError as fault:
        logger.warning("the scores of the annotated scans are not shown: %s", fault)
    if scores is not None:
        steps = read_json(folder / CALIBRATION)["steps"]
        notes.append(
            f"Scored are the {count_text(len(scores.cases), 'annotated scan')}, each predicted by a model that had not "
            f"seen it (duoseg calibrate). Those models had fewer annotated scans than this run, and {steps} steps."
        )
        try:
            persons = person_texts(load_dataset(folder / CROSSED / HELD).test)
            pictures = scored_pictures(scores, folder / CROSSED / MASKS, folder / CROSSED / HELD)
        except InputError as fault:
            logger.warning("the annotated scans are not shown: %s", fault)
    return write_report(
        page,
        title=f"Run {folder.resolve().name}",
        runs=[summarise_run(folder, scores=None if scores is None else to_json(scores), persons=persons)],
        pictures=pictures,
        notes=notes,
        refresh_seconds=refresh_seconds,
    )


def summarise_run(
    folder: Path, *, scores: Mapping[str, Any] | None = None, persons: Mapping[str, str] | None = None
) -> RunSummary:
    """A run's folder as the page needs it.

    Args:
        folder: run folder.
        scores: content of a scores file.
        persons: of its cases.
    """
    config = load_config(require_file(folder, CONFIG))
    plan = load_plan(require_file(folder, PLAN))
    cases = read_json(require_file(folder, CASES))
    environment = read_json(require_file(folder, ENVIRONMENT))
    records = read_log(folder)
    method, unlabelled = find_method(config.method), len(cases["unlabelled"])
    return RunSummary(
        name=config.method,
        method=config.method,
        steps=int(records[-1]["step"]) if records else 0,
        seconds=records[-1]["seconds"] if records else 0.0,
        records=records,
        scores=scores,
        persons=persons or {},
        plan=plan.model_dump(mode="json"),
        environment=environment,
        source=source_of(config.method),
        labelled_terms=method.labelled_terms,
        apart_terms=method.apart_terms,
        settings={
            "labelled scans": len(cases["labelled"]),
            "unlabelled scans": unlabelled if looks_at_unlabelled(method) else f"{unlabelled}, none of them used",
            "seed": config.training.seed,
            **_origin(folder),
            **config.methods.get(config.method, {}),
        },
    )


def _origin(folder: Path) -> dict[str, str]:
    """Of a run that began with another's weights, which those were, and how many steps were in them."""
    if not (folder / ORIGIN).is_file():
        return {}
    origin = read_json(folder / ORIGIN)
    return {"begun with the weights of": f"{origin['from']} ({origin['steps']} steps)"}
