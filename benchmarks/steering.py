"""Does it pay to annotate what `duoseg suggest` names, rather than scans picked at random?

    python benchmarks/steering.py DATA/hippocampus OUT [--config protocols/hippocampus.toml] [--on holdout] [--seeds 5]

For each seed two training scans, picked at random, are annotated and a method is trained. Then, twice, two more scans
are annotated, by either rule: those that ``suggest`` names by the run before, or any at random, likewise of other
persons. After each round the method is trained anew, with the same steps, and its masks of the holdout (or test)
scans are scored. Prints the Dice after each round and the difference of both rules. Intervals are Student's over
seeds, since what is annotated by chance moves the Dice more than which scans are scored. What is done is kept in OUT,
and left out when the command is given again; with the other --on only the scores are missing. Ends with status 1
where the suggestions are not better than random ones in the mean of the rounds, each seed's difference in it: where
the interval holds 0.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from _common import made_with
from scipy import stats

import duoseg
from duoseg.commands.runs import CASES
from duoseg.scans.cases import Case
from duoseg.scans.dataset import load_dataset
from duoseg.study.folds import On, divide, person_texts

RULES = ("suggested", "random")


@dataclass(frozen=True)
class Study:
    """What does not change between trainings: the data, the protocol, where things lie."""

    data: Path
    out: Path
    config: Path
    method: str
    steps: int | None
    threads: int
    pool: tuple[Case, ...]
    on: On
    scored: tuple[Case, ...]
    kept: dict[str, Any]

    def after(self, seed: int, rule: str, number: int, annotated: list[str]) -> Path:
        """The run of a round; trained and scored unless it is there already."""
        run = self.out / f"seed{seed}-{rule}-round{number}"
        splits = run.with_suffix(".json")
        rest = [case.name for case in self.pool if case.name not in annotated]
        if not {case.name for case in self.pool if case.label is not None} >= set(annotated):
            raise SystemExit(f"{splits}: not all of {', '.join(annotated)} have a label")
        scores = self.scores(seed, rule, number)
        if (run / CASES).exists() and set(annotated) != set(json.loads((run / CASES).read_text())["labelled"]):
            raise SystemExit(
                f"{run}: was trained with other annotated scans than are asked for now; choose another OUT"
            )
        splits.write_text(json.dumps({**self.kept, "train": [*annotated, *rest]}))
        if not (run / "model.safetensors").exists():
            duoseg.train(
                self.data,
                run,
                config=self.config,
                method=self.method,
                labelled=len(annotated),
                steps=self.steps,
                seed=seed,
                splits=splits,
                cache=self.out / "cache",
                resume=(run / "checkpoint.pt").exists(),
                device="cpu",
                threads=self.threads,
            )
        if not scores.exists():
            images = [image for case in self.scored for image in case.images]
            masks = run / f"masks-{self.on}"
            duoseg.predict(run, images, masks, device="cpu", threads=self.threads, resume=True)
            duoseg.evaluate(masks, self.references(), csv=scores)
        return run

    def scores(self, seed: int, rule: str, number: int) -> Path:
        """The table of a round."""
        return self.out / f"seed{seed}-{rule}-round{number}-{self.on}.csv"

    def references(self) -> Path:
        """The true masks of the scored scans, and no others."""
        folder = self.out / f"references-{self.on}"
        folder.mkdir(exist_ok=True)
        for case in self.scored:
            if case.label is not None and not (folder / case.label.name).exists():
                (folder / case.label.name).symlink_to(case.label.absolute())
        return folder

    def drawn(self, draws: random.Random, annotated: list[str], count: int) -> list[str]:
        """Scans at random; like those suggested, of persons who have none yet while there are such."""
        persons, picks = person_texts(self.pool), list[str]()
        for _ in range(count):
            left = [case.name for case in self.pool if case.name not in (*annotated, *picks)]
            known = {persons[name] for name in (*annotated, *picks)}
            picks.append(draws.choice([name for name in left if persons[name] not in known] or left))
        return picks

    def suggested(self, run: Path, count: int) -> list[str]:
        """Scans that the run of a round asks for."""
        found = duoseg.suggest(
            run, self.data, n=count, splits=run.with_suffix(".json"), device="cpu", threads=self.threads
        )
        return [one.case for one in found]


def main() -> None:
    """Train and score all rounds, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--config", type=Path, default=Path(__file__).parents[1] / "protocols" / "hippocampus.toml")
    parser.add_argument("--on", choices=("test", "holdout"), default="holdout")
    parser.add_argument("--method", default="duo")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--each", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    data = load_dataset(options.data)
    pool = tuple(case for case in data.train if case.name not in data.holdout and case.label is not None)
    scored = divide(data, on=options.on)[0].scored
    never = {*data.holdout, *(case.name for case in data.test)}  # both, so that one training serves either --on
    options.out.mkdir(parents=True, exist_ok=True)
    require_same(options)
    sides = options.data / "splits.json"
    kept = json.loads(sides.read_text()) if sides.is_file() else {}
    # Of imagesUn no scan can be annotated here: they are unused, as are those that the data set itself does not use.
    unused = {*kept.get("unused", ()), *(case.name for case in data.train if case.label is None)}
    study = Study(
        *(options.data, options.out, options.config, options.method, options.steps, options.threads),
        *(pool, options.on, scored),
        {"subjects": kept.get("subjects", {}), "unused": sorted(unused), "test": sorted(never)},
    )
    better = False
    for seed in range(options.seeds):
        draws = random.Random(seed)
        first = study.drawn(draws, [], options.each)
        start = study.after(seed, "start", 0, first)
        for rule in RULES:
            annotated, run = list(first), start
            for number in range(1, options.rounds + 1):
                if rule == "random":
                    annotated += study.drawn(draws, annotated, options.each)
                else:
                    annotated += study.suggested(run, options.each)
                run = study.after(seed, rule, number, annotated)
        better = show(study, seed + 1, options.rounds)
    sys.exit(0 if better else 1)


