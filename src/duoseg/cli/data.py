"""Commands about data sets: getting one, what is there, and how to train on it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from duoseg.cli.options import EVERYWHERE, Computing, ConfigFile, Data, Labelled, Steps, three
from duoseg.errors import InputError


def fetch(
    name: Annotated[str | None, Parameter(help="Name of a public set; lists them where absent.")] = None,
    *,
    to: Annotated[Path | None, Parameter(help="Folder that becomes the data set.")] = None,
    computing: Computing = EVERYWHERE,
) -> None:
    """Download a public data set into the standard layout, checked against its published checksum.

    Example: `duoseg fetch hippocampus --to hippocampus`
    """
    import duoseg
    from duoseg.console import Console
    from duoseg.scans.fetching.catalogue import CATALOGUE, find_set

    console = Console(quiet=computing.quiet)
    if name is None:
        console.public_sets(list(CATALOGUE.values()))
        return
    find_set(name)
    if to is None:
        raise InputError(f"{name}: say where it shall lie, by --to DIR.")
    with console.progress() as progress:
        folder = duoseg.fetch(name, to, progress=progress)
    console.fetch(folder)


def check(data: Data, *, labelled: Labelled = None, computing: Computing = EVERYWHERE) -> None:
    """Read every scan; list what is there and every problem. Exits with 1 where training would be wrong.

    Example: `duoseg check scans`
    """
    import duoseg
    from duoseg.console import Console

    console = Console(quiet=computing.quiet)
    with console.progress() as progress:
        report = duoseg.check(data, labelled=labelled, threads=computing.threads, progress=progress)
    console.check(report)
    if not report.ok:
        sys.exit(1)


def plan(
    data: Data,
    *,
    labelled: Labelled = None,
    steps: Steps = None,
    spacing: Annotated[
        tuple[float, float, float] | None,
        Parameter(converter=three, n_tokens=1, negative="", help="Voxel sides to train at, in mm: X,Y,Z."),
    ] = None,
    patch: Annotated[
        tuple[int, int, int] | None,
        Parameter(converter=three, n_tokens=1, negative="", help="Patch sides in voxels: X,Y,Z."),
    ] = None,
    hours: Annotated[
        float | None, Parameter(help="Fit the training into so many hours on this machine; measures steps here.")
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
            hours=hours,
            config=config,
            out=out,
            device=computing.device,
            threads=computing.threads,
            progress=progress,
        )
    console.plan(made, out)
