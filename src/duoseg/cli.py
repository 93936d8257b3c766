"""The command line: parses, calls the public functions, prints. It holds no logic of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from cyclopts import App, CycloptsError, Parameter, Token, validators

from duoseg.errors import InputError
from duoseg.files import CACHE, final_name
from duoseg.version import __version__

app = App(
    name="duoseg",
    version=__version__,
    help="Segment 3-D medical scans from a few annotated and many raw ones.",
    help_format="markdown",
    exit_on_error=False,
    suppress_keyboard_interrupt=False,
)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Computing:
    """Options of every command; those that train no network use one CPU core whatever they say."""

    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Parameter(help="Where to compute.")] = "auto"
    threads: Annotated[
        int | None, Parameter(validator=validators.Number(gte=1), help="CPU threads; torch's choice where absent.")
    ] = None
    quiet: Annotated[bool, Parameter(negative="", help="Print results and errors only.")] = False


EVERYWHERE = Computing()
Labelled = Annotated[
    int | None, Parameter(help="Use the labels of the first N training scans; all there are where absent.")
]
Steps = Annotated[int | None, Parameter(help="Training steps; the plan's choice where absent.")]
ConfigFile = Annotated[Path | None, Parameter(help="A TOML file of settings, such as a protocol; options win.")]
Data = Annotated[Path, Parameter(help="Data set: a folder (nnU-Net or plain layout) or a CSV table.")]


def _three(kind: type, tokens: Sequence[Token]) -> tuple:
    """Read "X,Y,Z" into the annotated kind of numbers."""
    number = int if int in get_args(kind) else float
    try:
        x, y, z = (number(part) for part in tokens[0].value.split(","))
    except ValueError as fault:
        example = "64,64,48" if number is int else "1,1,2.5"
        raise ValueError(f"give three numbers with commas between them, such as {example}") from fault
    return x, y, z


@app.command
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


@app.command
def check(data: Data, *, labelled: Labelled = None, computing: Computing = EVERYWHERE) -> None:
    """Read every scan; list what is there and every problem. Exits with 1 where training would be wrong.

    Example: `duoseg check scans`
    """
    import duoseg
    from duoseg.console import Console

    console = Console(quiet=computing.quiet)
    with console.progress() as progress:
        report = duoseg.check(data, labelled=labelled, progress=progress)
    console.check(report)
    if not report.ok:
        sys.exit(1)


@app.command
def plan(
    data: Data,
    *,
    labelled: Labelled = None,
    steps: Steps = None,
    spacing: Annotated[
        tuple[float, float, float] | None,
        Parameter(converter=_three, n_tokens=1, negative="", help="Voxel sides to train at, in mm: X,Y,Z."),
    ] = None,
    patch: Annotated[
        tuple[int, int, int] | None,
        Parameter(converter=_three, n_tokens=1, negative="", help="Patch sides in voxels: X,Y,Z."),
    ] = None,
    config: ConfigFile = None,
    out: Annotated[Path | None, Parameter(help="Write the plan to this file.")] = None,
    computing: Computing = EVERYWHERE,
) -> None:
    """Choose spacing, patch, network and schedule, and say why. Reads no label beyond the first N.

    Example: `duoseg plan scans --labelled 8 --out plan.json`
    """
    import duoseg
    from duoseg.console import Console

    console = Console(quiet=computing.quiet)
    with console.progress() as progress:
        made = duoseg.plan(
            data,
            labelled=labelled,
            steps=steps,
            spacing=spacing,
            patch=patch,
            config=config,
            out=out,
            device=computing.device,
            progress=progress,
        )
    console.plan(made, out)


@app.command
def train(
    data: Data,
    *,
    out: Annotated[Path, Parameter(help="Run folder to create, or to go on with.")],
    method: Annotated[str | None, Parameter(help="Method; `dtml` where nothing says otherwise.")] = None,
    labelled: Labelled = None,
    steps: Steps = None,
    seed: Annotated[int | None, Parameter(help="Of initial weights and all random draws.")] = None,
    plan: Annotated[Path | None, Parameter(help="A plan file, used as it is.")] = None,
    config: ConfigFile = None,
    cache: Annotated[Path | None, Parameter(help="Folder for prepared scans; by default in DATA.")] = None,
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

    console = Console(quiet=computing.quiet)
    with console.progress() as progress:
        run = duoseg.train(
            data,
            out,
            method=method,
            labelled=labelled,
            steps=steps,
            seed=seed,
            plan=plan,
            config=config,
            cache=cache,
            start_from=start_from,
            resume=resume,
            tensorboard=tensorboard,
            device=computing.device,
            threads=computing.threads,
            progress=progress,
        )
    console.train(run)


@app.command
def predict(
    paths: Annotated[
        list[Path], Parameter(name="RUN... INPUT...", help="Run folders, then image files or folders of them.")
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the masks.")],
    probabilities: Annotated[bool, Parameter(negative="", help="Also write each class's probability.")] = False,
    mirror: Annotated[bool | None, Parameter(help="Average over flips; the run's setting where absent.")] = None,
    largest_component: Annotated[
        bool | None, Parameter(help="Keep each class's largest body; the run's setting where absent.")
    ] = None,
    computing: Computing = EVERYWHERE,
) -> None:
    """Write a mask for each scan, on that scan's own grid. Several runs are averaged.

    Example: `duoseg predict runs/first scans/imagesTs --out masks`
    """
    import duoseg
    from duoseg.commands.predict import runs_and_inputs
    from duoseg.console import Console

    console = Console(quiet=computing.quiet)
    runs, inputs = runs_and_inputs(paths)
    with console.progress() as progress:
        scans = duoseg.predict(
            runs,
            inputs,
            out,
            probabilities=probabilities,
            mirror=mirror,
            largest_component=largest_component,
            device=computing.device,
            threads=computing.threads,
            progress=progress,
        )
    console.predict(scans, out)


@app.command
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

    console = Console(quiet=computing.quiet)
    with console.progress() as progress:
        scores = duoseg.evaluate(
            prediction,
            reference,
            json=json,
            csv=csv,
            tolerance_mm=tolerance_mm,
            dataset=dataset,
            progress=progress,
        )
    console.evaluate(scores)
    if any(problem.severity == "error" for problem in scores.problems):
        sys.exit(1)


@app.command
def report(
    run: Annotated[Path, Parameter(help="Run folder.")],
    *,
    out: Annotated[Path | None, Parameter(help="The page; `report.html` in the run folder where absent.")] = None,
    computing: Computing = EVERYWHERE,
) -> None:
    """Write one self-contained page about a run.

    Example: `duoseg report runs/first`
    """
    import duoseg
    from duoseg.console import Console

    Console(quiet=computing.quiet).report(duoseg.report(run, out=out))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: status 1 and one clear message for wrong input, 2 for wrong usage, 130 for an interruption."""
    try:
        app(sys.argv[1:] if arguments is None else arguments)
    except CycloptsError:  # already explained on standard error
        sys.exit(2)
    except InputError as fault:
        sys.stderr.write(f"duoseg: {fault}\n")
        sys.exit(1)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as fault:
        if fault.filename is None:
            raise
        path = final_name(Path(str(fault.filename)))
        hint = " Choose another folder for prepared scans by --cache." if CACHE in path.parts else ""
        sys.stderr.write(f"duoseg: {path}: {fault.strerror}.{hint}\n")
        sys.exit(1)
    except KeyboardInterrupt as interrupt:
        saved = f"{interrupt} `duoseg train` goes on from there with --resume." if str(interrupt) else "interrupted."
        sys.stderr.write(f"duoseg: {saved}\n")
        sys.exit(130)
