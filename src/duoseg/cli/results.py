"""Commands about results: scores and pages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from duoseg.cli.options import EVERYWHERE, Computing


def evaluate(
    prediction: Annotated[Path, Parameter(help="A mask, or a folder of masks.")],
    reference: Annotated[Path, Parameter(help="The true mask, or a folder of them.")],
    *,
    json: Annotated[Path | None, Parameter(help="Write all scores to this file.")] = None,
    csv: Annotated[Path | None, Parameter(help="Write one row per case and class to this file.")] = None,
    tolerance_mm: Annotated[float, Parameter(help="Tolerance of the normalised surface distance.")] = 1.0,
    dataset: Annotated[Path | None, Parameter(help="A dataset.json that names the classes.")] = None,
    computing: Computing = EVERYWHERE,
) -> None:
    """Score masks: Dice, Jaccard, HD95, ASSD, NSD and volumes. Exits with 1 where a prediction is missing.

    Example: `duoseg evaluate masks scans/labelsTs --json scores.json`
    """
    import duoseg
    from duoseg.console import Console
    from duoseg.scans.limits import processes

    console = Console(quiet=computing.quiet)
    with console.progress() as progress:
        scores = duoseg.evaluate(
            prediction,
            reference,
            json=json,
            csv=csv,
            tolerance_mm=tolerance_mm,
            dataset=dataset,
            threads=computing.threads or processes(),
            progress=progress,
        )
    console.evaluate(scores)
    if any(problem.severity == "error" for problem in scores.problems):
        sys.exit(1)


def report(
    run: Annotated[Path, Parameter(help="Run folder, folder of predictions, or study folder.")],
    *,
    out: Annotated[Path | None, Parameter(help="The page; `report.html` in that folder where absent.")] = None,
    reference: Annotated[
        Path | None, Parameter(help="Of predictions: the true masks, to show scores and the run.")
    ] = None,
    scores: Annotated[
        Path | None, Parameter(help="Their scores as JSON, where `duoseg evaluate` has written them.")
    ] = None,
    computing: Computing = EVERYWHERE,
) -> None:
    """Write one self-contained page about a run, a folder of predictions, or a study.

    Example: `duoseg report masks --reference scans/labelsTs`
    """
    import duoseg
    from duoseg.console import Console
    from duoseg.scans.limits import processes

    console = Console(quiet=computing.quiet)
    with console.progress() as progress:
        page = duoseg.report(
            run,
            out=out,
            reference=reference,
            scores=scores,
            threads=computing.threads or processes(),
            progress=progress,
        )
    console.report(page)


def view(
    folder: Annotated[Path, Parameter(help="Folder of predictions, or of a calibrated run.")],
    *,
    port: Annotated[
        int, Parameter(validator=validators.Number(gte=0, lte=65535), help="Of 127.0.0.1; any free one where absent.")
    ] = 0,
    computing: Computing = EVERYWHERE,
) -> None:
    """Show whole scans with their masks in a browser on this machine, until Ctrl-C.

    Example: `duoseg view masks`
    """
    import duoseg
    from duoseg.console import Console

    with duoseg.view(folder, port=port) as server:
        Console(quiet=computing.quiet).view(server.address)
        server.serve_forever()
