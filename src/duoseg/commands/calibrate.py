"""``duoseg calibrate``: how far a run's masks may be trusted, learnt from its own annotated scans."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from duoseg.commands.comparing.frozen import write_table
from duoseg.commands.comparing.places import TRAINING
from duoseg.commands.evaluate import evaluate
from duoseg.commands.looking import look_at
from duoseg.commands.predict import predict
from duoseg.commands.predicting.calibrated import (
    CALIBRATION,
    CROSSED,
    FEWEST,
    HELD,
    MASKS,
    SCORES,
    save_calibration,
    weights_of,
)
from duoseg.commands.predicting.manifest import Manifest, holds_predictions, read_finished
from duoseg.commands.predicting.outputs import absolute
from duoseg.commands.report import REPORT, write_run_page
from duoseg.commands.runs import (
    CASES,
    PLAN,
    load_model,
    load_plan,
    require_file,
    require_plan_of,
    steps_before,
    write_json,
)
from duoseg.commands.train import train
from duoseg.config import CONFIG, Config, load_config
from duoseg.errors import InputError
from duoseg.files import CACHE, StrPath, held, read_json, require_writable
from duoseg.planning.prepare import Prepared
from duoseg.prediction.calibration import Calibration, Evidence
from duoseg.prediction.result import Prediction
from duoseg.prediction.typical import Impression, Typical, impression_of
from duoseg.progress import Progress, named
from duoseg.scans.cases import Case
from duoseg.scans.dataset import Dataset, load_dataset
from duoseg.scans.texts import some_text
from duoseg.scores.results import Scores
from duoseg.study.folds import Part, divide, person_texts
from duoseg.training.checkpoint import WEIGHTS
from duoseg.training.devices import DeviceName, use_threads
from duoseg.training.ranks import find_launch

FOLDS = 4
SHARE_OF_STEPS = 0.5
"""Of the run's steps, that the models of the folds take."""
MOST_TYPICAL = 300
"""Training scans that others are compared with; of more, all annotated ones and evenly chosen others."""
KEY = "fold.json"
"""In a fold's folder: what its model is made from."""
LOCK = ".calibration.lock"


@dataclass(frozen=True)
class Calibrated:
    """A calibrated run.

    Attributes:
        folder: of the run.
        calibration: what its annotated scans told.
        typical: what its training scans are like.
        scores: of those scans, each predicted by a model that had not seen it.
        report: the run's page, which shows them.
    """

    folder: Path
    calibration: Calibration
    typical: Typical
    scores: Scores
    report: Path


