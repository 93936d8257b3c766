"""A run's folder: what lies in it, and how to open it."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Any

from duoseg.config import CONFIG, Config, load_config, parse
from duoseg.errors import InputError
from duoseg.files import StrPath, write_text
from duoseg.methods.base import Method, Settings
from duoseg.methods.registry import find_method
from duoseg.model.networks import NetworkFactory
from duoseg.planning.plan import Plan
from duoseg.prediction.model import Model, PredictionSettings
from duoseg.training.checkpoint import WEIGHTS, load_weights
from duoseg.training.engine import DeviceName
from duoseg.version import __version__

PLAN = "plan.json"
CASES = "cases.json"
ENVIRONMENT = "environment.json"


def load_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        InputError: the file is missing, no JSON, or no plan; unknown keys are named.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise InputError(f"{path}: cannot be read ({fault.strerror}).") from fault
    except ValueError as fault:
        raise InputError(f"{path}: is not valid JSON: {fault}.") from fault
    return parse(Plan, values, source=str(path))


def save_plan(path: Path, plan: Plan) -> None:
    """Write a plan as readable JSON."""
    write_json(path, plan.model_dump(mode="json"))


def write_json(path: Path, values: Any) -> None:
    """Write values as indented JSON, atomically."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def build_method(config: Config, plan: Plan) -> Method:
    """A fresh method for a plan; its weights come from torch's global generator.

    Raises:
        InputError: a method that is named or one of its settings is unknown, or the patch does not fit the network.
    """
    settings = require_known_settings(config)
    networks = NetworkFactory(plan.network, in_channels=len(plan.channels), classes=len(plan.classes), patch=plan.patch)
    return find_method(config.method)(networks, settings[config.method])


def require_known_settings(config: Config) -> dict[str, Settings]:
    """The settings of every method that a configuration names, and of the one it uses.

    Raises:
        InputError: a method or one of its settings is unknown, or a value is wrong.
    """
    return {
        name: parse(find_method(name).Settings, values, source=f"[methods.{name}]")
        for name, values in {config.method: {}, **config.methods}.items()
    }


def load(*runs: StrPath, settings: PredictionSettings | None = None, device: DeviceName = "auto") -> Model:
    """Load one run, or several as an ensemble, to predict scans in memory.

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
            if attrgetter(part)(plan) != attrgetter(part)(plans[0]):
                raise InputError(
                    f"{folder}: its plan has another '{part}' than {folders[0]}: their predictions cannot be averaged. "
                    "Train both with the same --plan."
                )
    return Model(plans[0], methods, settings=settings or first.prediction, device=device)


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
            f"{folder}: is not a finished run, since it has no {name}. Give a folder that `duoseg train --out` wrote."
        )
    return path
