"""Which adapter reads and writes which file; the only place that knows all formats."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from duoseg.errors import InputError
from duoseg.files import StrPath
from duoseg.scans.formats import dicom, metaimage, nifti, nrrd
from duoseg.scans.formats.dicom import listing
from duoseg.scans.scan import Grid, Scan
from duoseg.scans.texts import shape_text

OutputFormat = Literal["same", "nii.gz", "nrrd", "dicom-seg"]
"""What a mask may be written as; "same" is the format of the scan that it is made from."""

Segments = Mapping[str, int]
"""Class name -> value in a mask."""

_ENDINGS: dict[str, tuple[str, str]] = {
    "nii.gz": (".nii.gz", ".nii.gz"),
    "nrrd": (".seg.nrrd", ".nrrd"),
    "dicom-seg": (".dcm", ".nii.gz"),
}


class ScanFormat(Protocol):
    """What a family of file formats must offer; a module with these functions is an adapter."""

    @property
    def SUFFIXES(self) -> tuple[str, ...]:
        """Lower-case file name endings with their dot, longest first."""
        ...

    def can_read(self, path: Path) -> bool:
        """Return whether the file (or folder) looks like this format; nothing large is opened."""
        ...

    def stem(self, path: Path) -> str:
        """Return the name of the scan: that of its file or folder without the format's ending."""
        ...

    def exists(self, path: Path) -> bool:
        """Return whether the file or folder is there."""
        ...

    def source_files(self, path: Path) -> list[Path]:
        """Return every file that the scan's content lies in, in a fixed order, or raise ``InputError``."""
        ...

    def read_scan(self, path: Path) -> Scan:
        """Read voxels and grid, or raise ``InputError``."""
        ...

    def read_grid(self, path: Path) -> Grid:
        """Read the grid without the voxels, or raise ``InputError``."""
        ...

    def written_files(self, path: Path) -> list[Path]:
        """Return every file that writing ``path`` makes: itself, or a header and its voxels."""
        ...

    def mask_suffix(self, path: Path) -> str:
        """Return the ending of a mask in the same format as ``path``."""
        ...

    def map_suffix(self, path: Path) -> str:
        """Return the ending of a map of real numbers to lie beside such a mask."""
        ...

    def write_like(self, path: Path, voxels: np.ndarray, *, like: Path, segments: Segments | None = None) -> None:
        """Write voxels (X, Y, Z) with all geometry of ``like``, a scan of this same format, atomically.

        ``segments`` names the classes of a mask; it is None for a map.
        """
        ...

    def write(self, path: Path, voxels: np.ndarray, *, grid: Grid, segments: Segments | None = None) -> None:
        """Write voxels (X, Y, Z) on a grid, atomically."""
        ...


FORMATS: tuple[ScanFormat, ...] = (nifti, nrrd, metaimage, dicom)
"""Every adapter; the first that can read a path is taken."""


def can_read(path: StrPath) -> bool:
    """Return whether ``path`` is a scan to be listed, judged by its name, or by a look at its first bytes.

    The data file of a pair is none where its header lies beside it; asked for by name it can still be read.
    """
    return any(adapter.can_read(Path(path)) for adapter in FORMATS)


def is_readable(path: Path) -> bool:
    """Return whether some adapter reads ``path`` where it is asked for by name."""
    return _find(path) is not None


def exists(path: Path) -> bool:
    """Return whether a scan's file or folder is there; whatever the format takes for its name."""
    adapter = _find(path)
    return path.exists() if adapter is None else adapter.exists(path)


def stem(path: Path) -> str:
    """Return a scan's name: that of its file or folder without the ending of its format."""
    adapter = _find(path)
    name = path.name if adapter is None else adapter.stem(path)
    return unicodedata.normalize("NFC", name)  # a Mac takes an accent apart from its letter


def source_files(path: Path) -> list[Path]:
    """Return every file that a scan's content lies in, in a fixed order.

    Raises:
        InputError: no adapter knows the format, or one of the files is missing.
    """
    return _adapter(path).source_files(path)


def loose_slices(files: Sequence[Path]) -> list[list[Path]]:
    """Return, series by series, those files that are single DICOM slices of one series, and no scans by themselves."""
    return listing.loose_slices(files)


def written_files(path: Path) -> list[Path]:
    """Return every file that a mask or map called ``path`` is stored in: itself, and the voxels of a pair."""
    adapter = _by_name(path)
    return [path] if adapter is None else adapter.written_files(path)