def require_same(options: argparse.Namespace) -> None:
    """Refuse a folder with what other settings gave."""
    told = {name: str(getattr(options, name)) for name in ("data", "config", "method", "steps", "each", "threads")}
    known = options.out / "options.json"
    if known.is_file() and json.loads(known.read_text()) != told:
        raise SystemExit(f"{options.out}: holds the runs of other options ({known}); choose another OUT")
    known.write_text(json.dumps(told, indent=1) + "\n")


def show(study: Study, seeds: int, rounds: int) -> bool:
    """Print what is known after so many seeds; return whether suggestions are better in the mean of the rounds."""
    persons, apart = person_texts(study.scored), list[list[float]]()
    print(f"\n{made_with()}; {len(study.scored)} scans of {len(set(persons.values()))} persons, {seeds} seeds\n")
    print("| round | rule | Dice (%) of each seed | mean | suggested minus random |\n| ---: | --- | --- | --- | --- |")
    for number in range(rounds + 1):
        found: dict[str, list[float]] = {}
        for rule in RULES if number else ("start",):
            found[rule] = [100 * mean(dice(study.scores(seed, rule, number)).values()) for seed in range(seeds)]
        for rule, each in found.items():
            told = ""
            if rule == "suggested":
                apart.append([a - b for a, b in zip(each, found["random"], strict=True)])
                told = said(apart[-1], signed=True)
            print(f"| {number} | {rule} | {', '.join(f'{v:.2f}' for v in each)} | {said(each)} | {told} |", flush=True)
    means = [mean(one) for one in zip(*apart, strict=True)]
    print(f"\nsuggested minus random, the mean of the rounds: {said(means, signed=True)}", flush=True)
    return interval(means)[0] > 0


def dice(file: Path) -> dict[str, float]:
    """Each scan's Dice, the mean over its classes."""
    values = defaultdict(list)
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            values[row["case"]].append(float(row["dice"]))
    return {case: mean(found) for case, found in values.items()}


def interval(values: list[float]) -> tuple[float, float]:
    """Student's 95% interval of a mean over seeds; without bounds where there is one."""
    if len(values) < 2:
        return -math.inf, math.inf
    half = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def said(values: list[float], *, signed: bool = False) -> str:
    """A mean over seeds with its interval."""
    low, high = interval(values)
    sign = "+" if signed else ""
    return f"{mean(values):{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})"


if __name__ == "__main__":
    main()
