"""Accuracy of methods under a protocol: train, predict the test scans, score them; every seed shown.

    python benchmarks/accuracy.py DATA --protocol protocols/hippocampus.toml --out WORK

Each combination is a run of the command line in a process of its own, so that its CPU time and peak memory are its
own. Finished combinations are kept in WORK and not repeated; --jobs runs side by side, each with one thread. The table
is printed, and written as Markdown with --markdown FILE and as JSON with --json FILE.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from _common import duoseg, made_with
from _tables import as_markdown

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
    paths = [options.out / f"{one.name}.json" for one in combinations]
    rows = [row for path in paths if (row := read_row(path, options)) is not None]
    table = as_markdown(rows, heading=heading(options), subjects=subjects(options.data))
    print(table)
    if options.markdown:
        write_text(options.markdown, table)
    if options.json:
        write_text(options.json, json.dumps(rows, indent=2) + "\n")


def run_combination(one: Combination, options: argparse.Namespace) -> None:
    """Train, predict and score one combination, unless its row is there already."""
    row_path = options.out / f"{one.name}.json"
    if read_row(row_path, options) is not None:
        return
    run, masks, scores = (options.out / kind / one.name for kind in ("runs", "masks", "scores"))
    dataset = load_dataset(options.data)
    labelled = []
    if one.labelled == ALL_LABELS:
        labelled = ["--labelled", str(sum(case.label is not None for case in dataset.train))]
    train = ["train", options.data, "--config", options.protocol, "--method", one.method, "--seed", one.seed]
    train += ["--steps", options.steps] if options.steps else []
    train += [*labelled, "--out", run, "--cache", options.out / "cache", "--threads", 1, "--device", "cpu"]
    resumed = (run / "config.toml").is_file()
    if resumed:
        train.append("--resume")
    training = duoseg(*train)
    predicting = duoseg("predict", run, options.data / "imagesTs", "--out", masks, "--threads", 1, "--device", "cpu")
    scores_file = scores.with_suffix(".json")
    duoseg("evaluate", masks, options.data / "labelsTs", "--json", scores_file, "--quiet")
    scored = json.loads(scores_file.read_text())
    row: dict = {
        **experiment(options),
        "made_with": made_with(),
        "method": one.method,
        "labelled": len(json.loads((run / "cases.json").read_text())["labelled"]),
        "ceiling": one.labelled == ALL_LABELS,
        "seed": one.seed,
        "mean": scored["mean"],
        "dice": {case["case"]: mean(v["dice"] for v in case["labels"].values()) for case in scored["cases"]},
        # The cost of an interrupted attempt is lost, so a resumed run shows none rather than too little.
        "train": None if resumed else asdict(training),
        "predict": asdict(predicting),
        "steps": json.loads((run / "plan.json").read_text())["steps"],
    }
    write_text(row_path, json.dumps(row, indent=2) + "\n")
    print(f"{one.name}: Dice {row['mean']['all']['dice']:.4f}", file=sys.stderr, flush=True)


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


def experiment(options: argparse.Namespace) -> dict:
    """What all rows of one table share."""
    protocol = hashlib.sha256(options.protocol.read_bytes()).hexdigest()[:12]
    return {"protocol": options.protocol.stem, "protocol_sha256": protocol, "on": options.on, "asked": options.steps}


def read_row(path: Path, options: argparse.Namespace) -> dict | None:
    """A finished combination's figures, or None where there are none yet.

    Raises:
        SystemExit: the folder holds the rows of another experiment.
    """
    if not path.is_file():
        return None
    row = json.loads(path.read_text())
    if any(row.get(key) != value for key, value in experiment(options).items()):
        raise SystemExit(f"{path}: is of another protocol, scan set or number of steps: choose another --out.")
    return row


def heading(options: argparse.Namespace) -> str:
    """Title, command and rules of the table."""
    flags = " --on holdout" if options.on == "holdout" else ""
    flags += f" --steps {options.steps}" if options.steps else ""
    return (
        f"# {options.protocol.stem}\n\n"
        f"`python benchmarks/accuracy.py DATA --protocol {options.protocol} --out WORK{flags}`\n\n"
        f"Last checkpoint, means over the {options.on} scans on their original grid. Wall time, CPU time and peak "
        "memory are those of the training, each on one thread, two side by side."
    )


def subjects(data: Path) -> dict[str, Hashable]:
    """The person of each scored scan."""
    return {case.name: case.person for case in load_dataset(data).test}


if __name__ == "__main__":
    main()
