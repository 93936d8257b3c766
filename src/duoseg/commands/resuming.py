"""Going on with a run exactly as it began: what it is made of, and refusing whatever has changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from duoseg.commands.runs import ENVIRONMENT, ORIGIN, environment, origin_of, with_all_settings, write_json
from duoseg.config import Config
from duoseg.errors import InputError
from duoseg.files import StrPath, located, read_json
from duoseg.methods.registry import CODES_APART, code_of, find_method
from duoseg.planning.cache import FORMAT, PreparedCase
from duoseg.planning.plan import Plan
from duoseg.training.checkpoint import refuse_another_version, refuse_changes

logger = logging.getLogger("duoseg")

METHOD_CODE = "method_code"
"""In a run's ``environment.json``: the digest of the method's file; several where it went on with others."""


def origin_asked_for(start_from: StrPath | None, plan: Plan, *, resumed: Path | None) -> dict[str, Any] | None:
    """What a new run keeps of the one that it begins with; a run that goes on must have begun with the same.

    Args:
        start_from: the folder that was asked for; None where none was.
        plan: of the run.
        resumed: the run's folder where it goes on, which needs no weights but its own.

    Raises:
        InputError: it is no run, its weights mean other things, or another one than that with which the run began.
    """
    if start_from is None:
        return None
    if resumed is None:
        return origin_of(Path(start_from), plan)
    before = read_json(resumed / ORIGIN).get("from") if (resumed / ORIGIN).is_file() else None
    if before != located(start_from):
        began = f"with the weights of {before}" if before else "with weights of its own"
        raise InputError(f"{resumed}: began {began}, so it cannot go on with those of {start_from}; leave out --from.")
    return None


def warn_of_changed_code(runs: Mapping[Path, tuple[str, Mapping[str, Any]]]) -> None:
    """Log, once a method, where a run was trained with other code of it than there is now and the same revision.

    Args:
        runs: by folder, the name of the method and the run's environment.
    """
    now = {method: code_of(method) for method in {method for method, _ in runs.values()}}
    changed: dict[str, Path] = {}
    for run, (method, before) in runs.items():
        if before.get(METHOD_CODE, now[method]) != now[method]:
            changed.setdefault(method, run)
    for method, run in changed.items():
        logger.warning(
            f"{run}: was trained with other code of the method '{method}' than there is now, by its revision the same. "
            "Where it learns otherwise now, raise its revision, and train anew."
        )


def note_environment(run: Path, method: str, device: str, *, resumed: bool) -> None:
    """Write where a run is trained now, with the digest of the method's code.

    A run that goes on with other code is told in the log, and has the digests of both.
    """
    before = read_json(run / ENVIRONMENT) if resumed and (run / ENVIRONMENT).is_file() else {}
    if before:
        warn_of_changed_code({run: (method, before)})
    code = code_of(method)
    begun = before.get(METHOD_CODE) or code
    code = begun if code in begun.split(CODES_APART) else begun + CODES_APART + code
    write_json(run / ENVIRONMENT, {**environment(device, torch.get_num_threads()), METHOD_CODE: code})


def settings_identity(settings: Config, plan: Plan, precision: str) -> dict[str, Any]:
    """What a resumed run must share: not how often it saves, how it will predict, nor what a study compares it with."""
    own = {"prediction": True, "entries": True, "training": {"checkpoint_seconds"}}
    config = settings.model_dump(mode="json", exclude=own)
    return {
        "config": config,
        "revision": find_method(settings.method).revision,
        "plan": plan.model_dump(mode="json", exclude={"reasons"}),
        "precision": precision,
    }


def scans_identity(cases: Sequence[PreparedCase]) -> dict[str, Any]:
    """The cache files of each scan, whose names carry a hash of its content and of how it is prepared."""
    contents = {f"image of {case.name}": case.image_path.name for case in cases}
    contents |= {f"label of {case.name}": case.label_path.name for case in cases if case.label_path}
    return {"contents": contents, "cache_format": FORMAT}


def _completed(before: Mapping[str, Any]) -> dict[str, Any]:
    """An identity as this version would write it: earlier ones left out defaults, and knew one revision only."""
    completed = {"revision": 1, **before}
    try:
        completed["plan"] = Plan.model_validate(before["plan"]).model_dump(mode="json", exclude={"reasons"})
        config = with_all_settings(Config.model_validate({**before["config"], "entries": {}}))
        completed["config"] = {**before["config"], "methods": config.methods}
    except (InputError, ValueError, KeyError, TypeError):  # of settings that there are no more: told as a difference
        return completed
    return completed


@dataclass(frozen=True)
class Beginning:
    """What a run began as.

    Attributes:
        folder: of the run.
        identity: as its checkpoint has it.
    """

    folder: Path
    identity: dict[str, Any]

    def require_same(self, now: dict[str, Any]) -> None:
        """Refuse to go on as something else.

        Args:
            now: `settings_identity`, with or without `scans_identity`: settings can be compared before the work of
                preparing scans.

        Raises:
            InputError: names what differs.
        """
        before = _completed(self.identity)
        methods = [{"config": {"method": identity["config"]["method"]}} for identity in (before, now)]
        refuse_changes(*methods)  # first: with another method all that belongs to it differs, too
        refuse_another_version(
            self.folder,
            before,
            cache_format=FORMAT,
            revision=now["revision"],
            contents=now.get("contents"),
        )
        before["cache_format"] = FORMAT  # compared above, and not noted by earlier versions
        refuse_changes({key: before.get(key) for key in now}, now)
