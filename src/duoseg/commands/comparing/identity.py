"""Whether what lies in a study's folder is what is asked for now: nothing of another experiment is reused."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from duoseg.commands.comparing.setup import Setup
from duoseg.commands.runs import CASES, PLAN, load_plan
from duoseg.config import CONFIG, Config, load_config
from duoseg.errors import InputError
from duoseg.files import read_json
from duoseg.methods.registry import find_method
from duoseg.planning.plan import Plan
from duoseg.scans.texts import some_text
from duoseg.study.folds import On
from duoseg.study.grid import Combination
from duoseg.study.records import Result
from duoseg.training.checkpoint import differences
from duoseg.training.engine import DeviceName, resolve_precision

SHOWN = 6
SHARED = ("on", "folds", "precision", "prediction", "asked")
"""What all combinations of a study have in common."""

logger = logging.getLogger("duoseg")


def identity(
    config: Config, setup: Setup, *, on: On, folds: int | None, device: DeviceName, asked: Config
) -> dict[str, Any]:
    """What a combination's scores depend on, as plain values.

    Args:
        config: of the combination.
        setup: of its label count and fold.
        on: which scans are scored.
        folds: how many folds there are, if any.
        device: where it is computed; only its precision matters.
        asked: the study's configuration.
    """
    plan = setup.plan if config.steps is None else setup.plan.model_copy(update={"steps": config.steps})
    return {
        "on": "folds" if folds is not None else on,
        "folds": folds,
        **_of_training(config, plan, device),
        "scans": setup.scans,
        "asked": {"plan": asked.plan, "steps": asked.steps},
    }


def require_same(out: Path, wanted: Mapping[Combination, Mapping[str, Any]], done: Mapping[str, Result]) -> None:
    """Refuse to go on with combinations that were computed, or begun, with other settings or scans.

    Args:
        out: folder of the study.
        wanted: combinations with their identities.
        done: finished combinations by name.

    Raises:
        InputError: names what differs.
    """
    others = []
    for one, now in wanted.items():
        folder = out / one.name
        if one.name in done:
            changes = _changes(done[one.name].config, now)
            remedy = f"remove {folder} to compute it anew"
        elif (folder / CONFIG).is_file():
            changes = _changes(*_begun(folder, now))
            remedy = f"remove {folder} to begin it anew"
        else:
            continue
        if changes:
            others.append((folder, changes, remedy))
    if others:
        folder, changes, remedy = others[0]
        more = f" The same goes for {len(others) - 1} more." if len(others) > 1 else ""
        raise InputError(
            f"{folder}: was computed with other settings than those asked for now: {some_text(changes, SHOWN, '; ')}. "
            f"Take them back, choose another --out, or {remedy}.{more}"
        )


def fitting(results: Sequence[Result], wanted: Mapping[str, Mapping[str, Any]]) -> list[Result]:
    """Finished combinations of earlier calls that are of the same experiment; a warning names the others.

    Args:
        results: not asked for now.
        wanted: identities of combinations asked for now, by the names of the folds that they belong to.
    """
    kept, others = [], []
    for result in results:
        now = wanted.get(str(result.combination.fold))
        (kept if now is not None and not _shared_changes(result.config, now) else others).append(result)
    if others:
        names = some_text([result.combination.name for result in others], SHOWN)
        logger.warning(
            f"{names}: finished here with other settings or scans than those asked for now: not in the results."
        )
    return kept


def _of_training(config: Config, plan: Plan, device: DeviceName) -> dict[str, Any]:
    """What of an identity lies in a run's folder, too."""
    return {
        "method": config.method,
        "settings": _settings(config.method, config.methods.get(config.method, {})),
        "labelled": config.labelled,
        "seed": config.training.seed,
        "precision": resolve_precision(device, config.training.precision),
        "plan": plan.model_dump(mode="json", exclude={"reasons"}),
        "prediction": config.prediction.model_dump(mode="json"),
    }


def _settings(method: str, own: Mapping[str, Any]) -> dict[str, Any]:
    return find_method(method).Settings.model_validate(own).model_dump(mode="json")


def _begun(folder: Path, now: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A begun run and what is asked for, as far as a run's folder tells."""
    config = load_config(folder / CONFIG)
    cases = read_json(folder / CASES)
    if config.labelled is None:
        config = config.with_options(labelled=len(cases["labelled"]))
    used = {name: role for role in ("labelled", "unlabelled") for name in cases[role]}
    before = {**_of_training(config, load_plan(folder / PLAN), "auto"), "scans": used}
    before["precision"] = now["precision"] if config.training.precision == "auto" else config.training.precision
    scans = {name: role.split(",")[0] for name, role in now["scans"].items()}
    after = {key: now[key] for key in before} | {
        "scans": {name: role for name, role in scans.items() if role != "scored"}
    }
    return before, after


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    before = {key: value for key, value in _with_defaults(before).items() if key != "asked"}
    now = {key: value for key, value in now.items() if key != "asked"}
    return [f"{key} was {old!r} and is now {new!r}" for key, old, new in differences(before, now)]


def _shared_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    def shared(values: Mapping[str, Any]) -> dict[str, Any]:
        scored = {name: used for name, used in values.get("scans", {}).items() if used.startswith("scored")}
        return {**{key: values.get(key) for key in SHARED}, "scored": scored}

    return [key for key, _, _ in differences(shared(before), shared(now))]


def _with_defaults(before: Mapping[str, Any]) -> dict[str, Any]:
    """An identity as this version would write it: what earlier ones did not know has its default."""
    completed = dict(before)
    try:
        completed["plan"] = Plan.model_validate(before["plan"]).model_dump(mode="json", exclude={"reasons"})
        completed["settings"] = _settings(before["method"], before["settings"])
    except (ValueError, KeyError, TypeError):  # of a version that knew other settings: told as a difference
        return completed
    return completed
