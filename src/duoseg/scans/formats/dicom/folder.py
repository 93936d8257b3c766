"""The DICOM files of a folder, told from all else in it, and from slices that were damaged and cannot be told."""

from __future__ import annotations

import os
import re
from pathlib import Path

from duoseg.errors import InputError
from duoseg.files import readable
from duoseg.scans.formats.contents import LFS_POINTER, kind_of
from duoseg.scans.formats.dicom.headers import HEAD_BYTES, is_dicom, looks_like_dicom, not_dicom

SUFFIXES = (".dcm", ".ima")

FOREIGN = (
    *(".nii", ".gz", ".hdr", ".img", ".nrrd", ".nhdr", ".mha", ".mhd", ".raw", ".zraw", ".bz2", ".zip", ".tar"),
    *(".json", ".csv", ".tsv", ".txt", ".md", ".toml", ".yaml", ".yml", ".xml", ".html", ".htm", ".pdf", ".rtf"),
    *(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".doc", ".docx", ".xls", ".xlsx", ".stl", ".vtk"),
    *(".py", ".log", ".pt", ".safetensors", ".npy", ".npz", ".mat", ".h5", ".ini", ".db", ".exe", ".dll", ".inf"),
)
"""Endings of files that are something else, and are not opened to see."""

_LOOKED_AT = 16  # files of a folder that are opened to see whether it holds a series
_INDEX = "dicomdir"
_NUMBERS = re.compile(r"([0-9a-f]{8,}|[0-9.]+)+")  # counters, UIDs and hashes


def holds_series(folder: Path) -> bool:
    """Return whether a folder holds DICOM files itself, by the first bytes of some of its visible files."""
    try:
        names = [name for name in _names(folder) if not name.lower().endswith(FOREIGN)]
    except OSError:  # it is named when it is to be read
        return False
    by_name = [name for name in names if name.lower().endswith(SUFFIXES)]
    others = [name for name in names if not name.lower().endswith(SUFFIXES)]
    return any(is_dicom(folder / name) for name in (*by_name[:_LOOKED_AT], *others[:_LOOKED_AT]))


def dicom_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the DICOM files of a folder in the order of their names, and the names of files that might be some.

    The latter are told where slices have names without an ending, as archives give them: a UID ends in what only looks
    like one.

    Raises:
        InputError: there is no permission to read, or a file is called as slices are, or is nothing at all beside
            slices without an ending, and yet no DICOM: it may be a slice that would be left out.
    """
    with readable(folder):
        names = sorted(_names(folder), key=_natural)
    files, others = [], dict[str, bytes]()
    for name in names:
        with readable(folder / name), (folder / name).open("rb") as opened:
            head = opened.read(HEAD_BYTES)
        if looks_like_dicom(head):
            files.append(folder / name)
        else:
            others[name] = head
    kinds = {_kind_of_name(file.name) for file in files}
    bare = any(not file.name.lower().endswith(SUFFIXES) for file in files)
    foreign = []
    for name, head in others.items():
        if name.lower().endswith(SUFFIXES):
            raise not_dicom(folder / name)
        if name.lower().endswith(FOREIGN):
            continue
        if _kind_of_name(name) in kinds or (bare and _is_nothing(head)):
            raise _no_slice(folder / name, head)
        foreign.append(name)
    return files, foreign if bare else []


def _is_nothing(head: bytes) -> bool:
    return not head.strip(b"\0") or head.startswith(LFS_POINTER)


def _no_slice(file: Path, head: bytes) -> InputError:
    if not head or head.startswith(LFS_POINTER):
        return not_dicom(file)
    kind = kind_of(head)
    what = "holds only zeros" if _is_nothing(head) else f"is {kind.name}" if kind else "is of no known kind"
    return InputError(
        f"{file}: this is not a DICOM file: its content {what}, and it may be a slice of the series beside it; copy or "
        "download it again, or move it elsewhere."
    )


def _names(folder: Path) -> list[str]:
    """Return the names of all visible files but the index, sorted."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if _is_candidate(entry))


def _is_candidate(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.name.lower() != _INDEX and entry.is_file()


def _kind_of_name(name: str) -> str:
    """Return what the names of all slices of a series have in common: "im#" for "IM12" and "IM2.dcm"."""
    stem = name.lower()
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    return _NUMBERS.sub("#", stem)


def _natural(name: str) -> list[tuple[int, str]]:
    """Key by which "IM2" stands before "IM10"."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]
