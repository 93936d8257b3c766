"""The command line: parses, calls the public functions, prints. It holds no logic of its own."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError

from duoseg.cli.data import check, fetch, plan
from duoseg.cli.models import calibrate, demo, export, predict, suggest, train
from duoseg.cli.results import evaluate, report, view
from duoseg.cli.studies import compare
from duoseg.errors import InputError
from duoseg.files import CACHE, final_name
from duoseg.training.interruption import Interrupted
from duoseg.version import __version__

app = App(
    name="duoseg",
    version=__version__,
    help="Segment 3-D medical scans from a few annotated and many raw ones.",
    help_format="markdown",
    exit_on_error=False,
    suppress_keyboard_interrupt=False,
)
for command in (demo, fetch, check, plan, train, predict, evaluate, compare, calibrate, suggest, report, view, export):
    app.command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: status 1 and one clear message for wrong input, 2 for wrong usage, 130 for an interruption."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that this terminal cannot show ends no command
            stream.reconfigure(errors="backslashreplace")
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
            sys.stderr.write(f"duoseg: {fault.strerror or fault}.\n")
            sys.exit(1)
        path = final_name(Path(str(fault.filename)))
        hint = " Choose another folder for prepared scans by --cache." if CACHE in path.parts else ""
        sys.stderr.write(f"duoseg: {path}: {fault.strerror}.{hint}\n")
        sys.exit(1)
    except KeyboardInterrupt as interrupt:
        goes_on = " The same command goes on from there, `duoseg train` with --resume."
        how = goes_on if isinstance(interrupt, Interrupted) else ""
        sys.stderr.write(f"duoseg: {str(interrupt) or 'interrupted.'}{how}\n")
        sys.exit(130)