def calibrate(
    run: StrPath,
    data: StrPath,
    *,
    folds: int = FOLDS,
    steps: int | None = None,
    splits: StrPath | None = None,
    cache: StrPath | None = None,
    device: DeviceName = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Calibrated:
    """Find out how far the masks of a run may be trusted, by cross-prediction among its annotated scans.

    The annotated scans are dealt into folds by person. For each fold a model is trained like the run's, without that
    fold's scans, and predicts them. From how far its students agree and what the true Dice is, `duoseg.predict` with
    ``uncertainty`` then tells which Dice to expect of any mask, and how sure that is. The training scans are looked at,
    too, so that a scan unlike any of them is noticed. Started again, it goes on where it stopped.

    Args:
        run: a finished run's folder; ``calibration.json`` is written into it.
        data: the data set that it was trained on.
        folds: how many models are trained; as many as there are annotated persons where those are fewer.
        steps: of each; half of the run's where absent, with those of the run that it went on from.
        splits: a file to take instead of the data set's ``splits.json``.
        cache: where prepared scans lie; by default a hidden folder in the data set's.
        device: where to compute.
        threads: CPU threads.
        progress: called with what is being done, how much of it is done and how much there is.

    Raises:
        InputError: the run is not finished, its scans are no longer in the data set, it has one annotated person,
            nothing is found in any other's scans, another process calibrates it, or several were started together.
    """
    run = Path(run)
    use_threads(threads)
    if find_launch().count > 1:
        raise InputError("duoseg calibrate trains several models one after the other: start it once, without torchrun.")
    require_file(run, WEIGHTS)
    require_writable(run / CALIBRATION)
    # another call with other --folds or --steps would remove the folds in which this one trains
    with held(run / LOCK, f"{run}: another process is calibrating this run; wait for its end."):
        plan, config = load_plan(require_file(run, PLAN)), load_config(require_file(run, CONFIG))
        dataset = _trained_on(run, load_dataset(data, splits=splits))
        require_plan_of(dataset, plan, run)
        parts = _dealt(dataset, run, folds)
        if steps is None:
            steps = max(1, round(SHARE_OF_STEPS * (plan.steps + steps_before(run))))
        if steps < 1:
            raise InputError(f"--steps: {steps} are too few to train a model of a fold.")
        own = run / CROSSED
        scored = [case for part in parts for case in part.scored]
        _forget_others(own / MASKS, scored)
        write_table(own / HELD, scored, plan, side="test")
        prepared = Path(cache) if cache else dataset.root / CACHE
        models = [own / f"fold{number}" for number in range(1, len(parts) + 1)]
        weights = weights_of([run])[0]
        for fold, part in zip(models, parts, strict=True):
            _begin_or_go_on(
                fold,
                {"weights": weights, "steps": steps, "train": _files(part.train), "held": _files(part.scored)},
            )
            write_table(fold / TRAINING, part.train, plan, side="train")
            write_table(fold / HELD, part.scored, plan, side="test")
            _train(fold, run / PLAN, config, steps, prepared, device, progress)
            predict(
                fold / "run",
                fold / HELD,
                own / MASKS,
                uncertainty=True,
                resume=True,
                format="nii.gz",  # of any scan: a DICOM series that no SEG can be made of is calibrated, too
                device=device,
                progress=named(progress, fold.name),
            )
        scores = evaluate(own / MASKS, own / HELD, json=own / SCORES)
        evidence = _evidence(scores, own / MASKS, scored)
        if len({one.person for one in evidence}) < FEWEST:
            for fold in models:
                shutil.rmtree(fold)  # so that they are trained otherwise next time
            raise InputError(
                f"{run}: the models of the folds found something in {len(evidence)} of {len(scored)} annotated scans, "
                "which tells nothing of other masks; train the run for longer, give more --steps, or annotate more."
            )
        calibration = Calibration(evidence)
        model = load_model(run, device=device)
        impressions = look_at(_compared(dataset.train), model, _impression, progress, agreement=True)
        seen = [case for case in dataset.train if case.name in impressions]
        typical = Typical.of(
            [impressions[case.name] for case in seen],
            [case.label is not None for case in seen],
            [case.person for case in seen],
        )
        made = {"folds": len(parts), "steps": steps}
        save_calibration(run, calibration, typical, weights=weights, settings=model.settings, made=made)
        for fold in models:
            shutil.rmtree(fold)  # what they told is kept, and they are as large as the run
        return Calibrated(run, calibration, typical, scores, write_run_page(run, run / REPORT))


def _trained_on(run: Path, dataset: Dataset) -> Dataset:
    """The data set's training scans as the run had them: with the labels that it used, and no others."""
    used = read_json(require_file(run, CASES))
    there = {case.name: case for case in dataset.train}
    labelled, unlabelled = used["labelled"], used["unlabelled"]
    missing = [name for name in [*labelled, *unlabelled] if name not in there]
    missing += [name for name in labelled if name in there and there[name].label is None]
    if missing:
        raise InputError(
            f"{dataset.place}: {some_text(missing)}, which {run} was trained on, "
            f"{'is' if len(missing) == 1 else 'are'} not there, or not annotated; give the data set that it was "
            "trained on."
        )
    cases = (*(there[name] for name in labelled), *(there[name].without_label() for name in unlabelled))
    return replace(dataset, train=cases, holdout=())


def _dealt(dataset: Dataset, run: Path, folds: int) -> tuple[Part, ...]:
    persons = len({case.person for case in dataset.train if case.label is not None})
    if persons < 2:
        raise InputError(
            f"{run}: was trained on the annotated scans of one person; calibration needs two, to leave one out."
        )
    return divide(dataset, folds=min(folds, persons))


def _forget_others(masks: Path, scored: Sequence[Case]) -> None:
    """Remove an earlier calibration's masks where they are of other scans, or of the same ones in another place."""
    images = {case.name: absolute(case.images) for case in scored}
    if not holds_predictions(masks):
        return
    with Manifest(masks) as manifest:
        others = any(entry["images"] != images.get(case) for case, entry in manifest.entries.items())
    if others:
        shutil.rmtree(masks)


def _files(cases: Sequence[Case]) -> dict[str, list[str]]:
    return {case.name: absolute([*case.images, *([] if case.label is None else [case.label])]) for case in cases}


def _begin_or_go_on(fold: Path, key: dict[str, Any]) -> None:
    """Remove what an interrupted call has left of a fold that was another one."""
    if fold.exists() and not ((fold / KEY).is_file() and read_json(fold / KEY) == key):
        shutil.rmtree(fold)
    write_json(fold / KEY, key)


def _train(
    fold: Path, plan: Path, config: Config, steps: int, cache: Path, device: DeviceName, progress: Progress | None
) -> None:
    """Train a fold's model, or go on with it."""
    train(
        fold / TRAINING,
        fold / "run",
        config=config.model_copy(update={"labelled": None, "steps": steps}),
        plan=plan,
        cache=cache,
        resume=(fold / "run" / CONFIG).is_file(),
        device=device,
        progress=named(progress, fold.name),
    )


def _evidence(scores: Scores, masks: Path, scored: Sequence[Case]) -> tuple[Evidence, ...]:
    """What the scans tell in which something was found."""
    entries, persons = read_finished(masks), person_texts(scored)
    return tuple(
        Evidence(one.case, persons[one.case], float(entries[one.case]["trust"]), one.dice_of_present)
        for one in scores.cases
        if one.dice_of_present is not None and any(entries[one.case]["volume_ml"].values())
    )


def _compared(cases: Sequence[Case]) -> list[Case]:
    """All annotated scans, so that each is known again, and of the others as many as may be compared with."""
    raw = [case for case in cases if case.label is None]
    room = max(0, MOST_TYPICAL - (len(cases) - len(raw)))
    kept = {raw[place].name for place in np.linspace(0, len(raw) - 1, min(room, len(raw))).round().astype(int)}
    return [case for case in cases if case.label is not None or case.name in kept]


def _impression(_: Case, prepared: Prepared, prediction: Prediction, features: np.ndarray) -> Impression:
    return impression_of(prepared, prediction.mask, features)
