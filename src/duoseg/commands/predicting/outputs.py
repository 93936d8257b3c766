"""The files that a predicted scan gets, and whose files those already there are."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duoseg.commands.predicting.manifest import PROBABILITIES, UNCERTAINTY, Entry, Manifest
from duoseg.commands.predicting.states import digest_of, files_of, state_of
from duoseg.errors import InputError
from duoseg.files import StrPath, located
from duoseg.prediction.judgement import Judgement
from duoseg.prediction.model import Model
from duoseg.prediction.result import Prediction
from duoseg.scans.cases import Case
from duoseg.scans.formats import (
    OutputFormat,
    map_suffix,
    mask_suffix,
    read_scan,
    write_like,
    written_files,
)
from duoseg.scans.texts import some_text

LONGEST_CLASS = 40
"""Bytes of a class name in a file name."""
WRITTEN = "written"
"""The field of a record that tells what its mask was like: a corrected one is not replaced."""
STATE = "state"
"""The field of a record that tells what a scan's files were like."""
logger = logging.getLogger("duoseg")

DECIMALS = 3
"""Of uncertainties in a file: more of them mean nothing, and take five times the space."""


@dataclass(frozen=True)
class Outputs:
    """Where the files of scans go, and what made them.

    Attributes:
        out: the folder.
        runs: as they were named.
        model: made from them.
        format: of masks.
        weights: digests of the runs' weights.
        calibration: digest of that of the run; None where none is used.
        probabilities: whether there are maps of them, too.
        uncertainty: whether there is a map of it, too.
    """

    out: Path
    runs: Sequence[StrPath]
    model: Model
    format: OutputFormat
    weights: Sequence[str]
    calibration: str | None
    probabilities: bool
    uncertainty: bool

    def mask(self, case: Case) -> Path:
        """The mask's file; of some formats it has a second one."""
        return self.out / f"{case.name}{mask_suffix(case.images[0], self.format)}"

    def doubt(self, case: Case) -> Path:
        """The file of the uncertainty."""
        return self.out / UNCERTAINTY / f"{case.name}{map_suffix(case.images[0], self.format)}"

    def maps(self, case: Case) -> list[Path]:
        """The files of each class's probability."""
        own = [_file_safe(name) for name in ("background", *self.model.plan.classes)]
        if len({name.casefold() for name in own}) < len(own):
            own = [f"{index}_{name}" for index, name in enumerate(own)]
        ending = map_suffix(case.images[0], self.format)
        return [self.out / PROBABILITIES / f"{case.name}.{name}{ending}" for name in own]

    def write(
        self,
        case: Case,
        prediction: Prediction,
        volumes: dict[str, float],
        notes: Sequence[str],
        state: str,
        manifest: Manifest,
    ) -> Path:
        """Record a scan's mask, and write it and what goes with it; return the mask's file.

        Args:
            case: the scan.
            prediction: of it.
            volumes: class name -> millilitres.
            notes: of reading it.
            state: of its files when they were read.
            manifest: to record it in.

        Raises:
            InputError: they cannot be written.
        """
        path = self.mask(case)
        try:
            entry = self._entry(case, volumes, prediction.judgement, notes) | {STATE: state}
            self._write(case, prediction, entry, manifest)
        except OSError as fault:
            raise InputError(f"{fault.filename or path}: cannot be written ({fault.strerror or fault}).") from fault
        return path

    def _write(self, case: Case, prediction: Prediction, entry: Entry, manifest: Manifest) -> None:
        before, path = manifest.get(case.name), self.mask(case)
        with manifest.recorded(case.name, entry):
            write_like(path, prediction.mask, like=case.images[0], segments=self.model.plan.classes)
        self._remove_earlier(before, path)
        if self.probabilities:
            for index, file in enumerate(self.maps(case)):
                write_like(file, prediction.class_map(index), like=case.images[0])
        if prediction.uncertainty is not None:
            write_like(self.doubt(case), prediction.uncertainty.round(DECIMALS), like=case.images[0])
        manifest.complete(case.name, entry | {WRITTEN: digest_of(path)})

    def require_own(self, case: Case, entry: Entry | None) -> None:
        """Refuse to replace any file but those that an earlier prediction of the same scan wrote here.

        Raises:
            InputError: names the file.
        """
        mask, recorded = self.mask(case), {} if entry is None else entry
        others = [file for file in self._maps_of(case) if self._named(file) not in recorded.get("maps", ())]
        foreign = [file for one in others for file in written_files(one)]
        foreign += written_files(mask) if recorded.get("mask") != mask.name else ()
        there = [file for file in foreign if file.exists()]
        if there:
            raise InputError(
                f"{there[0]}: is already there and was not written by `duoseg predict`: choose another --out folder."
            )
        earlier = absolute(map(Path, recorded.get("images", ())))
        if recorded and earlier != absolute(case.images):
            raise InputError(
                f"{mask}: an earlier prediction made {case.name!r} here of another scan ({', '.join(earlier)}); "
                "choose another --out folder."
            )

    def require_untouched(self, entry: Entry | None, *, resume: bool) -> None:
        """Refuse to replace an earlier mask that has been changed since, as by a correction.

        Args:
            entry: the record of the mask.
            resume: whether masks that are finished are left out anyway, so that this one is not.

        Raises:
            InputError: names the file.
        """
        if entry is None or WRITTEN not in entry:
            return
        mask = self.out / Path(str(entry["mask"])).name
        if all(file.is_file() for file in written_files(mask)) and digest_of(mask) != entry[WRITTEN]:
            raise InputError(
                f"{mask}: has been changed since `duoseg predict` wrote it, as by a correction"
                + (", and its scan, the run or what was asked for is another one now" if resume else "")
                + ": move it away, or choose another --out folder"
                + ("." if resume else ", or leave out all that is done by --resume.")
            )

    def finished(self, case: Case, entry: Entry | None) -> bool:
        """Whether all files of a case are there, made in this way from the images as they are now."""
        if entry is None or any(entry.get(key) != value for key, value in self._way.items()):
            return False
        named = [self.mask(case), *self._maps_of(case)]
        if not {self._named(file) for file in named} <= {entry.get("mask"), *entry.get("maps", ())}:
            return False
        files = [file for one in named for file in written_files(one)]
        if not all(file.is_file() for file in files):
            return False
        try:
            if STATE not in entry:  # an earlier version's, by which it is newer than the images
                images = max(file.stat().st_mtime_ns for file in files_of(case))
                return images < min(file.stat().st_mtime_ns for file in files)
            if entry[STATE] != state_of(case):
                return False
            if digest_of(named[0]) != entry.get(WRITTEN):  # corrected, or damaged
                read_scan(named[0])
            return True
        except (InputError, OSError):  # whoever reads the scan, or is to replace the mask, says what is wrong
            return False

    @property
    def _way(self) -> dict[str, Any]:
        """What makes a mask what it is; weights by their content, since a run can be trained anew in its folder."""
        way = {"weights": list(self.weights), "settings": self.model.settings.model_dump()}
        return {**way, "calibration": self.calibration} if self.uncertainty else way

    def _entry(self, case: Case, volumes: dict[str, float], judgement: Judgement | None, notes: Sequence[str]) -> Entry:
        """One scan's record in ``predictions.json``."""
        return {
            "case": case.name,
            "images": absolute(case.images),
            "mask": self.mask(case).name,
            "maps": [self._named(file) for file in self._maps_of(case)],
            "classes": self.model.plan.classes,
            "volume_ml": volumes,
            **({} if judgement is None else judgement.to_json()),
            "notes": list(notes),
            "runs": [located(run) for run in self.runs],
            **self._way,
        }

    def _maps_of(self, case: Case) -> list[Path]:
        """The files of all maps that go with a mask."""
        return [*(self.maps(case) if self.probabilities else ()), *([self.doubt(case)] if self.uncertainty else ())]

    def _named(self, file: Path) -> str:
        """A file as records name it."""
        return file.relative_to(self.out).as_posix()

    def _remove_earlier(self, entry: Entry | None, mask: Path) -> None:
        """Remove the maps of an earlier prediction of the same scan, and its mask where that had another format."""
        if entry is None:
            return
        earlier = str(entry.get("mask"))
        if earlier != mask.name and Path(earlier).name == earlier:
            for file in set(written_files(self.out / earlier)) - set(written_files(mask)):
                file.unlink(missing_ok=True)
        for file in (file for one in maps_of(self.out, entry) for file in written_files(one)):
            file.unlink(missing_ok=True)


