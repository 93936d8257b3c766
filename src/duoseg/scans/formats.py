"""Which adapter reads and writes which file; the only place that knows all formats."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from duoseg.errors import InputError
from duoseg.files import StrPath
from duoseg.scans import nifti
from duoseg.scans.scan import Grid, Scan
from duoseg.scans.texts import shape_text


class ScanFormat(Protocol):
    """What a family of file formats must offer; a module with these functions is an adapter."""

    @property
    def SUFFIXES(self) -> tuple[str, ...]:
        """Lower-case file name endings with their dot, longest first; empty for folders of files."""
        ...

    def can_read(self, path: Path) -> bool:
        """Return whether the file (or folder) looks like this format; nothing large is opened."""
        ...

    def read_scan(self, path: Path) -> Scan:
        """Read voxels and grid, or raise ``InputError``."""
        ...

    def read_grid(self, path: Path) -> Grid:
        """Read the grid without the voxels, or raise ``InputError``."""
        ...

    def write_like(self, path: Path, voxels: np.ndarray, *, like: Path) -> None:
        """Write voxels (X, Y, Z) with all geometry of ``like``, a file of this same format, atomically."""
        ...

    def write(self, path: Path, voxels: np.ndarray, *, grid: Grid) -> None:
        """Write voxels (X, Y, Z) on a grid, atomically."""
        ...


FORMATS: tuple[ScanFormat, ...] = (nifti,)
"""Every adapter; the first that can read a path is taken."""


def can_read(path: StrPath) -> bool:
    """Return whether some adapter reads ``path``, judged by its name."""
    return any(adapter.can_read(Path(path)) for adapter in FORMATS)


def format_suffix(path: Path) -> str:
    """Return the ending of a readable file's name as written there (".nii.gz"), or "" if unknown."""
    for adapter in FORMATS:
        for suffix in adapter.SUFFIXES:
            if path.name.lower().endswith(suffix):
                return path.name[-len(suffix) :]
    return ""


def readable_suffixes() -> tuple[str, ...]:
    """Return every file name ending that can be read."""
    return tuple(suffix for adapter in FORMATS for suffix in adapter.SUFFIXES)


def read_scan(path: StrPath) -> Scan:
    """Read voxels and grid of one scan or label file.

    Raises:
        InputError: no adapter knows the format, or the file cannot be read as it.
    """
    path = Path(path)
    return _adapter(path).read_scan(path)


def read_grid(path: StrPath) -> Grid:
    """Read the grid of one file from its header.

    Raises:
        InputError: no adapter knows the format, or the file cannot be read as it.
    """
    path = Path(path)
    return _adapter(path).read_grid(path)


def write_like(path: Path, voxels: np.ndarray, *, like: Path) -> None:
    """Write ``voxels`` (X, Y, Z) exactly onto the scan ``like``, in the format that ``path``'s name says.

    Raises:
        InputError: the format is unknown, ``like`` cannot be read, or its grid has another shape.
    """
    writer = _adapter(path)
    if writer is _adapter(like):
        writer.write_like(path, voxels, like=like)
        return
    grid = read_grid(like)
    if voxels.shape != grid.shape:
        raise InputError(
            f"{path}: {shape_text(voxels.shape)} voxels do not fit {like} ({shape_text(grid.shape)}); "
            "write a mask beside the scan that it was made from."
        )
    writer.write(path, voxels, grid=grid)


def write(path: Path, voxels: np.ndarray, *, grid: Grid) -> None:
    """Write ``voxels`` (X, Y, Z) on ``grid``; the name of ``path`` is the format.

    Raises:
        InputError: the format is unknown.
    """
    _adapter(path).write(path, voxels, grid=grid)


def _adapter(path: Path) -> ScanFormat:
    for adapter in FORMATS:
        if adapter.can_read(path):
            return adapter
    known = ", ".join(readable_suffixes())
    raise InputError(f"{path}: the format of this file is not known; these can be read: {known}.")
