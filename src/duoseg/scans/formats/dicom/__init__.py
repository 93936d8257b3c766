"""DICOM: series of CT, MR and PET, single-frame and enhanced multi-frame, and segmentations (SEG).

A series is named by its folder, where that holds several by ``folder#SeriesInstanceUID``; a multi-frame file and a SEG
by the file. Files are known by their content, whatever their names. Headers are parsed by pydicom, compressed pixels
decoded by imagecodecs, SEG written by highdicom.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.scans.formats.dicom.folder import FOREIGN, SUFFIXES, holds_series
from duoseg.scans.formats.dicom.headers import is_dicom, quiet
from duoseg.scans.formats.dicom.pixels import PixelFormat, read_voxels, value_notes
from duoseg.scans.formats.dicom.seg_reading import read_segmentation, segmentation_grid
from duoseg.scans.formats.dicom.seg_writing import write_segmentation
from duoseg.scans.formats.dicom.series import Series, read_series, split_choice
from duoseg.scans.formats.dicom.stacking import Stack, stack
from duoseg.scans.formats.storing import require_shape
from duoseg.scans.scan import Grid, Scan

__all__ = [
    "SUFFIXES",
    "can_read",
    "exists",
    "map_suffix",
    "mask_suffix",
    "read_grid",
    "read_scan",
    "source_files",
    "stem",
    "write",
    "write_like",
    "written_files",
]


def can_read(path: Path) -> bool:
    """Return whether ``path`` is a DICOM file or a folder of DICOM files.

    A file with another known ending is none; of any other file, and of some files in a folder, the first bytes are
    looked at.
    """
    place, uid = split_choice(path)
    name = place.name.lower()
    if place.is_dir():
        return bool(uid) or holds_series(place)
    if uid or name.endswith(SUFFIXES):
        return True
    return not name.endswith(FOREIGN) and not name.startswith(".") and place.is_file() and is_dicom(place)


def stem(path: Path) -> str:
    """Return the name of the scan: that of its folder without a UID, or of its file without ".dcm" or ".ima"."""
    place = split_choice(path)[0]
    return place.name[:-4] if place.name.lower().endswith(SUFFIXES) and not place.is_dir() else place.name


def exists(path: Path) -> bool:
    """Return whether the file or folder is there."""
    return split_choice(path)[0].exists()


def source_files(path: Path) -> list[Path]:
    """Return the files of the series, in the order of their names.

    Raises:
        InputError: there is no series, or there are several and none is chosen.
    """
    with quiet:
        return [header.path for header in read_series(path).headers]


def read_scan(path: Path) -> Scan:
    """Read voxels and grid; slices are ordered by their positions, and each is rescaled by its own factors.

    The voxels are (columns, rows, slices). Of a SEG, they are the numbers of its segments, or the class values that
    were written with them; 0 where there is none.

    Raises:
        InputError: the files are no volume, damaged, cut short, in colour, or compressed in a way that is not known.
    """
    with quiet:
        series = read_series(path)
        if series.is_segmentation:
            voxels, found, segments = read_segmentation(series)
            notes = series.notes + found.notes
            return Scan(voxels, found.grid, path, notes, cropped=True, segments=segments, origin=series.origin)
        formats, found = _stacked(series)
        notes = series.notes + found.notes + value_notes(series.headers)
        return Scan(read_voxels(path, found.frames, formats), found.grid, path, notes, origin=series.origin)


def read_grid(path: Path) -> Grid:
    """Read the grid alone, from the headers.

    Raises:
        InputError: as for ``read_scan``, except for what only the voxels show.
    """
    with quiet:
        series = read_series(path)
        return (segmentation_grid(series) if series.is_segmentation else _stacked(series)[1]).grid


def written_files(path: Path) -> list[Path]:
    """Return the file: a SEG is one."""
    return [path]


def mask_suffix(path: Path) -> str:
    """Return the ending of a mask: that of a SEG."""
    return SUFFIXES[0]


def map_suffix(path: Path) -> str:
    """Return the ending of a map of real numbers, for which DICOM is no common place."""
    return ".nii.gz"


def write_like(path: Path, voxels: np.ndarray, *, like: Path, segments: Mapping[str, int] | None = None) -> None:
    """Write a mask (X, Y, Z) as a DICOM SEG that refers to the images of the series ``like`` and covers its whole grid.

    Args:
        path: the file to write.
        voxels: whole numbers, 0 for the background.
        like: a series of images.
        segments: class name -> value; segments are numbered 1, 2, ... in the order of the values.

    Raises:
        InputError: ``like`` cannot be read, is no series of images, has another shape, or lacks an identifier; or
            ``segments`` do not name every value.
    """
    with quiet:
        series = read_series(like)
        if series.is_segmentation:
            raise InputError(f"{path}: {like} is a segmentation itself; give the series that it was made from.")
        found = _stacked(series)[1]
        require_shape(path, voxels, like, found.grid.shape)
        write_segmentation(path, voxels, series=series, found=found, segments=segments)


def write(path: Path, voxels: np.ndarray, *, grid: Grid, segments: Mapping[str, int] | None = None) -> None:
    """Refuse to write DICOM for a scan of another format.

    Raises:
        InputError: always.
    """
    raise InputError(
        f"{path}: a DICOM SEG refers to the series that it was made from, and this is none; choose --format nii.gz."
    )


def _stacked(series: Series) -> tuple[dict[Path, PixelFormat], Stack]:
    series.require_images()
    formats = {header.path: PixelFormat.of(header) for header in series.headers}
    return formats, stack(series.path, series.frames())
