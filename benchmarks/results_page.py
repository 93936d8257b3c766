"""The tables of a page of results, from finished studies and from what the page had before.

    python benchmarks/results_page.py docs/results/hippocampus.md [STUDY ...] [--methods A,B] [--against duo]

A page that tells of many trainings grows by one study after another, made on days and machines far apart. Beside
PAGE.md lie PAGE.csv, every score of every scan, and PAGE-costs.csv, what each training took. The combinations of the
studies are added to both, or replace what they had of them; then all that follows the page's marker is written anew
from them, by the code that writes a study's own tables. Without a study the tables alone are made again. Unfinished
combinations are left out. Refused is what would not be comparable: other scored scans than the page's, another
precision, another plan for one number of labelled scans, and seeds of one row that differ in steps, training scans,
settings or the method's revision, as where only one of three was computed anew. Rows that were added before a page
noted precision, plan and settings are taken as they are.

`--methods` are the first rows of the tables, in that order. `--study OUT` writes everything as a study, too, which
`duoseg report OUT` makes a page of. The marker may say what the differences are from, and which scans were scored:
`<!-- Below: benchmarks/results_page.py --against duo --on holdout -->`.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duoseg.files import atomic_path, read_text, write_text
from duoseg.study.grid import Combination
from duoseg.study.reading import STUDY, read_rows
from duoseg.study.records import RESULTS, Cost, EntryRecord, Result, Row, read_results, write_results
from duoseg.study.summary import summarise_study
from duoseg.study.tables import markdown
from duoseg.version import __version__

MARKER = re.compile(
    r"<!-- Below: benchmarks/results_page\.py(?: --against (?P<against>\w+))?(?: --on (?P<on>test|holdout))? -->\n"
)
COSTS = ("train_wall_s", "train_cpu_s", "peak_mib", "parameters", "steps")
"""Of a combination, as far as tables show them."""
ROW = ("revision", "scans")
"""Of a combination: the method's revision, and a hash of the training scans; empty where it was not noted."""
MADE_OF = (*ROW, "settings", "plan", "precision")
"""And hashes of the method's settings and of the plan without its steps, and the precision."""
OF_A_ROW = ("steps", "reasons")
"""What of a plan may differ on a page."""


@dataclass(frozen=True)
class Page:
    """A page and the two tables beside it."""

    path: Path

    @property
    def scores(self) -> Path:
        """Every score of every scan, as a study's ``results.csv``."""
        return self.path.with_suffix(".csv")

    @property
    def costs(self) -> Path:
        """What each training took."""
        return self.path.with_name(f"{self.path.stem}-costs.csv")

    def results(self) -> list[Result]:
        """What the tables beside it hold."""
        if not self.scores.is_file():
            return []
        rows: dict[str, tuple[Combination, list[Row]]] = {}
        for combination, row in read_rows(self.scores):
            rows.setdefault(combination.name, (combination, []))[1].append(row)
        kept = self._read_costs()
        return [_result(combination, *kept[name], found) for name, (combination, found) in rows.items()]

    @property
    def marker(self) -> re.Match[str]:
        """The line after which tables stand."""
        found = MARKER.search(read_text(self.path))
        if found is None:
            raise SystemExit(f"{self.path}: has no line <!-- Below: benchmarks/results_page.py -->")
        return found

    def study(self, results: Sequence[Result], against: str | None) -> dict[str, Any]:
        """The content of a ``study.json`` of them."""
        return _study(results, against or self.marker["against"] or "supervised", self.on)

    @property
    def on(self) -> str:
        """Which scans were scored."""
        return self.marker["on"] or "test"

    def write(self, results: Sequence[Result], against: str | None) -> None:
        """Write both tables, and the page after its marker."""
        tables = markdown(self.study(results, against)).rstrip("\n")
        write_results(self.scores, results)
        with atomic_path(self.costs) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("combination", *COSTS, *MADE_OF))
            for result in results:
                cost = result.cost.model_dump()
                made_of = [result.config.get(name, "") for name in MADE_OF]
                writer.writerow((result.combination.name, *(_cell(cost[name]) for name in COSTS), *made_of))
        head = read_text(self.path)[: self.marker.end()]
        write_text(self.path, f"{head}\n{tables}\n")

    def _read_costs(self) -> dict[str, tuple[Cost, dict[str, str]]]:
        with self.costs.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        unknown = dict.fromkeys(("predict_wall_s", "predict_cpu_s", "inference_parameters", "gpu_peak_mib", "resumed"))
        costs = {
            row["combination"]: Cost.model_validate(unknown | {name: row[name] or None for name in COSTS})
            for row in rows
        }
        made_of = {row["combination"]: {name: row.get(name, "") for name in MADE_OF} for row in rows}
        return {name: (cost, made_of[name]) for name, cost in costs.items()}


