"""Runs the benchmarks of speed and memory, and writes what they print into `docs/results/performance.md`.

    python benchmarks/performance.py [NAME ...] [--data DATA]

Each benchmark is a script beside this one. The page has a place for each, between ``<!-- NAME -->`` and ``<!-- end
-->``, that holds the command and all that it printed; words about it stand outside and stay. Those that need real scans
run with ``--data``, the folder of the data sets, alone. All are run, whatever fails; ends with status 1 where one
passed its limit.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from duoseg.files import read_text, write_text

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "results" / "performance.md"
BENCHMARKS = {
    "training_step": "--methods all",
    "published_step": "",
    "time_to_quality": "DATA/left_atrium --hours 0.5",
    "predicting": "--data DATA/hippocampus",
    "restoring": "",
    "scores": "--data DATA/left_atrium",
    "distances": "--data DATA/left_atrium",
    "many_scans": "",
    "pages": "",
    "stages": "--data DATA/left_atrium --config protocols/left-atrium-cpu.toml --flame docs/results/flames",
}
"""What to give each, as the page shows it."""


def main() -> None:
    """Run those asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all where absent")
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    unknown = set(asked.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    failed = []
    for name in asked.names or BENCHMARKS:
        if "DATA" in BENCHMARKS[name] and asked.data is None:
            print(f"== {name}: left out, since it needs --data", flush=True)
            continue
        print(f"== {name}", flush=True)
        passed, printed, ended = run(name, str(asked.data and asked.data.resolve()))
        if ended:
            put(name, printed if passed else f"{printed}\n\n**Beyond its limit.**")
        failed += [] if passed else [name]
    sys.exit(f"beyond their limits, or failed: {', '.join(failed)}" if failed else 0)


def run(name: str, data: str) -> tuple[bool, str, bool]:
    """Whether a benchmark kept its limits, what it printed, and whether it came to its end; it is shown meanwhile."""
    words = [word.replace("DATA", data) for word in shlex.split(BENCHMARKS[name])]
    command = [sys.executable, "-u", str(HERE / f"{name}.py"), *words]
    printed = []
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            printed.append(line)
        process.wait()
        errors.seek(0)
        said = errors.read()
    sys.stderr.write(said)
    crashed = process.returncode < 0 or "Traceback" in said or " failed:\n" in said
    return process.returncode == 0, "".join(printed).strip(), not crashed


def put(name: str, printed: str) -> None:
    """Write what a benchmark printed into its place on the page."""
    command = f"python benchmarks/{name}.py {BENCHMARKS[name]}".strip()
    place = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", re.DOTALL)
    page, count = place.subn(lambda _: f"\n```console\n$ {command}\n```\n\n{printed}\n\n", read_text(PAGE))
    if count != 1:
        raise SystemExit(f"{PAGE}: has no place for {name}")
    write_text(PAGE, page)


if __name__ == "__main__":
    main()
