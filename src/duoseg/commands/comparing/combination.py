"""One combination of a study, in a process of its own: ``python -m`` this module, ``REQUEST.json``.

Trains (or goes on), predicts the scored scans, scores them on their own grids, and writes ``result.json`` last.
"""

from __future__ import annotations

import fcntl
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from duoseg.commands.comparing.attempts import Attempts
from duoseg.commands.comparing.children import INTERRUPTED, Event, end_with_parent, tell_by_standard_output
from duoseg.commands.comparing.frozen import require_unchanged
from duoseg.commands.comparing.places import MASKS
from duoseg.commands.evaluate import evaluate
from duoseg.commands.predict import predict
from duoseg.commands.predicting.manifest import holds_predictions
from duoseg.commands.runs import ENVIRONMENT, build_method, load_plan
from duoseg.commands.train import Run, train
from duoseg.config import CONFIG, Config, parse
from duoseg.errors import InputError
from duoseg.files import read_json
from duoseg.scans.dataset import load_dataset
from duoseg.study.grid import Combination
from duoseg.study.records import Cost, EntryRecord, Result, Row, write_result
from duoseg.training.devices import DeviceName, resolve_device

REQUEST = "request.json"
LOCK = ".lock"


class ScoredCase(BaseModel):
    """What the rows of a scored scan repeat."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    case: str
    person: str
    diagonal_mm: float


class Begun(BaseModel):
    """What of a request tells whether another combination may stand beside it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    combination: Combination
    identity: dict[str, Any]


class Request(BaseModel):
    """What a combination is to do; all paths are absolute.

    Attributes:
        data: the training scans as a table.
        out: its run folder.
        plan: the plan file.
        config: its configuration.
        scored_table: the scored scans as a table.
        scored: the scored scans, in the order of the results.
        cache: where prepared scans lie.
        device: where to compute.
        threads: of the CPU.
        combination: which one it is.
        identity: what it is compared by when the study goes on.
    """

    # What another version asks for besides is no reason to stop a study that it has started.
    model_config = ConfigDict(extra="ignore", frozen=True)

    data: Path
    out: Path
    plan: Path
    config: Config
    scored_table: Path
    scored: tuple[ScoredCase, ...]
    cache: Path
    device: DeviceName
    threads: int
    combination: Combination
    identity: dict[str, Any]


def main(path: Path) -> int:
    """Do what a request file says; return the exit status."""
    tell = tell_by_standard_output()
    end_with_parent()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        request = parse(Request, read_json(path), source=str(path))
        with (request.out / LOCK).open("w") as lock:
            # A child of a study that was killed may live for some milliseconds longer than its parent.
            fcntl.flock(lock, fcntl.LOCK_EX)
            compute(request, tell)
    except (InputError, OSError) as fault:
        sys.stderr.write(f"{fault}\n")
        tell({"error": str(fault)})
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def compute(request: Request, tell: Callable[[Event], None]) -> Result:
    """Train, predict, score, and write the result.

    Raises:
        InputError: the data or the request are wrong, or scans have changed since the study was started.
        Interrupted: the training was interrupted, and has saved its state.
    """

    def progress(what: str, done: int, total: int, detail: str = "") -> None:
        tell({"what": what, "done": done, "total": total})

    attempts = Attempts(request.out, on_gpu=resolve_device(request.device) == "cuda")
    begun = (request.out / CONFIG).is_file()
    if not begun:
        _require_same_plan(request)
    run = train(
        request.data,
        request.out,
        # A run that was begun has its own, which have been compared with what is asked for.
        config=None if begun else request.config,
        plan=None if begun else request.plan,
        cache=request.cache,
        resume=begun,
        device=request.device,
        threads=request.threads,
        progress=attempts.noting(progress),
    )
    attempts.note()
    if holds_predictions(request.out / MASKS):
        # Of an attempt that ended before it scored them, perhaps while the scans lay elsewhere.
        shutil.rmtree(request.out / MASKS)
    wall, cpu = time.perf_counter(), time.process_time()
    predict(
        request.out,
        request.scored_table,
        request.out / MASKS,
        format="nii.gz",  # of any scan: a DICOM series that no SEG can be made of is compared, too
        device=request.device,
        threads=request.threads,
        progress=progress,
    )
    cost = _cost(
        request, run, attempts, predict_wall_s=time.perf_counter() - wall, predict_cpu_s=time.process_time() - cpu
    )
    rows = _rows(request, tell)
    require_unchanged(
        request.out, run.split, load_dataset(request.scored_table).test, request.identity["scans"], request.cache
    )
    result = Result(
        combination=request.combination,
        entry=EntryRecord(method=run.config.method, steps=run.plan.steps, settings=request.identity["settings"]),
        config=request.identity,
        environment=read_json(request.out / ENVIRONMENT),
        cost=cost,
        rows=rows,
    )
    write_result(request.out, result)
    return result


def _require_same_plan(request: Request) -> None:
    """Another call, with other settings, may have written its own plan in place of the one that was asked for."""
    asked = {**request.identity["plan"], "steps": None}
    if {**load_plan(request.plan).model_dump(mode="json", exclude={"reasons"}), "steps": None} != asked:
        raise InputError(
            f"{request.plan}: has been replaced by another call of duoseg compare with other settings or scans; give "
            "each its own --out."
        )


def _cost(request: Request, run: Run, attempts: Attempts, *, predict_wall_s: float, predict_cpu_s: float) -> Cost:
    with torch.device("meta"):
        learner = build_method(run.config, run.plan)
    modules = learner.inference_modules().values()
    training = attempts.total
    return Cost(
        train_wall_s=None if training is None else training.wall_s,
        train_cpu_s=None if training is None else training.cpu_s,
        predict_wall_s=predict_wall_s,
        predict_cpu_s=predict_cpu_s,
        peak_mib=None if training is None else training.peak_mib,
        gpu_peak_mib=None if training is None else training.gpu_peak_mib,
        parameters=sum(weight.numel() for weight in learner.parameters() if weight.requires_grad),
        inference_parameters=sum(weight.numel() for module in modules for weight in module.parameters()),
        steps=run.plan.steps,
        resumed=None if training is None else training.resumed,
    )


def _rows(request: Request, tell: Callable[[Event], None]) -> tuple[Row, ...]:
    """The scores of every scored scan and class, on the scans' own grids."""
    description = request.scored_table.with_name("dataset.json")
    scores = evaluate(request.out / MASKS, request.scored_table, dataset=description)
    for problem in scores.problems:
        tell({"warning": str(problem)})
    labels = {case.case: case.labels for case in scores.cases}
    classes = load_plan(request.plan).classes
    return tuple(
        Row.model_validate({**case.model_dump(), "class": name, **labels[case.case][name]})
        for case in request.scored
        for name in classes
    )


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
