"""Prepared cases on disk, in compressed chunks: a patch is read without reading the scan.

One file holds a case's image (float16), one its label (int8). A file's name carries the hash of everything
that made it: the bytes of its sources and the settings that matter. So a changed scan or setting finds no file
and is prepared anew, while an unrelated setting finds the file it wants. Files appear by rename, complete or
not at all; a digest finds those that were damaged later. Hashes and digests are looked at again only when a file has
changed, so that a start among thousands of scans reads no voxel of them. What an intact file says of itself is believed
only where it is possible, since a cache folder may have come from elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from duoseg.files import readable
from duoseg.planning.frames import holds_array, is_intact, metadata_of, open_frame, read_metadata, write_frame
from duoseg.planning.known import Known
from duoseg.planning.plan import Normalisation, Plan
from duoseg.planning.prepare import Placement, prepare_image, prepare_label
from duoseg.planning.reading import read_channels, read_label
from duoseg.scans.dataset import Case
from duoseg.scans.formats import read_grid, source_files
from duoseg.scans.segments import with_ignored
from duoseg.scans.side_by_side import Room, in_threads, voxels_to_hold

FORMAT = 3  # raise it when the same sources and settings give other voxels or another layout
SHEARED_FORMAT = 1  # the same, where it is sheared scans alone that come out otherwise
FOREGROUND_VOXELS = 5000
VOXEL_BYTES = 12  # three indices of 32 bits
STALE_SECONDS = 3600  # no file takes so long to write
PREPARING_BYTES = 24  # of a voxel, before or after resampling, whichever has more of them; measured
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
    cases: Sequence[Case],
    plan: Plan,
    folder: Path,
    *,
    workers: int = 1,
    neighbours: int = 1,
    progress: Progress | None = None,
) -> list[PreparedCase]:
    """Prepare every case that the cache in ``folder`` does not hold yet, and return all in the order given.

    Files there are reused if their key and digest fit, and rewritten if not; an interrupted run goes on where
    it stopped. The label of a case with ``label=None`` is never looked for. ``workers`` threads share the work
    (reading, decompressing and resampling all leave the interpreter free), each with one scan in memory, as far as
    there is room; ``neighbours`` processes of this machine do the same at the same time. ``progress(done, all)`` is
    called after each case. What a run that was killed left half-written there is removed after an hour.

    Raises:
        InputError: a scan or label is not usable; the message names the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    prepared: list[PreparedCase] = []
    room = Room(parts=neighbours) if workers * neighbours > 1 else None
    with Known(folder) as known:
        for case in in_threads(lambda one: prepare_case(one, plan, folder, known, room), cases, threads=workers):
            prepared.append(case)
            if progress is not None:
                progress(len(prepared), len(cases))
    return prepared


def prepare_case(case: Case, plan: Plan, folder: Path, known: Known, room: Room | None = None) -> PreparedCase:
    """Prepare one case, or find it in the cache; see `prepare_cases`.

    Args:
        case: to be prepared.
        plan: how.
        folder: the cache.
        known: what is known of files.
        room: memory that those who prepare side by side share.
    """
    files = [source_files(path) for path in case.images]
    image_bytes = [_known_hash(path, own, known) for path, own in zip(case.images, files, strict=True)]
    how = [SHEARED_FORMAT] if _is_sheared(case.images[0], files[0], known) else []
    image_key = _key("image", image_bytes, plan.spacing, [_rule(r) for r in plan.normalisation], *how)
    image_path = folder / f"{case.name}.image.{image_key[:16]}.prepared"
    label_key, label_path = "", None
    if case.label is not None:
        label_bytes = known_hash(case.label, known)
        classes = list(plan.classes.items())  # names, too: a label may tell its values by them
        label_key = _key("label", image_bytes, plan.spacing, label_bytes, classes, plan.ignore_value, *how)
        label_path = folder / f"{case.name}.label.{label_key[:16]}.prepared"

    placement = _held_placement(image_path, image_key, known, channels=len(case.images))
    grid = None
    if placement is None:
        with room.taken(_bytes_to_prepare(case, plan)) if room else nullcontext():
            voxels, grid = read_channels(case)
            image, placement = prepare_image(voxels, grid, plan, name=str(case.images[0]))
            del voxels
            meta = {"placement": json.dumps(placement.to_dict()).encode()}
            write_frame(image_path, _half(image), key=image_key, meta=meta, patch=plan.patch)
            del image
    if label_path is not None and not _holds_label(
        label_path, label_key, known, shape=placement.prepared, classes=len(plan.classes)
    ):
        with room.taken(_bytes_to_prepare(case, plan)) if room else nullcontext():
            voxels = read_label(case, grid or read_grid(case.images[0]), with_ignored(plan.classes, plan.ignore_value))
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


