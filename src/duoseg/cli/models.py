"""Commands that train a model or use one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from duoseg.cli.options import EVERYWHERE, METHODS, Cache, Computing, ConfigFile, Data, Labelled, Steps, share


def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder for data, runs, masks and the report.")] = Path("duoseg-demo"),
    steps: Annotated[int, Parameter(help="Training steps of each method.")] = 300,
    computing: Computing = EVERYWHERE,
) -> None:
    """Run everything on synthetic scans: check, plan, train two methods, predict, evaluate, report.

    Example: `duoseg demo --out my-demo`
    """
    import duoseg
    from duoseg.console import Console

    console = Console(quiet=computing.quiet)
    with console.progress() as progress:
        result = duoseg.demo(out, steps=steps, device=computing.device, threads=computing.threads, progress=progress)
    console.demo(result)


def train(
    data: Data,
    *,
    out: Annotated[Path, Parameter(help="Run folder to create, or to go on with.")],
    method: Annotated[str | None, Parameter(help=f"{METHODS}; `duo` where nothing says otherwise.")] = None,
    labelled: Labelled = None,
    steps: Steps = None,
    seed: Annotated[int | None, Parameter(help="Of initial weights and all random draws.")] = None,
    accumulate: Annotated[
        int | None, Parameter(help="Take each batch in so many parts, in about so much less memory.")
    ] = None,
    plan: Annotated[Path | None, Parameter(help="A plan file, used as it is.")] = None,
    config: ConfigFile = None,
    splits: Annotated[Path | None, Parameter(help="A file to take instead of the data set's splits.json.")] = None,
    cache: Cache = None,
    start_from: Annotated[Path | None, Parameter(name="--from", help="Start from another run's weights.")] = None,
    resume: Annotated[bool, Parameter(negative="", help="Go on exactly where the run stopped.")] = False,
    tensorboard: Annotated[bool, Parameter(negative="", help="Also write TensorBoard logs.")] = False,
    computing: Computing = EVERYWHERE,
) -> None:
    """Train a segmenter. Ctrl-C saves and stops; `--resume` goes on.

    Example: `duoseg train scans --labelled 8 --out runs/first`
    """
    import duoseg
    from duoseg.console import Console
    from duoseg.training.places import find_place

    console = Console(quiet=computing.quiet)
    with console.progress() as progress:
        run = duoseg.train(
            data,
            out,
            method=method,
            labelled=labelled,
            steps=steps,
            seed=seed,
            accumulate=accumulate,
            plan=plan,
            config=config,
            splits=splits,
            cache=cache,
            start_from=start_from,
            resume=resume,
            tensorboard=tensorboard,
            device=computing.device,
            threads=computing.threads,
            progress=progress,
        )
    if find_place().index == 0:  # the first process speaks for all
        console.train(run)


def predict(
    paths: Annotated[
        list[Path],
        Parameter(name="RUN... INPUT...", help="Run folders, then scans: files, DICOM series, folders of them."),
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the masks.")],
    uncertainty: Annotated[
        bool, Parameter(negative="", help="Also write how probable it is that each voxel's class is wrong.")
    ] = False,
    probabilities: Annotated[bool, Parameter(negative="", help="Also write each class's probability.")] = False,
    format: Annotated[
        Literal["same", "nii.gz", "nrrd", "dicom-seg"],
        Parameter(help="Of the masks; `same` is each scan's own, DICOM SEG for a DICOM series."),
    ] = "same",
    mirror: Annotated[bool | None, Parameter(help="Average over flips; the run's setting where absent.")] = None,
    largest_component: Annotated[
        bool | None, Parameter(help="Keep each class's largest body; the run's setting where absent.")
    ] = None,
    resume: Annotated[bool, Parameter(negative="", help="Leave out scans that this command has already done.")] = False,
    rows: Annotated[
        Literal["test", "raw", "all"], Parameter(help="Of a CSV table: its test scans, those without a label, or all.")
    ] = "test",
    part: Annotated[
        tuple[int, int],
        Parameter(converter=share, n_tokens=1, negative="", help="`2/5`: the second of five shares of the scans."),
    ] = (1, 1),
    computing: Computing = EVERYWHERE,
) -> None:
    """Write a mask for each scan, on that scan's own grid. Several runs are averaged.

    Example: `duoseg predict runs/first scans/imagesTs --out masks`
    """
    import duoseg
    from duoseg.commands.predict import Incomplete, runs_and_inputs
    from duoseg.console import Console

    console = Console(quiet=computing.quiet)
    runs, inputs = runs_and_inputs(paths)
    try:
        with console.progress() as progress:
            scans = duoseg.predict(
                runs,
                inputs,
                out,
                uncertainty=uncertainty,
                probabilities=probabilities,
                format=format,
                mirror=mirror,
                largest_component=largest_component,
                resume=resume,
                part=part,
                rows=rows,
                device=computing.device,
                threads=computing.threads,
                progress=progress,
            )
    except Incomplete as fault:
        if fault.scans:
            console.predict(fault.scans, out)
        raise
    console.predict(scans, out)


def suggest(
    run: Annotated[Path, Parameter(help="Run folder.")],
    data: Data,
    /,
    *,
    n: Annotated[
        int, Parameter(name=["-n", "--n"], validator=validators.Number(gte=1), help="How many scans to suggest.")
    ] = 5,
    json: Annotated[Path | None, Parameter(help="Write the suggestions to this file.")] = None,
    drafts: Annotated[Path | None, Parameter(help="Folder for the model's own masks of them, to be corrected.")] = None,
    format: Annotated[
        Literal["same", "nii.gz", "nrrd", "dicom-seg"], Parameter(help="Of the drafts; `same` is each scan's own.")
    ] = "same",
    labelled: Annotated[
        int | None, Parameter(help="The labels of the first so many training scans count; as in the run where absent.")
    ] = None,
    splits: Annotated[Path | None, Parameter(help="A splits.json to take instead of the data set's.")] = None,
    computing: Computing = EVERYWHERE,
) -> None:
    """Name the scans without annotation that it helps most to annotate next, and say why.

    Example: `duoseg suggest runs/first scans -n 5 --drafts drafts`
    """
    import duoseg
    from duoseg.console import Console

    console = Console(quiet=computing.quiet)
    with console.progress() as progress:
        suggestions = duoseg.suggest(
            run,
            data,
            n=n,
            json=json,
            drafts=drafts,
            format=format,
            labelled=labelled,
            splits=splits,
            device=computing.device,
            threads=computing.threads,
            progress=progress,
        )
    console.suggest(suggestions, drafts)


def calibrate(
    run: Annotated[Path, Parameter(help="Run folder.")],
    data: Data,
    /,
    *,
    folds: Annotated[
        int, Parameter(validator=validators.Number(gte=2), help="How many models are trained for it.")
    ] = 4,
    steps: Annotated[int | None, Parameter(help="Steps of each; half of the run's where absent.")] = None,
    cache: Cache = None,
    splits: Annotated[Path | None, Parameter(help="A splits.json to take instead of the data set's.")] = None,
    computing: Computing = EVERYWHERE,
) -> None:
    """Find out how far a run's masks may be trusted, from its own annotated scans: trains a model for each fold.

    Example: `duoseg calibrate runs/first scans`
    """
    import duoseg
    from duoseg.console import Console

    console = Console(quiet=computing.quiet)
    with console.progress() as progress:
        found = duoseg.calibrate(
            run,
            data,
            folds=folds,
            steps=steps,
            splits=splits,
            cache=cache,
            device=computing.device,
            threads=computing.threads,
            progress=progress,
        )
    console.calibrate(found)


def export(
    runs: Annotated[list[Path], Parameter(name="RUN...", help="Run folders; several are averaged.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The file: its name ends in .onnx, that of a bundle in .zip.")],
    format: Annotated[
        Literal["onnx", "monai"],
        Parameter(help="`onnx`: the network alone; `monai`: a bundle that also prepares scans and writes masks."),
    ] = "onnx",
    computing: Computing = EVERYWHERE,
) -> None:
    """Write a trained run as one file that other programs use without duoseg.

    Example: `duoseg export runs/first --out first.onnx`
    """
    import duoseg
    from duoseg.console import Console

    file = duoseg.export(runs, out, format=format, threads=computing.threads)
    Console(quiet=computing.quiet).export(file)