def has_ending(path: Path, ending: str) -> bool:
    """Return whether a scan is stored in files of this ending; a DICOM series in a folder is, whatever its name."""
    if path.name.endswith(ending):
        return True
    return ending.lower() in dicom.SUFFIXES and path.is_dir() and dicom.can_read(path)


def format_suffix(path: Path) -> str:
    """Return the ending of a readable file's name as written there (".nii.gz"), or "" if it has none."""
    name = path.name.lower()
    found = max((suffix for suffix in readable_suffixes() if name.endswith(suffix)), key=len, default="")
    return path.name[len(path.name) - len(found) :]


def readable_suffixes() -> tuple[str, ...]:
    """Return every file name ending that can be read."""
    return tuple(suffix for adapter in FORMATS for suffix in adapter.SUFFIXES)


def mask_suffix(image: Path, output: OutputFormat = "same") -> str:
    """Return the ending of a mask of ``image`` in an output format.

    Raises:
        InputError: a DICOM SEG is asked for, which only a DICOM series can have.
    """
    adapter = _adapter(image)
    if output == "dicom-seg" and adapter is not dicom:
        raise InputError(
            f"{image}: a DICOM SEG refers to the DICOM series that it was made from, and this is none; "
            "choose --format nii.gz, or give the series."
        )
    return adapter.mask_suffix(image) if output == "same" else _ENDINGS[output][0]


def map_suffix(image: Path, output: OutputFormat = "same") -> str:
    """Return the ending of a map of real numbers on the grid of ``image``."""
    return _adapter(image).map_suffix(image) if output == "same" else _ENDINGS[output][1]


def read_scan(path: StrPath) -> Scan:
    """Read voxels and grid of one scan or label.

    Raises:
        InputError: no adapter knows the format, or the file cannot be read as it.
    """
    path = Path(path)
    return _adapter(path).read_scan(path)


def read_grid(path: StrPath) -> Grid:
    """Read the grid of one scan or label from its header.

    Raises:
        InputError: no adapter knows the format, or the file cannot be read as it.
    """
    path = Path(path)
    return _adapter(path).read_grid(path)


def write_like(path: Path, voxels: np.ndarray, *, like: Path, segments: Segments | None = None) -> None:
    """Write ``voxels`` (X, Y, Z) exactly onto the scan ``like``, in the format that ``path``'s name says.

    Args:
        path: the file to write.
        voxels: a mask of whole numbers, or a map of real ones.
        like: the scan whose grid they are on.
        segments: class name -> value, for a mask; formats that can, store names and colours.

    Raises:
        InputError: the format is unknown, ``like`` cannot be read, or its grid has another shape.
    """
    writer = _writer(path)
    if writer is _adapter(like):
        writer.write_like(path, voxels, like=like, segments=segments)
        return
    grid = read_grid(like)
    if voxels.shape != grid.shape:
        raise InputError(
            f"{path}: {shape_text(voxels.shape)} voxels do not fit {like} ({shape_text(grid.shape)}); "
            "write a mask beside the scan that it was made from."
        )
    writer.write(path, voxels, grid=grid, segments=segments)


def write(path: Path, voxels: np.ndarray, *, grid: Grid, segments: Segments | None = None) -> None:
    """Write ``voxels`` (X, Y, Z) on ``grid``; the name of ``path`` is the format.

    Raises:
        InputError: the format is unknown, or cannot be written without a scan.
    """
    _writer(path).write(path, voxels, grid=grid, segments=segments)


def _find(path: Path) -> ScanFormat | None:
    by_look = next((adapter for adapter in FORMATS if adapter.can_read(path)), None)
    return by_look or _by_name(path)


def _by_name(path: Path) -> ScanFormat | None:
    name = path.name.lower()
    return next((adapter for adapter in FORMATS if name.endswith(adapter.SUFFIXES)), None)


def _adapter(path: Path) -> ScanFormat:
    adapter = _find(path)
    if adapter is None:
        raise InputError(f"{path}: {_unknown(path)}")
    return adapter


def _writer(path: Path) -> ScanFormat:
    """Return the adapter of the format that a name to be written says; nothing need be there."""
    adapter = _by_name(path)
    if adapter is None:
        raise InputError(f"{path}: {_unknown(path)}")
    return adapter


def _unknown(path: Path) -> str:
    known = ", ".join(readable_suffixes())
    return f"the format of this {'folder' if path.is_dir() else 'file'} is not known; these can be read: {known}."
