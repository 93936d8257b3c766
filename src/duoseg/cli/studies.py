"""The command that compares methods."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from duoseg.cli.options import EVERYWHERE, METHODS, Cache, Computing, ConfigFile, Data, counts, names, numbers

Positive = validators.Number(gte=1)


def compare(
    data: Data,
    *,
    out: Annotated[Path, Parameter(help="The study's folder, to create or to go on with.")],
    methods: Annotated[
        list[str],
        Parameter(
            converter=names,
            n_tokens=1,
            negative="",
            help=f"Such as supervised,duo: {METHODS.lower()}, or entries of the configuration.",
        ),
    ],
    labelled: Annotated[
        list[int | Literal["all"]] | None,
        Parameter(
            converter=counts,
            n_tokens=1,
            negative="",
            help="Numbers of labelled training scans, with commas between them, such as 4,8,all.",
        ),
    ] = None,
    seeds: Annotated[
        list[int],
        Parameter(
            converter=numbers,
            n_tokens=1,
            negative="",
            help="Of initial weights and draws, with commas between them, such as 0,1,2.",
        ),
    ] = [0, 1, 2],  # noqa: B006 - shown by --help, and never changed
    on: Annotated[
        Literal["test", "holdout"], Parameter(help="Score the test scans, or the holdout scans, then not trained on.")
    ] = "test",
    folds: Annotated[
        int | None, Parameter(help="Score the labelled training scans in so many parts, each by models without it.")
    ] = None,
    steps: Annotated[int | None, Parameter(validator=Positive, help="Training steps of every method.")] = None,
    config: ConfigFile = None,
    jobs: Annotated[
        int | None,
        Parameter(validator=Positive, help="Combinations side by side; as many as there is room for."),
    ] = None,
    hours: Annotated[
        float | None, Parameter(help="Choose the steps so that everything takes so many hours; measures steps here.")
    ] = None,
    against: Annotated[
        str | None,
        Parameter(
            help="What the others are compared with; where absent that of earlier calls, `supervised`, the first."
        ),
    ] = None,
    cache: Cache = None,
    computing: Computing = EVERYWHERE,
) -> None:
    """Train, predict and score every combination alike; compare scan by scan. The same command goes on.

    Example: `duoseg compare scans --out study --methods supervised,duo --labelled 4,8`
    """
    import duoseg
    from duoseg.commands.comparing.outputs import Unfinished
    from duoseg.console import Console

    console = Console(quiet=computing.quiet)
    try:
        with console.study_progress() as progress:
            study = duoseg.compare(
                data,
                out,
                methods=methods,
                labelled=labelled,
                seeds=seeds,
                on=on,
                folds=folds,
                steps=steps,
                config=config,
                jobs=jobs,
                hours=hours,
                against=against,
                cache=cache,
                device=computing.device,
                threads=computing.threads,
                progress=progress,
            )
    except Unfinished as fault:
        console.compare(fault.study)
        raise
    console.compare(study)
