"""Results of studies that nobody trained: scores drawn around a quality that each method is given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from duoseg.study.grid import Combination
from duoseg.study.records import Cost, EntryRecord, Result, Row, write_results
from duoseg.study.summary import summarise_study

STEPS = 200


def make_row(case: str, dice: float | None, *, label: str = "organ", person: str | None = None, **changes: Any) -> Row:
    values = {
        "case": case,
        "person": person or case,
        "class": label,
        "diagonal_mm": 100.0,
        "dice": dice,
        "jaccard": None if dice is None else dice / (2 - dice),
        "hd95_mm": None if dice is None else 20 * (1 - dice),
        "assd_mm": None if dice is None else 5 * (1 - dice),
        "nsd": dice,
        "volume_ml": 3.0,
        "reference_volume_ml": 3.0,
    }
    return Row.model_validate(values | changes)


def make_cost(cpu_s: float | None = 100.0, **changes: Any) -> Cost:
    values = {
        "train_wall_s": cpu_s,
        "train_cpu_s": cpu_s,
        "predict_wall_s": 2.0,
        "predict_cpu_s": 2.0,
        "peak_mib": 700.0,
        "gpu_peak_mib": None,
        "parameters": 1_400_000,
        "inference_parameters": 700_000,
        "steps": STEPS,
        "resumed": False,
    }
    return Cost.model_validate(values | changes)


def make_result(
    method: str,
    rows: Sequence[Row],
    *,
    labelled: int = 4,
    seed: int = 0,
    fold: int | None = None,
    cost: Cost | None = None,
) -> Result:
    return Result(
        combination=Combination.of(method, labelled, seed, fold),
        entry=EntryRecord(method=method, steps=STEPS, settings={"temperature": 0.5}),
        config={},
        cost=cost or make_cost(),
        rows=tuple(rows),
    )


def study_content(
    results: Sequence[Result], *, against: str, failed: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What ``study.json`` says of these results; ``failed`` maps names of combinations to errors ("" for waiting)."""
    failed = failed or {}
    methods = list(dict.fromkeys(one.combination.method for one in results))
    labelled = sorted({one.combination.labelled for one in results})
    seeds = sorted({one.combination.seed for one in results})
    done = {one.combination.name: one for one in results}
    combinations: list[dict[str, Any]] = []
    folds = sorted({one.combination.fold for one in results}, key=lambda fold: -1 if fold is None else fold)
    for combination in (Combination.of(m, n, s, f) for n in labelled for m in methods for s in seeds for f in folds):
        result, error = done.get(combination.name), failed.get(combination.name)
        if result is None and error is None:
            continue
        combinations.append(
            {
                **combination.model_dump(),
                "status": "done" if result else "failed" if error else "waiting",
                "error": error or None,
                "cost": result.cost.model_dump() if result else None,
            }
        )
    rows = [row for one in results for row in one.rows]
    return {
        "duoseg": "0.1.0",
        "environment": {"python": "3.11", "device": "cpu", "threads": 1},
        "data": {
            "path": "scans",
            "on": "test",
            "folds": None,
            "cases": len({row.case for row in rows}),
            "persons": len({row.person for row in rows}),
        },
        "config": {"file": "study.toml", "sha256": "0" * 64},
        "steps": STEPS,
        "entries": {
            method: {
                "method": method,
                "steps": {str(count): STEPS for count in labelled},
                "settings": {"temperature": 0.5},
            }
            for method in methods
        },
        "labelled": labelled,
        "seeds": seeds,
        "against": against,
        "combinations": combinations,
        **summarise_study(results, against=against),
    }


def write_study(folder: Path, content: Mapping[str, Any], results: Sequence[Result]) -> None:
    """A study's folder with its logs, as far as a page reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(json.dumps(content), encoding="utf-8")
    write_results(folder / "results.csv", results)
    for number, result in enumerate(results):
        run = folder / result.combination.name
        run.mkdir(exist_ok=True)
        noise = np.random.default_rng(number).normal(0, 0.03, STEPS)
        loss = 1.4 * np.exp(-np.arange(STEPS) / 60) + 0.3 + noise
        records = [{"step": step + 1, "loss": value, "region": value} for step, value in enumerate(loss.tolist())]
        (run / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


NAMES = (
    *("supervised", "boundary", "dtml", "mean_teacher", "ua_mt", "asd_net", "tcse", "sassnet", "duwm", "dtc"),
    *("pseudo_label", "cps", "urpc", "mc_net", "bcp"),
)


def make_field(
    methods: Sequence[str] = NAMES,
    *,
    labelled: Sequence[int] = (4, 8),
    seeds: int = 3,
    cases: int = 20,
    classes: Sequence[str] = ("anterior", "posterior"),
    missing: Sequence[str] = (),
) -> list[Result]:
    """Many methods whose quality differs a little; a few scans miss an organ. ``missing`` combinations are left out."""
    draw = np.random.default_rng(5)
    hardness = draw.normal(0, 0.03, (len(classes), cases))
    results: list[Result] = []
    for count in labelled:
        for which, method in enumerate(methods):
            quality = 0.80 + 0.012 * np.log2(count) + 0.0013 * ((which * 7) % len(methods) - 5 if which else 0)
            for seed in range(seeds):
                shift = draw.normal(0, 0.004)
                rows: list[Row] = []
                for case in range(cases):
                    for index, label in enumerate(classes):
                        score = quality + shift + hardness[index, case] + draw.normal(0, 0.012)
                        missed = draw.random() < 0.002
                        changes: dict[str, Any] = {"hd95_mm": None, "assd_mm": None} if missed else {}
                        dice = 0.0 if missed else float(np.clip(score, 0, 1))
                        person = f"person-{case // 2 if case < 4 else case}"
                        rows.append(make_row(f"scan-{case:03d}", dice, label=label, person=person, **changes))
                cost = make_cost(float(300 + 90 * ((which * 4) % 7) + draw.normal(0, 15)), peak_mib=700.0 + 20 * which)
                results.append(make_result(method, rows, labelled=count, seed=seed, cost=cost))
    return [one for one in results if one.combination.name not in missing]
