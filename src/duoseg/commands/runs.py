"""A run's folder: what lies in it, and how to open it."""

from __future__ import annotations

import json
import logging
import math
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from duoseg.config import CONFIG, Config, load_config, parse
from duoseg.errors import InputError
from duoseg.files import StrPath, located, read_json, write_text
from duoseg.methods._contract import require_whole
from duoseg.methods.base import Method, Settings
from duoseg.methods.registry import find_method
from duoseg.model.networks import NetworkFactory
from duoseg.planning.plan import Plan
from duoseg.prediction.model import Model, PredictionSettings
from duoseg.scans.dataset import Dataset
from duoseg.scans.description import require_channels, require_classes
from duoseg.scans.limits import memory_limit
from duoseg.scans.texts import shape_text
from duoseg.training.checkpoint import WEIGHTS, load_weights
from duoseg.training.devices import DeviceName
from duoseg.version import __version__

logger = logging.getLogger("duoseg")

PLAN = "plan.json"
CASES = "cases.json"
ENVIRONMENT = "environment.json"
ORIGIN = "origin.json"
"""Of a run that began with another's weights."""

FLOAT_BYTES = 4
GIB = 2**30
MOST_LEVELS = 16
MOST_STEPS = 10**9


class TooLarge(InputError):
    """A plan needs more memory than this machine has even when all of it is free."""


def load_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        InputError: the file is missing, too large, no JSON, or no plan; unknown keys are named.
    """
    return parse(Plan, read_json(path), source=str(path))


def require_plan_of(dataset: Dataset, plan: Plan, of: StrPath) -> None:
    """Refuse a plan, that of ``of``, for other channels or classes than a data set declares; ``InputError``."""
    require_channels(dataset.channels, plan.channels, dataset.place, str(of))
    require_classes(dataset.classes, plan.classes, dataset.place, str(of))


def save_plan(path: Path, plan: Plan) -> None:
    """Write a plan as readable JSON."""
    write_json(path, plan.model_dump(mode="json"))


def write_json(path: Path, values: Any) -> None:
    """Write values as indented JSON, atomically."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def origin_of(start_from: Path, plan: Plan) -> dict[str, Any]:
    """What a run of a plan keeps of the one whose weights it begins with: ``from``, and the ``steps`` that are in them.

    Raises:
        InputError: it is no run, or of other channels or classes: weights of as many would fit, and mean others.
    """
    earlier = load_plan(require_file(start_from, PLAN))
    for part in ("channels", "classes"):
        before, now = [*getattr(earlier, part)], [*getattr(plan, part)]
        if before != now:
            raise InputError(
                f"{start_from}: its {part} are {', '.join(before)}, those of this plan {', '.join(now)}; --from needs "
                "the same, in the same order."
            )
    for part in ("spacing", "normalisation"):
        if getattr(earlier, part) != getattr(plan, part):
            logger.warning(f"{start_from}: its plan has another {part}, so that its networks saw scans otherwise.")
    return {"from": located(start_from), "steps": earlier.steps + steps_before(start_from)}


def labelled_scans_of(runs: Iterable[StrPath]) -> dict[str, set[str]]:
    """The names of the scans that runs were trained on with their annotations, as far as the runs are still there."""
    used: dict[str, set[str]] = {}
    for run in {str(run) for run in runs}:
        try:
            used[run] = {str(name) for name in read_json(Path(run) / CASES)["labelled"]}
        except (InputError, KeyError, TypeError):
            used[run] = set()
    return used


def steps_before(run: Path) -> int:
    """The steps that were in a run's weights when it began."""
    return int(read_json(run / ORIGIN)["steps"]) if (run / ORIGIN).is_file() else 0


def build_method(config: Config, plan: Plan) -> Method:
    """A fresh method for a plan; its weights come from torch's global generator.

    Raises:
        InputError: a method that is named or one of its settings is unknown, the patch does not fit the network, or a
            number is absurd.
        TooLarge: network or patches cannot fit into this machine's memory.
    """
    settings = require_known_settings(config)
    require_countable(plan)
    networks = NetworkFactory(plan.network, in_channels=len(plan.channels), classes=len(plan.classes), patch=plan.patch)
    require_holdable(plan, networks)
    method = find_method(config.method)(networks, settings[config.method])
    require_whole(method)
    return method


def require_countable(plan: Plan) -> None:
    """Refuse a plan with levels or steps that no machine could carry out.

    Raises:
        InputError: a number is absurd.
    """
    if len(plan.network.channels) > MOST_LEVELS or min(plan.network.channels) < 1 or plan.steps > MOST_STEPS:
        raise InputError(
            f"The plan asks for {len(plan.network.channels)} levels and {plan.steps:.3g} steps; at most {MOST_LEVELS} "
            f"and {MOST_STEPS:.3g} can be carried out, and every level needs a channel."
        )


