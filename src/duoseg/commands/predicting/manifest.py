"""Which masks in a folder are ours, of which scans, by which runs: ``predictions.json``.

While scans are predicted, each process appends one line a scan to a journal of its own, and adds the journal to the
list at its end: a scan costs the same beside ten others or a hundred thousand, and several processes can fill one
folder. The journal of a process that was killed is added by the next one.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
from collections.abc import Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from duoseg.errors import InputError
from duoseg.files import final_name, locked, read_json, try_lock, write_text
from duoseg.scans.cases import Problem

PREDICTIONS = "predictions.json"
PROBABILITIES, UNCERTAINTY = "probabilities", "uncertainty"
"""The folders of maps."""
WEIGHTS = "weights"
LOCK = ".predictions.lock"
JOURNALS = ".predictions-*.jsonl"
MOST_BYTES = 2**31
"""A record has about 1 kB."""

Entry = dict[str, Any]
NEEDED = ("case", "images", "mask", "volume_ml", "runs", "settings")
"""What a page needs of a record."""
USED = {"classes": dict, "runs": list}
"""What else is made use of, where a record has it."""
logger = logging.getLogger("duoseg")


class Manifest:
    """The records of a folder's masks, by case; a context that ends with all of them in ``predictions.json``.

    Args:
        folder: of the masks; made where it is not there.

    Raises:
        InputError: ``predictions.json`` cannot be read, or the folder not be written to or locked.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: IO[str] | None = None
        self._added: dict[str, Entry | None] = {}
        self._entries: dict[str, Entry] = {}

    def __enter__(self) -> Self:
        """Read the records, those of processes that were killed or are still at work among them."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise InputError(
                f"{self._folder}: no folder can be made here ({fault.strerror}); choose another --out."
            ) from fault
        with self._locked():
            self._entries = _read_list(self._folder / PREDICTIONS)
            left, live = self._journals()
            for path in left:
                records = list(_read_journal(path))
                _apply(self._entries, records)
                self._remove_unfinished({case for case, _ in records})
            if left:
                self._write()
            for path in left:
                path.unlink(missing_ok=True)
        for path in live:
            _apply(self._entries, _read_journal(path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Add the own journal to the list."""
        if self._own is None:
            return
        with self._locked():
            self._entries = _read_list(self._folder / PREDICTIONS)
            _apply(self._entries, self._added.items())
            self._write()
            Path(self._own.name).unlink(missing_ok=True)
        self._own.close()
        self._own = None

    @property
    def entries(self) -> Mapping[str, Entry]:
        """All records by case, also those of masks that are not finished."""
        return self._entries

    def get(self, case: str) -> Entry | None:
        """The record of a case's mask; None where there is none."""
        return self._entries.get(case)

    def renew(self) -> None:
        """Read what other processes, those at work among them, have recorded since."""
        with self._locked():
            self._entries |= _read_list(self._folder / PREDICTIONS)
            left, live = self._journals()
        for path in [*left, *live]:
            if self._own is None or path != Path(self._own.name):
                _apply(self._entries, _read_journal(path))

    @contextmanager
    def recorded(self, case: str, entry: Entry) -> Iterator[None]:
        """Record a mask before it is written, and take the record back where it cannot be.

        The record comes first: a mask that has none would be taken for somebody else's file. Until `complete` it does
        not say by which weights the mask was made: it could still be that of an earlier call.
        """
        before = self.get(case)
        self._add(case, {key: value for key, value in entry.items() if key != WEIGHTS})
        try:
            yield
        except (InputError, OSError):
            self._add(case, before)
            raise

    def complete(self, case: str, entry: Entry) -> None:
        """Record that all files of a case are there."""
        self._add(case, entry)

    def _add(self, case: str, entry: Entry | None) -> None:
        _apply(self._entries, [(case, entry)])
        self._added[case] = entry
        own = self._own or self._begin()
        own.write(json.dumps({"case": case, "entry": entry}) + "\n")
        own.flush()
        os.fsync(own.fileno())

    def _begin(self) -> IO[str]:
        """Make the own journal; the lock on it tells other processes that this one is still at work."""
        with self._locked():
            self._own = (self._folder / JOURNALS.replace("*", secrets.token_hex(4))).open("x", encoding="utf-8")
            fcntl.flock(self._own, fcntl.LOCK_EX)
        return self._own

    def _journals(self) -> tuple[list[Path], list[Path]]:
        """The journals of processes that are no more, and of those that are at work."""
        left, live = [], []
        for path in sorted(self._folder.glob(JOURNALS)):
            with suppress(FileNotFoundError), path.open(encoding="utf-8") as journal:
                (left if try_lock(journal) else live).append(path)
        return left, live

    def _remove_unfinished(self, cases: Set[str]) -> None:
        """Remove what a process that is no more had written half."""
        folders = (self._folder, *(self._folder / name for name in (PROBABILITIES, UNCERTAINTY)))
        for path in (path for folder in folders for path in folder.glob(".????????.*")):
            final = final_name(path)
            if final != path and not cases.isdisjoint(_beginnings(final.name)):
                path.unlink(missing_ok=True)

    def _write(self) -> None:
        write_text(self._folder / PREDICTIONS, json.dumps({"scans": list(self._entries.values())}, indent=2) + "\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the list for this process.

        Raises:
            InputError: the folder cannot be written to, or its file system has no locks.
        """
        with ExitStack() as held:
            try:
                held.enter_context(locked(self._folder / LOCK))
            except OSError as fault:
                raise InputError(
                    f"{self._folder}: cannot be written to, or not be locked ({fault.strerror}); choose another --out."
                ) from fault
            yield


def holds_predictions(folder: Path) -> bool:
    """Whether masks in a folder are ours, finished or not."""
    return (folder / PREDICTIONS).is_file() or any(folder.glob(JOURNALS))


def _beginnings(name: str) -> list[str]:
    """What comes before each dot of a file's name: one of them is its case."""
    return [name[:place] for place, letter in enumerate(name) if letter == "."]


def read_finished(folder: Path) -> dict[str, Entry]:
    """The records of the masks that are there, by case; not of those whose writing was stopped.

    Raises:
        InputError: ``predictions.json`` is no list of predictions.
    """
    path, found = folder / PREDICTIONS, dict[str, Entry]()
    for case, entry in _read_list(path).items():
        if WEIGHTS not in entry:
            continue
        missing = [name for name in NEEDED if not entry.get(name)]
        missing += ["expected_dice.modelled"] if "modelled" not in entry.get("expected_dice", {"modelled": 0}) else []
        if missing:
            raise InputError(f"{path}: the record of '{case}' has no '{missing[0]}'. Predict the scan again.")
        found[case] = entry
    return found


def known_predictions(folder: Path) -> dict[str, Entry]:
    """The records of a folder's masks, by case; none where they cannot be read, which a warning tells."""
    entries, problems = find_predictions(folder)
    for problem in problems:
        logger.warning(str(problem))
    return entries


def find_predictions(folder: Path) -> tuple[dict[str, Entry], list[Problem]]:
    """The records of a folder's masks, by case; none, and a warning, where they cannot be read.

    A file of their name is no reason to refuse masks: others may have made both.
    """
    path = folder / PREDICTIONS
    try:
        entries = _read_list(path)
        if all(isinstance(entry.get(part, kind()), kind) for entry in entries.values() for part, kind in USED.items()):
            return entries, []
    except InputError:
        pass  # what follows from that is told below
    unknown = "so that it is unknown of which classes and scans the masks beside it are"
    remedy = "bring back a copy of it, or check both yourself; where others made masks and list, all is well"
    return {}, [Problem("warning", path, f"cannot be read as a list of predictions, {unknown}", remedy)]


def _read_list(path: Path) -> dict[str, Entry]:
    if not path.is_file():
        return {}
    try:
        return {entry["case"]: entry for entry in read_json(path, limit=MOST_BYTES)["scans"]}
    except (KeyError, TypeError) as fault:
        raise InputError(
            f"{path}: is no list of predictions. Bring back a copy of it, or choose another --out folder: without it, "
            "nobody knows which of the masks beside it were predicted, and they are not replaced."
        ) from fault


def _read_journal(path: Path) -> Iterator[tuple[str, Entry | None]]:
    """The records of a journal; a last line that was not written to its end is none."""
    with suppress(FileNotFoundError), path.open(encoding="utf-8") as journal:
        for line in journal:
            try:
                record = json.loads(line)
                yield record["case"], record["entry"]
            except (ValueError, KeyError, TypeError):
                return


def _apply(entries: dict[str, Entry], records: Any) -> None:
    for case, entry in records:
        if entry is None:
            entries.pop(case, None)
        else:
            entries[case] = entry
