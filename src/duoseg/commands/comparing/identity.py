"""Whether what lies in a study's folder is what is asked for now: nothing of another experiment is reused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from duoseg.commands.comparing.frozen import roles_in, roles_of
from duoseg.commands.comparing.setup import Setup
from duoseg.commands.resuming import warn_of_changed_code
from duoseg.commands.runs import ENVIRONMENT, PLAN, load_plan
from duoseg.config import CONFIG, Config, load_config
from duoseg.errors import InputError
from duoseg.files import read_json
from duoseg.methods.registry import find_method
from duoseg.planning.plan import Plan
from duoseg.scans.texts import some_text
from duoseg.study.folds import Scored
from duoseg.study.grid import Combination
from duoseg.study.records import Result
from duoseg.training.checkpoint import differences
from duoseg.training.devices import DeviceName, resolve_precision

SHOWN = 6
SHARED = ("on", "folds", "precision", "prediction")
"""What all combinations of a study have in common."""
OF_THE_STUDY = ("asked", "study_steps")
"""What a combination's own scores do not depend on beyond its plan."""


def identity(
    config: Config, setup: Setup, *, on: Scored, folds: int | None, device: DeviceName, asked: Config
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
        "on": on,
        "folds": folds,
        **_of_training(config, plan, device),
        "scans": setup.scans,
        "asked": {"plan": asked.plan, "steps": asked.steps},
        "study_steps": asked.steps or setup.plan.steps,
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
    asked = [done[one.name] for one in wanted if one.name in done]
    runs = {out / one.combination.name: (one.entry.method, one.environment or {}) for one in asked}
    for one in wanted:
        kept = out / one.name / ENVIRONMENT
        if one.name not in done and kept.is_file():
            runs[kept.parent] = (str(wanted[one]["method"]), read_json(kept))
    warn_of_changed_code(runs)
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


def require_one_study(
    out: Path,
    wanted: Mapping[Combination, Mapping[str, Any]],
    earlier: Mapping[str, tuple[Combination, Mapping[str, Any]]],
) -> None:
    """Refuse to extend a study by combinations that would not be comparable with those that it has.

    Args:
        out: folder of the study.
        wanted: combinations with their identities.
        earlier: by name, combinations that are finished or begun and not asked for now, with their identities.

    Raises:
        InputError: names what differs.
    """
    others = {}
    for name, (has, before) in earlier.items():
        changes = {text for one, now in wanted.items() for text in _odds(has, _with_defaults(before), one, now)}
        if changes:
            others[name] = sorted(changes)
    if others:
        name, changes = next(iter(others.items()))
        more = f" The same goes for {some_text(list(others)[1:], SHOWN)}." if len(others) > 1 else ""
        raise InputError(
            f"{out / name}: belongs to this study, and what is asked for now would not be comparable with it: "
            f"{some_text(changes, SHOWN, '; ')}. Take that back, choose another --out, or remove {out / name}.{more}"
        )


def _of_training(config: Config, plan: Plan, device: DeviceName) -> dict[str, Any]:
    """What of an identity lies in a run's folder, too."""
    return {
        "method": config.method,
        "revision": find_method(config.method).revision,
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
    used = roles_in(folder)
    if config.labelled is None:
        config = config.with_options(labelled=list(used.values()).count("labelled"))
    before = {**_of_training(config, load_plan(folder / PLAN), "auto"), "scans": used}
    before["revision"] = now["revision"]  # its checkpoint tells, when the training goes on
    before["precision"] = now["precision"] if config.training.precision == "auto" else config.training.precision
    return before, {key: now[key] for key in before} | {"scans": roles_of(now["scans"])}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    before = {key: value for key, value in _with_defaults(before).items() if key not in OF_THE_STUDY}
    now = {key: value for key, value in now.items() if key not in OF_THE_STUDY}
    return [f"{key} was {old!r} and is now {new!r}" for key, old, new in differences(before, now)]


def _odds(has: Combination, before: Mapping[str, Any], one: Combination, now: Mapping[str, Any]) -> list[str]:
    """What keeps an earlier combination and one that is asked for from being compared.

    The more two have in common (label count and fold; entry), the more of their identities must agree.
    """
    keys = list(SHARED)
    if (has.labelled, has.fold) == (one.labelled, one.fold):
        keys += ["scans", "plan", "study_steps"]
    elif has.fold == one.fold:
        keys += ["scans", "asked"]
    if has.method == one.method:
        keys += ["method", "revision", "settings"]
    steps = has.method == one.method and has.labelled == one.labelled
    old, new = _chosen(before, keys, steps=steps), _chosen(now, keys, steps=steps)
    if "scans" in keys and has.labelled != one.labelled:
        old["scans"], new["scans"] = _without_growth(before["scans"], now["scans"], has.labelled < one.labelled)
    if old.get("study_steps", 0) is None:  # of a version that did not note it
        new["study_steps"] = None
    return [f"{key} was {was!r} and would be {would!r}" for key, was, would in differences(old, new)]


def _chosen(values: Mapping[str, Any], keys: Sequence[str], *, steps: bool) -> dict[str, Any]:
    chosen = {key: values.get(key) for key in keys}
    if "study_steps" in chosen:
        chosen["study_steps"] = values.get("study_steps", values["asked"]["steps"])
    if "plan" in chosen and not steps:
        chosen["plan"] = {key: value for key, value in values["plan"].items() if key != "steps"}
    return chosen


def _without_growth(
    before: Mapping[str, str], now: Mapping[str, str], grows: bool
) -> tuple[dict[str, str], dict[str, str]]:
    """The scans without those that have a label with one label count and, rightly, none with the lower one."""
    fewer, more = (before, now) if grows else (now, before)
    grown = {
        name
        for name in {*fewer} & {*more}
        if fewer[name].startswith("unlabelled") and more[name].startswith("labelled")
    }
    first, second = ({name: used for name, used in each.items() if name not in grown} for each in (before, now))
    return first, second


def _with_defaults(before: Mapping[str, Any]) -> dict[str, Any]:
    """An identity as this version would write it: what earlier ones did not know has its default."""
    completed = {"revision": 1, **before}
    try:
        completed["plan"] = Plan.model_validate(before["plan"]).model_dump(mode="json", exclude={"reasons"})
        completed["settings"] = _settings(before["method"], before["settings"])
    except (ValueError, KeyError, TypeError):  # of a version that knew other settings: told as a difference
        return completed
    return completed
