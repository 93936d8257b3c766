"""Prepared cases on disk, in compressed chunks: a patch is read without reading the scan.

One file holds a case's image (float16), one its label (int8): a SHA-256 digest and, behind it, a blosc2
frame. A file's name carries the hash of everything that made
it: the bytes of its sources and the settings that matter. So a changed scan or setting finds no file and is
    prepared anew,
while an unrelated setting finds the file it wants. Files appear by rename, complete or not at all; the digest
finds those that were damaged later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

from duoseg.files import atomic_path
from duoseg.planning.plan import Normalisation, Plan
from duoseg.planning.prepare import Placement, prepare_image, prepare_label
from duoseg.planning.reading import read_channels, read_label
from duoseg.scans.dataset import Case

FORMAT = 1  # raise it when the same sources and settings give other voxels or another layout
FOREGROUND_VOXELS = 5000
DIGEST_BYTES = 32  # SHA-256 of the rest of the file, at its start
BLOCK_SIDE = 32  # a block is what is decompressed at once

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
        return np.asarray(_open(self.image_path)[(slice(None), *box)], dtype=np.float32)

    def read_label(self, box: Box) -> np.ndarray:
        """Return the class indices within ``box``, int8, -1 where ignored.

        Raises:
            ValueError: the case is unlabelled.
        """
        return np.asarray(_open(self._label_file())[box], dtype=np.int8)

    @property
    def foreground(self) -> tuple[np.ndarray, ...]:
        """Up to 5000 voxels of each class 1..K, int32 of shape ``(n, 3)`` each; read anew, not kept."""
        meta = _metadata(self._label_file())
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
    all leave the interpreter free). ``progress(done, all)`` is called after each case.

    Raises:
        InputError: a scan or label is not usable; the message names the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
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

    image_meta = _intact_meta(image_path, image_key)
    label_meta = _intact_meta(label_path, label_key) if label_path is not None else {}
    if image_meta is None or label_meta is None:
        voxels, grid = read_channels(case)
        image, placement = prepare_image(voxels, grid, plan, name=str(case.images[0]))
        del voxels
        image_meta = {"placement": json.dumps(placement.to_dict()).encode()}
        _write(image_path, _half(image), image_key, image_meta, plan)
        if label_meta is None and label_path is not None:
            label = prepare_label(read_label(case, grid), placement, plan, name=str(case.label))
            _write(label_path, label, label_key, _foreground_meta(label, len(plan.classes)), plan)
    placement = Placement.from_dict(json.loads(image_meta["placement"]))
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
    """Return the SHA-256 of a file's bytes, or of all of a folder's files in the order of their names."""
    files = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def chunk_shape(shape: Sequence[int], patch: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the chunk (about a patch) and the block (at most 32 voxels a side) of the spatial axes."""
    chunk = tuple(min(size, max(side, BLOCK_SIDE)) for size, side in zip(shape, patch, strict=True))
    return chunk, tuple(min(side, BLOCK_SIDE) for side in chunk)


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


def _open(path: Path) -> blosc2.NDArray:
    # one thread: the readers are themselves parallel; opening takes 0.1 ms, so no handle is kept
    return blosc2.open(str(path), mode="r", offset=DIGEST_BYTES, dparams={"nthreads": 1})


def _metadata(path: Path) -> dict[str, bytes]:
    stored = _open(path)  # named, since its metadata do not outlive it
    return dict(stored.schunk.vlmeta.getall())


def _write(path: Path, array: np.ndarray, key: str, meta: dict[str, bytes], plan: Plan) -> None:
    lead = (1,) * (array.ndim - 3)
    chunk, block = chunk_shape(array.shape[-3:], plan.patch)
    stored = blosc2.empty(
        array.shape,
        array.dtype,
        chunks=lead + chunk,
        blocks=lead + block,
        cparams={"codec": blosc2.Codec.ZSTD, "clevel": 1, "nthreads": 1},
    )
    assert isinstance(stored, blosc2.NDArray)  # the other kinds hold text
    stored[:] = array
    for name, value in {**meta, "key": key.encode()}.items():
        stored.schunk.vlmeta[name] = value
    frame = stored.to_cframe()
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(hashlib.sha256(frame).digest())
        stream.write(frame)


def _intact_meta(path: Path, key: str) -> dict[str, bytes] | None:
    """Return a cached file's metadata, or None if the file is missing, damaged or another's."""
    if not path.is_file():
        return None
    # the digest comes first: a damaged frame can make the decoder ask for any amount of memory
    with path.open("rb") as stream:
        digest = stream.read(DIGEST_BYTES)
        if hashlib.file_digest(stream, "sha256").digest() != digest:
            return None
    meta = _metadata(path)
    return meta if meta.pop("key", None) == key.encode() else None
