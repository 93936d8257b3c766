"""Accuracy of methods under a protocol: train, predict the test scans, score them; every seed shown.

    python benchmarks/accuracy.py DATA --protocol protocols/hippocampus.toml --out WORK

Each combination is a run of the command line in a process of its own, so that its CPU time and peak memory are its
own. Finished combinations are kept in WORK and not repeated; --jobs runs side by side, each with one thread. The table
is printed, and written as Markdown with --markdown FILE and as JSON with --json FILE.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from _common import duoseg, made_with

from duoseg.files import write_text
from duoseg.scans.dataset import load_dataset

ALL_LABELS = "all"


@dataclass(frozen=True)
class Combination:
    """One run: ``labelled`` is a number, or "protocol" for the protocol's own, or "all"."""

    method: str
    labelled: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its folders."""
        return f"{self.method}-{self.labelled}-seed{self.seed}"


def main() -> None:
    """Run every combination, then print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--protocol", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default="supervised,boundary,dtml")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--ceiling", default="supervised", help="methods also trained once with all labels")
    parser.add_argument("--on", choices=["test", "holdout"], default="test", help="holdout: for making choices")
    parser.add_argument("--steps", type=int, help="instead of the protocol's, for quick choices")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report-only", action="store_true", help="show what is finished, run nothing")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.on == "holdout":
        options.data = holdout_as_test(options.data, options.out / "holdout")

    combinations = [
        Combination(method, "protocol", int(seed))
        for seed in options.seeds.split(",")
        for method in options.methods.split(",")
    ]
    combinations += [Combination(method, ALL_LABELS, 0) for method in options.ceiling.split(",") if method]
    if not options.report_only:
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda one: run_combination(one, options), combinations))
    rows = [row for one in combinations if (row := read_row(options.out / f"{one.name}.json")) is not None]
    table = as_markdown(rows, options)
    print(table)
    if options.markdown:
        write_text(options.markdown, table)
    if options.json:
        write_text(options.json, json.dumps(rows, indent=2) + "\n")


def run_combination(one: Combination, options: argparse.Namespace) -> None:
    """Train, predict and score one combination, unless its row is there already."""
    row_path = options.out / f"{one.name}.json"
    if row_path.is_file():
        return
    run, masks, scores = (options.out / kind / one.name for kind in ("runs", "masks", "scores"))
    dataset = load_dataset(options.data)
    labelled = []
    if one.labelled == ALL_LABELS:
        labelled = ["--labelled", str(sum(case.label is not None for case in dataset.train))]
    train = ["train", options.data, "--config", options.protocol, "--method", one.method, "--seed", one.seed]
    train += ["--steps", options.steps] if options.steps else []
    train += [*labelled, "--out", run, "--cache", options.out / "cache", "--threads", 1, "--device", "cpu"]
    if (run / "config.toml").is_file():
        train.append("--resume")
    training = duoseg(*train)
    predicting = duoseg("predict", run, options.data / "imagesTs", "--out", masks, "--threads", 1, "--device", "cpu")
    scores_file = scores.with_suffix(".json")
    duoseg("evaluate", masks, options.data / "labelsTs", "--json", scores_file, "--quiet")
    row = {
        "method": one.method,
        "labelled": len(json.loads((run / "cases.json").read_text())["labelled"]),
        "ceiling": one.labelled == ALL_LABELS,
        "seed": one.seed,
        "mean": json.loads(scores_file.read_text())["mean"],
        "train": asdict(training),
        "predict": asdict(predicting),
        "steps": json.loads((run / "plan.json").read_text())["steps"],
    }
    write_text(row_path, json.dumps(row, indent=2) + "\n")
    dice = row["mean"]["all"]["dice"]
    print(f"{one.name}: Dice {dice:.4f}, {training.cpu_s:.0f} CPU s", file=sys.stderr, flush=True)


def holdout_as_test(data: Path, folder: Path) -> Path:
    """The same data set, by links, with its holdout scans as the test scans and the true test scans out of reach."""
    dataset = load_dataset(data)
    if folder.is_dir():
        return folder
    for case in dataset.train:
        side = "Ts" if case.name in dataset.holdout else "Tr"
        for kind, files in (("images", case.images), ("labels", (case.label,) if case.label else ())):
            (folder / f"{kind}{side}").mkdir(parents=True, exist_ok=True)
            for file in files:
                (folder / f"{kind}{side}" / file.name).symlink_to(file.resolve())
    (folder / "dataset.json").symlink_to((data / "dataset.json").resolve())
    splits = {
        "train": [case.name for case in dataset.train if case.name not in dataset.holdout],
        "test": list(dataset.holdout),
    }
    write_text(folder / "splits.json", json.dumps(splits))
    return folder


def read_row(path: Path) -> dict | None:
    """A finished combination's figures."""
    return json.loads(path.read_text()) if path.is_file() else None


def as_markdown(rows: list[dict], options: argparse.Namespace) -> str:
    """The table of all seeds, their means, and what it was made with."""
    if not rows:
        return "Nothing is finished yet.\n"
    classes = list(rows[0]["mean"])
    if len(classes) == 2:
        classes = classes[:1]
    heads = [f"{name} Dice | {name} HD95 (mm)" for name in classes]
    lines = [
        f"| method | labelled | seed | {' | '.join(heads)} | train wall (s) | train CPU (s) | peak (MiB) |",
        "| --- |" + " ---: |" * (5 + 2 * len(classes)),
    ]
    groups: dict[tuple[str, int], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["labelled"]), []).append(row)
    for (method, labelled), group in groups.items():
        lines += [_line(method, labelled, str(row["seed"]), [row], classes) for row in group]
        if len(group) > 1:
            lines.append(_line(f"**{method}**", labelled, f"mean of {len(group)}", group, classes))
    return (
        f"# {options.protocol.stem}\n\n"
        f"Command: `python benchmarks/accuracy.py DATA --protocol {options.protocol} --out WORK`; "
        f"{rows[0]['steps']} steps, last checkpoint, scored on the {options.on} scans' original grid. Each run had one "
        f"thread, {options.jobs} side by side.\n\n"
        f"{made_with()}.\n\n" + "\n".join(lines) + "\n"
    )


def _line(method: str, labelled: int, seed: str, group: list[dict], classes: list[str]) -> str:
    cells = []
    for name in classes:
        cells.append(f"{mean(row['mean'][name]['dice'] for row in group):.4f}")
        cells.append(f"{mean(row['mean'][name]['hd95_mm'] for row in group):.2f}")
    for kind in ("wall_s", "cpu_s", "peak_mib"):
        cells.append(f"{mean(row['train'][kind] for row in group):.0f}")
    return f"| {method} | {labelled} | {seed} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