def require_holdable(plan: Plan, networks: NetworkFactory) -> None:
    """Refuse, before anything is allocated, a plan that this machine's memory cannot hold.

    Counted is the least that a step needs: the patches with the first level's features, and the weights of one network.

    Raises:
        TooLarge: the patches or the weights alone need more than this machine's memory.
        InputError: the network has more channels than can be counted.
    """
    limit = memory_limit()
    features = FLOAT_BYTES * math.prod(plan.patch) * (len(plan.channels) + plan.network.channels[0])
    patches = (plan.batch.labelled + plan.batch.unlabelled) * features
    if patches > limit:
        raise TooLarge(
            f"The plan's patches of {shape_text(plan.patch)} voxels take {patches / GIB:.3g} GiB of memory in each "
            f"step, and this machine has {limit / GIB:.3g} GiB; use smaller or fewer patches, or fewer channels."
        )
    try:
        with torch.device("meta"):  # sizes without storage
            weights = FLOAT_BYTES * sum(weight.numel() for weight in networks.region().parameters())
    except (RuntimeError, OverflowError, TypeError) as fault:  # beyond what torch counts with
        raise InputError(
            f"The plan's network cannot be built: {plan.network.channels} channels are too many."
        ) from fault
    if weights > limit:
        raise TooLarge(
            f"The plan's network takes {weights / GIB:.3g} GiB of memory for its weights alone, and this machine has "
            f"{limit / GIB:.3g} GiB; use fewer channels or levels."
        )


def require_known_settings(config: Config) -> dict[str, Settings]:
    """The settings of every method that a configuration names, and of the one it uses.

    Raises:
        InputError: a method or one of its settings is unknown, or a value is wrong.
    """
    return {
        name: parse(find_method(name).Settings, values, source=f"[methods.{name}]")
        for name, values in {config.method: {}, **config.methods}.items()
    }


def with_all_settings(config: Config) -> Config:
    """The configuration with every setting of the methods that it names: their defaults may change, a run may not.

    Raises:
        InputError: a method or one of its settings is unknown, or a value is wrong.
    """
    known = {
        name: own.model_dump(mode="json", exclude_none=True) for name, own in require_known_settings(config).items()
    }
    return config.model_copy(update={"methods": {name: values for name, values in known.items() if values}})


def load_model(*runs: StrPath, settings: PredictionSettings | None = None, device: DeviceName = "auto") -> Model:
    """The model of one run, or of several as an ensemble; it knows of no calibration.

    Args:
        runs: run folders; their plans must prepare scans alike.
        settings: prediction settings; the first run's own where absent.
        device: where to compute.

    Raises:
        InputError: a folder holds no trained run, or the runs' plans differ in what prediction depends on.
    """
    if not runs:
        raise InputError("There is no run to load: give the folder of one.")
    folders = [Path(run) for run in runs]
    plans, methods = [], []
    first = load_config(require_file(folders[0], CONFIG))
    for folder in folders:
        plan = load_plan(require_file(folder, PLAN))
        method = build_method(load_config(require_file(folder, CONFIG)), plan)
        load_weights(require_file(folder, WEIGHTS), method)
        plans.append(plan)
        methods.append(method)
    for folder, plan in zip(folders[1:], plans[1:], strict=True):
        for part in ("channels", "classes", "spacing", "patch", "normalisation", "window", "augmentation.mirror_axes"):
            if _ordered(attrgetter(part)(plan)) != _ordered(attrgetter(part)(plans[0])):
                raise InputError(
                    f"{folder}: its plan has another '{part}' than {folders[0]}: their predictions cannot be averaged. "
                    "Train both with the same --plan."
                )
    return Model(plans[0], methods, settings=settings or first.prediction, device=device)


def _ordered(value: Any) -> Any:
    """A value to compare; the order of classes is that of the networks' channels."""
    return list(value.items()) if isinstance(value, Mapping) else value


def environment(device: str, threads: int) -> dict[str, Any]:
    """What a run was computed with: versions, machine, device."""
    packages = ("torch", "numpy", "scipy", "nibabel", "blosc2", "lightning-fabric")
    return {
        "duoseg": __version__,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "device": device,
        "threads": threads,
    }


def require_file(folder: Path, name: str) -> Path:
    """The path of a run's file.

    Raises:
        InputError: the folder does not have it, so it holds no finished run.
    """
    path = folder / name
    if not path.is_file():
        raise InputError(
            f"{folder}: is not a finished run, since it has no {name}. Give a folder that `duoseg train --out` wrote, "
            f"put its {name} back, or finish its training by --resume."
        )
    return path
