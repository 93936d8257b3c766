"""Prepared cases on disk, in compressed chunks: a patch is read without reading the scan.

One file holds a case's image (float16), one its label (int8). A file's name carries the hash of everything
that made it: the bytes of its sources and the settings that matter. So a changed scan or setting finds no file
and is prepared anew, while an unrelated setting finds the file it wants. Files appear by rename, complete or
not at all; a digest finds those that were damaged later.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from duoseg.planning.frames import intact_metadata, open_frame, read_metadata, write_frame
from duoseg.planning.plan import Normalisation, Plan
from duoseg.planning.prepare import Placement, prepare_image, prepare_label
from duoseg.planning.reading import read_channels, read_label
from duoseg.scans.dataset import Case
from duoseg.scans.formats import read_grid
from duoseg.scans.permission import readable

FORMAT = 1  # raise it when the same sources and settings give other voxels or another layout
FOREGROUND_VOXELS = 5000
STALE_SECONDS = 3600  # no file takes so long to write
TEMPORARY = re.compile(r"\.[0-9a-f]{8}\..+\.prepared")  # the names that `atomic_path` writes ours under

Box = tuple[slice, slice, slice]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PreparedCase:
    """One case in the cache: paths and no open file, so it pickles and many threads may read at once.

    Attributes:
        name: the case's name.
        labelled: whether it has a label.
        shape: the prepared volume's shape (x, y, z).
        placement: where the prepared volume lies in its scan.
        classes: the number of foreground classes K.
        image_path: the image's file.
        label_path: the label's file, None where unlabelled.
    """

    name: str
    labelled: bool
    shape: tuple[int, int, int]
    placement: Placement
    classes: int
    image_path: Path
    label_path: Path | None = None

    def read_image(self, box: Box) -> np.ndarray:
        """Return the image within ``box``, float32 ``(C, ...)``; only blocks it touches are decompressed."""
        return np.asarray(open_frame(self.image_path)[(slice(None), *box)], dtype=np.float32)

    def read_label(self, box: Box) -> np.ndarray:
        """Return the class indices within ``box``, int8, -1 where ignored.

        Raises:
            ValueError: the case is unlabelled.
        """
        return np.asarray(open_frame(self._label_file())[box], dtype=np.int8)

    @property
    def foreground(self) -> tuple[np.ndarray, ...]:
        """Up to 5000 voxels of each class 1..K, int32 of shape ``(n, 3)`` each; read anew, not kept."""
        meta = read_metadata(self._label_file())
        return tuple(
            np.frombuffer(meta[f"foreground_{index}"], np.int32).reshape(-1, 3) for index in range(1, self.classes + 1)
        )

    def _label_file(self) -> Path:
        if self.label_path is None:
            raise ValueError(f"case {self.name} is unlabelled")
        return self.label_path


def prepare_cases(
    cases: Sequence[Case], plan: Plan, folder: Path, *, workers: int = 1, progress: Progress | None = None
) -> list[PreparedCase]:
    """Prepare every case that the cache in ``folder`` does not hold yet, and return all in the order given.

    Files there are reused if their key and digest fit, and rewritten if not; an interrupted run goes on where
    it stopped. The label of a case with ``label=None`` is never looked for. Memory holds ``workers`` scans,
    however many cases there are. ``workers`` threads share the work (reading, decompressing and resampling
    all leave the interpreter free). ``progress(done, all)`` is called after each case. What a run that was killed
    left half-written there is removed after an hour.

    Raises:
        InputError: a scan or label is not usable; the message names the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    prepared: list[PreparedCase] = []
    pool = ThreadPoolExecutor(max_workers=max(1, workers))
    try:
        for case in pool.map(lambda one: prepare_case(one, plan, folder), cases):
            prepared.append(case)
            if progress is not None:
                progress(len(prepared), len(cases))
    finally:
        pool.shutdown(cancel_futures=True)
    return prepared


def prepare_case(case: Case, plan: Plan, folder: Path) -> PreparedCase:
    """Prepare one case, or find it in the cache; see `prepare_cases`."""
    image_bytes = [hash_source(path) for path in case.images]
    image_key = _key("image", image_bytes, plan.spacing, [_rule(r) for r in plan.normalisation])
    image_path = folder / f"{case.name}.image.{image_key[:16]}.prepared"
    label_key, label_path = "", None
    if case.label is not None:
        label_bytes = hash_source(case.label)
        values = list(plan.classes.values())
        label_key = _key("label", image_bytes, plan.spacing, label_bytes, values, plan.ignore_value)
        label_path = folder / f"{case.name}.label.{label_key[:16]}.prepared"

    image_meta = intact_metadata(image_path, image_key)
    grid = None
    if image_meta is None:
        voxels, grid = read_channels(case)
        image, placement = prepare_image(voxels, grid, plan, name=str(case.images[0]))
        del voxels
        image_meta = {"placement": json.dumps(placement.to_dict()).encode()}
        write_frame(image_path, _half(image), key=image_key, meta=image_meta, patch=plan.patch)
        del image
    placement = Placement.from_dict(json.loads(image_meta["placement"]))
    if label_path is not None and intact_metadata(label_path, label_key) is None:
        voxels = read_label(case, grid or read_grid(case.images[0]))
        label = prepare_label(voxels, placement, plan, name=str(case.label))
        meta = _foreground_meta(label, len(plan.classes))
        write_frame(label_path, label, key=label_key, meta=meta, patch=plan.patch)
    return PreparedCase(
        name=case.name,
        labelled=label_path is not None,
        shape=placement.prepared,
        placement=placement,
        classes=len(plan.classes),
        image_path=image_path,
        label_path=label_path,
    )


def hash_source(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or of all of a folder's files in the order of their names.

    Raises:
        InputError: there is no permission to read a file.
    """
    files = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        with readable(file), file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def _remove_stale(folder: Path) -> None:
    """Remove half-written files of runs that were killed, and leave those that another run may be writing."""
    for path in folder.iterdir():
        if TEMPORARY.fullmatch(path.name):
            with suppress(FileNotFoundError):  # another run removed or finished it
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()


def _key(*parts: Any) -> str:
    return hashlib.sha256(json.dumps([FORMAT, *parts]).encode()).hexdigest()


def _rule(rule: Normalisation) -> dict[str, Any]:
    return rule.model_dump(mode="json", exclude={"channel"})


def _half(image: np.ndarray) -> np.ndarray:
    largest = np.finfo(np.float16).max
    return image.clip(-largest, largest).astype(np.float16)


def _foreground_meta(label: np.ndarray, classes: int) -> dict[str, bytes]:
    """Draw up to 5000 voxels a class; the draw depends on the label's voxels alone."""
    meta = {}
    for index in range(1, classes + 1):
        where = np.flatnonzero(label == index)
        if len(where) > FOREGROUND_VOXELS:
            where = np.random.default_rng(index).choice(where, FOREGROUND_VOXELS, replace=False)
        voxels = np.stack(np.unravel_index(np.sort(where), label.shape), axis=1)
        meta[f"foreground_{index}"] = voxels.astype(np.int32).tobytes()
    return meta
