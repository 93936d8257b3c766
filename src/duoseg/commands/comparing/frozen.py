"""The scans of a study as its trainings get them: listed in tables of their own, and compared by their contents."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from duoseg.commands.runs import CASES, write_json
from duoseg.errors import InputError
from duoseg.files import atomic_path, read_json
from duoseg.planning.cache import known_hash
from duoseg.planning.known import Known
from duoseg.planning.plan import Plan
from duoseg.scans.cases import Case
from duoseg.scans.dataset import Split, load_dataset
from duoseg.scans.texts import some_text
from duoseg.training.checkpoint import differences


def scans_of(split: Split, scored: Sequence[Case], content: Callable[[Path], str]) -> dict[str, str]:
    """For each case what it is used for, and a hash of what is read of it.

    Args:
        split: the training cases.
        scored: the others.
        content: the hash of a file.
    """
    roles = (("labelled", split.labelled), ("unlabelled", split.unlabelled), ("scored", scored))
    return {case.name: f"{role}, content {_content(case, content)}" for role, cases in roles for case in cases}


def roles_of(scans: Mapping[str, str]) -> dict[str, str]:
    """For each training case of `scans_of` whether it is ``labelled`` or ``unlabelled``."""
    roles = {name: used.split(",")[0] for name, used in scans.items()}
    return {name: role for name, role in roles.items() if role != "scored"}


def roles_in(run: Path) -> dict[str, str]:
    """The same of the cases that a run in that folder was trained on."""
    trained = read_json(run / CASES)
    return {name: role for role in ("labelled", "unlabelled") for name in trained[role]}


def write_table(path: Path, cases: Sequence[Case], plan: Plan, *, side: Literal["train", "test"]) -> None:
    """Write scans as a data set of its own: a table, their order, and a description that names the classes.

    Raises:
        InputError: a scan cannot be listed so.
    """
    channels = range(2, len(plan.channels) + 1)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "image", *(f"image_{number}" for number in channels), "label", "split", "subject"])
        for case in cases:
            files = [*map(_absolute, case.images), "" if case.label is None else _absolute(case.label)]
            writer.writerow([case.name, *files, side, case.subject if case.subject_given else ""])
    labels = {"background": 0, **plan.classes}
    if plan.ignore_value is not None:
        labels["ignore"] = plan.ignore_value
    names = {str(number): channel for number, channel in enumerate(plan.channels)}
    write_json(path.with_name("dataset.json"), {"channel_names": names, "labels": labels})
    write_json(path.with_name("splits.json"), {side: [case.name for case in cases]})
    load_dataset(path)  # tells now what training and predicting would refuse


def require_unchanged(run: Path, split: Split, scored: Sequence[Case], asked: Mapping[str, str], cache: Path) -> None:
    """Refuse the result of other scans than those that it would be recorded with.

    Args:
        run: its folder.
        split: the scans that it was trained on.
        scored: the scans that it is scored on.
        asked: what they were when the study was started.
        cache: where prepared scans lie, and what is known of files.

    Raises:
        InputError: names the scans that have changed, or that the training did not have.
    """
    with Known(cache) as known:
        now = scans_of(split, scored, lambda path: known_hash(path, known))
    changed = [*differences(roles_of(asked), roles_in(run)), *differences(asked, now)]
    if changed:
        names = some_text(list(dict.fromkeys(name for name, _, _ in changed)))
        raise InputError(
            f"{run}: scans have changed since the study was started: {names}. Its result is not taken; put the scans "
            f"back, or remove {run} and start the same command again."
        )


def _absolute(path: Path) -> str:
    return str(path.absolute())


def _content(case: Case, content: Callable[[Path], str]) -> str:
    return hashlib.sha256("".join(map(content, case.files)).encode()).hexdigest()[:16]
