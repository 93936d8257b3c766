"""``duoseg demo``: the whole line on synthetic scans, from a data set to a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from duoseg.commands.check import check
from duoseg.commands.evaluate import evaluate
from duoseg.commands.picturing import scored_pictures
from duoseg.commands.plan import plan
from duoseg.commands.predict import predict
from duoseg.commands.report import REPORT, summarise_run
from duoseg.commands.runs import PLAN
from duoseg.commands.train import train
from duoseg.config import CONFIG, DEFAULT_METHOD
from duoseg.errors import InputError
from duoseg.files import StrPath
from duoseg.progress import Progress, named
from duoseg.reporting.page import write_report
from duoseg.reporting.run_verdict import verdict
from duoseg.scans.phantoms import write_phantom_dataset
from duoseg.scores.output import to_json
from duoseg.scores.results import Scores
from duoseg.training.devices import DeviceName

SUBJECTS, LABELLED, TEST = 24, 4, 6
METHODS = ("supervised", DEFAULT_METHOD)


@dataclass(frozen=True)
class Demo:
    """What the demo ends with.

    Attributes:
        rows: method, mean Dice, mean HD95 in mm (None where no surface was found).
        verdict: the comparison in words.
        report: the page.
    """

    rows: list[tuple[str, float, float | None]]
    verdict: str
    report: Path


def demo(
    out: StrPath,
    *,
    steps: int = 300,
    device: DeviceName = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Demo:
    """Make phantoms, train ``supervised`` and the default method on equal budgets, predict, evaluate, report.

    Args:
        out: folder for everything; the data set is written anew, finished trainings there are not repeated.
        steps: training steps of each method.
        device: where to compute.
        threads: CPU threads.
        progress: called with what is being done, how much of it is done and how much there is.

    Raises:
        InputError: ``out`` holds something else, or a training with other settings.
    """
    out = Path(out)
    if out.exists() and any(out.iterdir()) and not (out / "data" / "dataset.json").is_file():
        raise InputError(f"{out}: is not empty and holds no demo: choose another --out folder.")
    data = out / "data"
    write_phantom_dataset(data, subjects=SUBJECTS, labelled=LABELLED, test=TEST, seed=0)
    if not check(data, progress=progress).ok:
        raise InputError(f"{data}: the phantoms do not pass `duoseg check`.")
    out_plan = out / PLAN
    plan(data, steps=steps, out=out_plan, device=device, progress=progress)
    scored: dict[str, Scores] = {}
    for method in METHODS:
        run, masks = out / "runs" / method, out / "masks" / method
        train(
            data,
            run,
            method=method,
            plan=out_plan,
            resume=(run / CONFIG).is_file(),
            device=device,
            threads=threads,
            progress=named(progress, method),
        )
        predict([run], [data / "imagesTs"], masks, device=device, progress=named(progress, method))
        scored[method] = evaluate(masks, data / "labelsTs", json=out / "scores" / f"{method}.json")
    scores = {method: to_json(one) for method, one in scored.items()}
    runs = [summarise_run(out / "runs" / method, scores=scores[method]) for method in METHODS]
    page = write_report(
        out / REPORT,
        title="duoseg demo",
        runs=runs,
        pictures=scored_pictures(scored[DEFAULT_METHOD], out / "masks" / DEFAULT_METHOD, data / "labelsTs"),
        notes=[
            f"{SUBJECTS} synthetic training subjects, {LABELLED} of them annotated, and {TEST} test subjects; "
            f"both methods had the same network, batch and {steps} steps.",
        ],
    )
    rows = [(m, scores[m]["mean"]["all"]["dice"], scores[m]["mean"]["all"]["hd95_mm"]) for m in METHODS]
    return Demo(rows, " ".join(verdict(runs)), page)