def main() -> None:
    """Add the studies' combinations and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("studies", type=Path, nargs="*", metavar="STUDY")
    parser.add_argument("--methods", default="", help="the first rows of the tables, with commas between them")
    parser.add_argument("--against", help="what the page's marker says, or supervised, where absent")
    parser.add_argument("--study", type=Path, metavar="OUT")
    asked = parser.parse_args()
    page = Page(asked.page)
    found = {result.combination.name: result for result in page.results()}
    for study in asked.studies:
        found |= {result.combination.name: noted(result, page, study) for result in read_results(study)}
    require_comparable(found.values())
    results = _in_order(found.values(), asked.methods.split(","))
    page.write(results, asked.against)
    if asked.study:
        write_results(asked.study / RESULTS, results)
        write_text(asked.study / STUDY, json.dumps(page.study(results, asked.against), indent=1) + "\n")


def require_comparable(results: Iterable[Result]) -> None:
    """Refuse rows of other scans, and seeds of one row that were not computed alike."""
    scored: dict[frozenset[str], str] = {}
    rows: dict[tuple[str, int], dict[tuple[object, ...], str]] = {}
    noted: dict[tuple[str, object], dict[str, str]] = {}
    for result in results:
        about = result.combination
        scored.setdefault(frozenset(row.case for row in result.rows), about.name)
        made_of = (result.cost.steps, *(result.config.get(name, "") for name in ROW))
        rows.setdefault((about.method, about.labelled), {}).setdefault(made_of, about.name)
        alike = {"settings": (about.method, about.labelled), "plan": about.labelled, "precision": ""}
        for part, among in alike.items():
            if value := result.config.get(part):
                noted.setdefault((part, among), {}).setdefault(value, about.name)
    if len(scored) > 1:
        raise SystemExit(f"{', '.join(scored.values())} were not scored on the same scans")
    for others in rows.values():
        if len(others) > 1:
            told = "; ".join(f"{name}: {', '.join(map(str, made_of))}" for made_of, name in others.items())
            raise SystemExit(f"seeds of one row differ in steps, {' or '.join(ROW)}: {told}. Give all of them anew.")
    for (part, _), others in noted.items():
        if len(others) > 1:
            told = "; ".join(f"{name}: {value}" for value, name in others.items())
            where = "seeds of one row" if part == "settings" else "combinations of one page"
            raise SystemExit(f"{where} differ in {part}: {told}. Give all of them anew, or make another page.")


def noted(result: Result, page: Page, study: Path) -> Result:
    """A study's result as a page keeps it."""
    on = result.config.get("on", page.on)
    if on != page.on:
        raise SystemExit(f"{study}: was scored on {on} scans, and {page.path} is of {page.on} scans")
    scans, plan = result.config.get("scans", {}), result.config.get("plan", {})
    trained_on = sorted((name, used) for name, used in scans.items() if not used.startswith("scored"))
    settings = result.config.get("settings")
    made_of = {
        "revision": str(result.config.get("revision", "")),
        "scans": _digest(trained_on) if scans else "",
        "settings": "" if settings is None else _digest(settings),
        "plan": _digest({key: value for key, value in plan.items() if key not in OF_A_ROW}) if plan else "",
        "precision": str(result.config.get("precision", "")),
    }
    return result.model_copy(update={"config": made_of})


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def _in_order(results: Iterable[Result], first: Sequence[str]) -> list[Result]:
    """By number of labelled scans, then methods, those of `first` before all others, then seeds."""
    found = list(results)
    methods = list(dict.fromkeys([*first, *(result.combination.method for result in found)]))

    def place(result: Result) -> tuple[int, int, int]:
        about = result.combination
        return about.labelled, methods.index(about.method), about.seed

    return sorted(found, key=place)


def _study(results: Sequence[Result], against: str, on: str) -> dict[str, Any]:
    persons = {row.case: row.person for result in results for row in result.rows}
    about = [result.combination for result in results]
    return {
        "duoseg": __version__,
        "data": {"path": "", "on": on, "cases": len(persons), "persons": len(set(persons.values()))},
        "entries": {one.method: {"method": one.method, "steps": {}, "settings": {}} for one in about},
        "labelled": sorted({one.labelled for one in about}),
        "seeds": sorted({one.seed for one in about}),
        "against": against,
        "combinations": [
            {**result.combination.model_dump(), "status": "done", "cost": result.cost.model_dump()}
            for result in results
        ],
        **summarise_study(results, against=against),
    }


def _result(combination: Combination, cost: Cost, made_of: dict[str, str], rows: Sequence[Row]) -> Result:
    entry = EntryRecord(method=combination.method, steps=cost.steps, settings={})
    return Result(combination=combination, entry=entry, config=made_of, cost=cost, rows=tuple(rows))


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
