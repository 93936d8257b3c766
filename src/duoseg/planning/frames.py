"""One prepared array in one file: a SHA-256 digest and, behind it, a compressed blosc2 frame with metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import blosc2
import numpy as np

from duoseg.files import atomic_path

DIGEST_BYTES = 32  # SHA-256 of the rest of the file, at its start
BLOCK_SIDE = 32  # a block is what is decompressed at once


def chunk_shape(shape: Sequence[int], patch: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the chunk (about a patch) and the block (at most 32 voxels a side) of the spatial axes."""
    chunk = tuple(min(size, max(side, BLOCK_SIDE)) for size, side in zip(shape, patch, strict=True))
    return chunk, tuple(min(side, BLOCK_SIDE) for side in chunk)


def open_frame(path: Path) -> blosc2.NDArray:
    """Open the array to be read in parts; the digest is not looked at."""
    # one thread: the readers are themselves parallel; opening takes 0.1 ms, so no handle is kept
    return blosc2.open(str(path), mode="r", offset=DIGEST_BYTES, dparams={"nthreads": 1})


def read_metadata(path: Path) -> dict[str, bytes]:
    """Return what was written beside the array."""
    stored = open_frame(path)  # named, since its metadata do not outlive it
    return dict(stored.schunk.vlmeta.getall())


def write_frame(path: Path, array: np.ndarray, *, key: str, meta: dict[str, bytes], patch: Sequence[int]) -> None:
    """Write ``(..., X, Y, Z)`` atomically, in chunks of about a patch, with its key and metadata."""
    lead = (1,) * (array.ndim - 3)
    chunk, block = chunk_shape(array.shape[-3:], patch)
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


def intact_metadata(path: Path, key: str) -> dict[str, bytes] | None:
    """Return a cached file's metadata, or None if the file is missing, damaged or another's."""
    if not path.is_file():
        return None
    # the digest comes first: a damaged frame can make the decoder ask for any amount of memory
    with path.open("rb") as stream:
        digest = stream.read(DIGEST_BYTES)
        if hashlib.file_digest(stream, "sha256").digest() != digest:
            return None
    meta = read_metadata(path)
    return meta if meta.pop("key", None) == key.encode() else None
