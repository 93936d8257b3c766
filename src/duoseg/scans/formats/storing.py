"""What all writers share: which type of number is stored, and how its bytes are laid out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.scans.texts import shape_text

_BLOCK = 1 << 24


def smallest_type(voxels: np.ndarray) -> np.dtype:
    """Return the smallest type that holds these values if they are integers, else float32."""
    if voxels.dtype.kind not in "biu":
        return np.dtype(np.float32)
    low, high = (int(voxels.min()), int(voxels.max())) if voxels.size else (0, 0)
    for kind in (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.int64)


def stored_blocks(voxels: np.ndarray, dtype: np.dtype) -> Iterator[bytes]:
    """Yield the bytes of ``voxels`` (X, Y, Z) as ``dtype``, little-endian, the first axis fastest, block by block."""
    flat = voxels.reshape(-1, order="F")
    for start in range(0, flat.size, _BLOCK):
        yield flat[start : start + _BLOCK].astype(dtype.newbyteorder("<")).tobytes()


def require_shape(path: Path, voxels: np.ndarray, like: Path, shape: tuple[int, int, int]) -> None:
    """Refuse to write voxels to ``path`` as those of the scan ``like`` if its shape is another.

    Raises:
        InputError: says both shapes.
    """
    if voxels.shape != shape:
        raise InputError(
            f"{path}: {shape_text(voxels.shape)} voxels do not fit {like} ({shape_text(shape)}); "
            "write a mask beside the scan that it was made from."
        )
