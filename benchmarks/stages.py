"""Where time and memory go: training, prediction and evaluation, stage by stage.

    python benchmarks/stages.py [--data DATA/left_atrium --config protocols/left-atrium-cpu.toml] [--flame DIR]

Trains `dtml` and `duo` for some steps, predicts and scores the test scans, each as a command in a process of its own
on one thread, without prepared scans, and prints the seconds and the most memory of each stage, as seen by a sampler
within the process. Without ``--data`` on phantoms. ``--flame`` also writes flame graphs by py-spy, which
`make bench` installs. It is not called ``profile.py``, which Python's own profiler would take for the module of that
name.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _common import made_with

from duoseg.files import read_text, write_text
from duoseg.scans.phantoms import write_phantom_dataset

HERE = Path(__file__).parent
PROTOCOL = HERE.parent / "protocols" / "hippocampus.toml"
SHORTEST = 0.01
"""Shares of the whole below this are left out."""


def main() -> None:
    """Run the commands, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--config", type=Path, default=PROTOCOL)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--flame", type=Path, help="folder for flame graphs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = options.data or write_phantom_dataset(folder / "data", subjects=30, labelled=4, test=12)
        print(f"{made_with()}, one thread, {data.name}, {options.steps} steps")
        for title, words in commands(folder, data, options.config, options.steps).items():
            show(title, sampled(folder / "seen.json", words))
            if options.flame:
                flame(options.flame / f"{title.replace(' ', '-')}.svg", title, again(words, folder))


def commands(folder: Path, data: Path, config: Path, steps: int) -> dict[str, list[str]]:
    """What is looked at, by title."""
    found = {}
    for method in ("dtml", "duo"):
        found[f"train {method}"] = [
            *("train", str(data), "--config", str(config), "--method", method, "--steps", str(steps)),
            *("--labelled", "4", "--cache", str(folder / f"cache-{method}"), "--out", str(folder / method)),
        ]
    found["predict duo"] = ["predict", str(folder / "duo"), str(data / "imagesTs"), "--out", str(folder / "masks")]
    found["evaluate"] = ["evaluate", str(folder / "masks"), str(data / "labelsTs")]
    common = ["--threads", "1", "--device", "cpu", "--quiet"]
    return {title: [*words, *common] for title, words in found.items()}


def sampled(file: Path, words: list[str]) -> dict[str, Any]:
    """Run one command under the sampler."""
    subprocess.run(
        [sys.executable, str(HERE / "_sampled.py"), str(file), *words], check=True, stdout=subprocess.DEVNULL
    )
    return json.loads(file.read_text())


def show(title: str, seen: dict[str, Any]) -> None:
    """Print the stages of one command, the longest first."""
    print(f"\n{title}: {seen['wall_s']:.1f} s, peak {seen['peak_mib']:.0f} MiB\n")
    print("| stage | s | share | memory (MiB) |\n| --- | ---: | ---: | ---: |")
    whole = sum(seen["seconds"].values())
    for stage, seconds in sorted(seen["seconds"].items(), key=lambda pair: -pair[1]):
        if seconds >= SHORTEST * whole:
            print(f"| {stage} | {seconds:.2f} | {seconds / whole:.0%} | {seen['mib'][stage]:.0f} |")


def again(words: list[str], folder: Path) -> list[str]:
    """The same command into another folder, so that nothing is done already."""
    if words[0] == "evaluate":
        return words
    place = words.index("--out") + 1
    changed = [*words[:place], f"{words[place]}-flame", *words[place + 1 :]]
    if "--cache" in changed:
        changed[changed.index("--cache") + 1] += "-flame"
    return changed


def flame(file: Path, title: str, words: list[str]) -> None:
    """Write a flame graph of one command, under a title that does not tell where things lie on this machine."""
    file.parent.mkdir(parents=True, exist_ok=True)
    spy = Path(sys.executable).with_name("py-spy")  # of this environment, activated or not
    command = [str(spy), "record", "--rate", "100", "--output", str(file), "--", sys.executable, "-m", "duoseg", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    write_text(file, re.sub(r'(<text id="title"[^>]*>)[^<]*', rf"\g<1>{title}", read_text(file)))


if __name__ == "__main__":
    main()