def maps_of(folder: Path, entry: Entry) -> list[Path]:
    """The files of maps that a record names: those of probabilities, and of the uncertainty."""
    names = [Path(str(name)) for name in entry.get("maps", ())]
    return [folder / name for name in names if name.parent.as_posix() in (PROBABILITIES, UNCERTAINTY)]


def layers_of(folder: Path, entries: Iterable[Entry]) -> dict[str, Path | None]:
    """The uncertainty of each mask by case, where all of them have one: scans that are shown have the same layers."""
    found = {entry["case"]: uncertainty_of(folder, entry) for entry in entries}
    without = [case for case, file in found.items() if file is None]
    if without and len(without) < len(found):
        logger.warning("uncertainty is not shown, since %s have none; predict them again with it", some_text(without))
    return dict.fromkeys(found) if without else found


def uncertainty_of(folder: Path, entry: Entry) -> Path | None:
    """The file of a mask's uncertainty; None where there is none."""
    return next((file for file in maps_of(folder, entry) if file.parent.name == UNCERTAINTY and file.is_file()), None)


def absolute(images: Iterable[Path]) -> list[str]:
    """Image files as records name them: the next call may start in another folder."""
    return [located(image) for image in images]


def _file_safe(name: str) -> str:
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
    return safe.encode()[:LONGEST_CLASS].decode(errors="ignore")