def _bytes_to_prepare(case: Case, plan: Plan) -> int:
    """About how much memory it takes."""
    return PREPARING_BYTES * sum(voxels_to_hold(image, spacing=plan.spacing) for image in case.images)


def hash_source(path: Path) -> str:
    """Return the SHA-256 of a scan's bytes: of its file, or of all of its files in their order.

    Raises:
        InputError: a file is missing, or there is no permission to read it.
    """
    total = hashlib.sha256()
    for file in source_files(path):
        with readable(file), file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def known_hash(path: Path, known: Known) -> str:
    """`hash_source` of a scan that has not changed since it was last hashed, without reading it."""
    return _known_hash(path, source_files(path), known)


def _known_hash(path: Path, files: Sequence[Path], known: Known) -> str:
    return known.recall("sha256", files, lambda: hash_source(path), parse=_hexadecimal)


def _is_sheared(path: Path, files: Sequence[Path], known: Known) -> bool:
    """Whether a scan is sheared, from its header; where it has not changed since, without reading that."""
    return known.recall("sheared", files, lambda: read_grid(path).is_sheared, parse=bool)


def _hexadecimal(kept: Any) -> str:
    if len(bytes.fromhex(kept)) != hashlib.sha256().digest_size:
        raise ValueError(f"{kept} is no SHA-256")
    return kept


def _intact_metadata(path: Path, key: str, known: Known) -> dict[str, bytes] | None:
    """Return a cached file's metadata, or None if the file is missing, damaged or another's."""
    intact = known.recall("intact", [path], lambda: is_intact(path), parse=bool)
    return metadata_of(path, key) if intact else None


def _held_placement(path: Path, key: str, known: Known, *, channels: int) -> Placement | None:
    """Return the placement of a prepared image that the cache holds; None where it must be made (again)."""
    meta = _intact_metadata(path, key, known)
    if meta is None:
        return None
    try:
        placement = Placement.from_dict(json.loads(meta["placement"]))
        possible = _is_possible(placement)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    if not possible or not holds_array(path, (channels, *placement.prepared), np.dtype(np.float16)):
        return None
    return placement


def _is_possible(placement: Placement) -> bool:
    if sorted(placement.permutation) != [0, 1, 2] or len(placement.flips) != 3 or len(placement.prepared) != 3:
        return False
    sides = [placement.shape[axis] for axis in placement.permutation]
    inside = all(0 <= first < last <= side for (first, last), side in zip(placement.crop, sides, strict=True))
    return inside and all(isinstance(side, int) and side > 0 for side in (*placement.shape, *placement.prepared))


def _holds_label(path: Path, key: str, known: Known, *, shape: Sequence[int], classes: int) -> bool:
    meta = _intact_metadata(path, key, known)
    if meta is None or not holds_array(path, shape, np.dtype(np.int8)):
        return False
    for index in range(1, classes + 1):
        voxels = meta.get(f"foreground_{index}", b"-")
        if len(voxels) % VOXEL_BYTES or len(voxels) > FOREGROUND_VOXELS * VOXEL_BYTES:
            return False
        where = np.frombuffer(voxels, np.int32).reshape(-1, 3)
        if ((where < 0) | (where >= np.array(shape))).any():
            return False
    return True


def _remove_stale(folder: Path) -> None:
    """Remove half-written files of runs that were killed, and leave those that another run may be writing."""
    for path in folder.iterdir():
        if TEMPORARY.fullmatch(path.name):
            with suppress(OSError):  # another run removed or finished it, or the cache is only to be read
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
