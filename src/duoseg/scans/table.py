"""The CSV layout: ``image,label,split,subject``, one row per scan, wherever the scans lie."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from duoseg.errors import InputError
from duoseg.files import read_text, readable
from duoseg.scans.cases import Case, LeftOut, Problem
from duoseg.scans.description import Description, default_channels
from duoseg.scans.formats import exists, is_readable, loose_slices, readable_suffixes, stem
from duoseg.scans.formats.dicom import can_read as can_read_dicom
from duoseg.scans.layouts import Found, image_files
from duoseg.scans.names import cell_fault, has_control, shown
from duoseg.scans.texts import count_text, some_text

SPLITS = ("train", "test", "holdout")
_DRIVE = re.compile("[A-Za-z]:[\\\\/]")
_KNOWN = ("case", "image", "label", "split", "subject")


@dataclass(frozen=True)
class _Row:
    number: int
    name: str
    images: tuple[Path, ...]
    label: Path | None
    split: str
    subject: str


def find_in_table(path: Path, description: Description) -> Found:
    """Find the cases that a CSV table lists.

    Cells are separated by commas, or by semicolons or tabs as spreadsheets write them; the heading's case is free.
    Columns: ``image``, and ``image_2``, ``image_3``, ... for further channels; optional ``label`` (empty:
    unlabelled), ``split`` (train, test or holdout; empty: train), ``subject``, ``case`` (a name). Paths are
    absolute or relative to the table's folder, and may be those of DICOM folders (``folder``, or
    ``folder#SeriesInstanceUID`` for one series of several). Without ``case`` a scan is called after its file, or after
    its path where file names repeat.

    Raises:
        InputError: a column is missing or unknown, a row is malformed, or two rows have one name.
    """
    rows = _named(list(_rows(path)), path)
    count = len(rows[0].images)
    if description.channels and len(description.channels) != count:
        raise InputError(
            f"{path}: has {count_text(count, 'image column')}, but dataset.json names {len(description.channels)}; "
            "add the columns image_2, image_3, ... or mend channel_names."
        )
    found = Found(channels=description.channels or default_channels(count))
    for row in sorted(rows, key=lambda row: row.name):
        found.rows[row.name] = row.number
        missing = [file for file in (*row.images, row.label) if file is not None and not _is_there(file)]
        case = Case(row.name, row.images, row.label, row.subject or row.name, bool(row.subject))
        if missing:
            message = f"row {row.number} of {path.name} names it, but it does not exist"
            problems = tuple(Problem("error", file, message, "mend the path") for file in missing)
            found.broken.add(row.name)
            found.left_out.append(LeftOut(case, "test" if row.split == "test" else "train", problems))
            continue
        (found.test if row.split == "test" else found.train).append(case)
        if row.split == "holdout":
            found.holdout.append(row.name)
    found.problems.extend(_slices_problems(path, rows))
    return found


def _slices_problems(path: Path, rows: Sequence[_Row]) -> Iterator[Problem]:
    """Yield rows that name single slices of a DICOM series, which are no scans by themselves."""
    named = {image: row.number for row in rows for image in row.images if image.is_file() and can_read_dicom(image)}
    beside = [file for folder in dict.fromkeys(image.parent for image in named) for file in image_files(folder)]
    for slices in loose_slices(list(dict.fromkeys([*named, *beside]))):
        picked = [file for file in slices if file in named]
        if picked:
            message = (
                f"row {named[picked[0]]} of {path.name} names it, but it is one of {len(slices)} slices of a series"
            )
            yield Problem("error", picked[0], message, f"name the folder, {picked[0].parent}")


def _rows(path: Path) -> Iterator[_Row]:
    text = read_text(path)
    try:
        delimiter = _delimiter(re.split("[\r\n]", text, maxsplit=1)[0])
        reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True, delimiter=delimiter)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
        images = _image_columns(path, list(reader.fieldnames))
        for fields in reader:
            number = reader.line_num  # blank lines count, as in an editor and a spreadsheet
            if None in fields:
                raise InputError(
                    f"{path}, row {number}: has more fields than the heading; quote paths that hold "
                    f"the separator {delimiter!r}."
                )
            cells = {key: (value or "").strip() for key, value in fields.items()}
            if any(cells.values()):
                yield _row(path, number, cells, images)
    except csv.Error as error:
        raise InputError(f"{path}: is not a CSV table in UTF-8 ({error}).") from error


def _is_there(file: Path) -> bool:
    with readable(file):
        return exists(file)


def _delimiter(heading: str) -> str:
    """Return what separates the columns' names: none of them holds any of these characters."""
    return next((character for character in ",;\t" if character in heading), ",")


def _image_columns(path: Path, columns: list[str]) -> list[str]:
    images = [name for name in columns if name == "image" or name.startswith("image_")]
    expected = ["image", *(f"image_{number}" for number in range(2, len(images) + 1))]
    if images != expected:
        raise InputError(
            f"{path}: the heading must name 'image' (then image_2, image_3, ... for further channels), "
            f"but has {some_text([shown(name) for name in columns]) or 'nothing'}."
        )
    repeated = [name for name, times in Counter(columns).items() if times > 1 and name]
    if repeated:
        raise InputError(
            f"{path}: the heading names {some_text(list(map(shown, repeated)))} more than once; rename one."
        )
    unknown = [name for name in columns if name and name not in _KNOWN and name not in images]
    if unknown:
        raise InputError(
            f"{path}: the {'column' if len(unknown) == 1 else 'columns'} {some_text(list(map(shown, unknown)))} "
            f"{'is' if len(unknown) == 1 else 'are'} not known; "
            f"these are: {', '.join(_KNOWN)}, image_2, ..."
        )
    return images


def _row(path: Path, number: int, cells: dict[str, str], columns: list[str]) -> _Row:
    empty = [column for column in columns if not cells[column]]
    if empty:
        raise InputError(f"{path}, row {number}: the column '{empty[0]}' is empty; every row needs all its images.")
    odd = [column for column, cell in cells.items() if has_control(cell)]
    if odd:
        raise InputError(
            f"{path}, row {number}: the column '{odd[0]}' holds a control character ({shown(cells[odd[0]])}); write it "
            "anew."
        )
    split = cells.get("split", "").lower() or "train"
    if split not in SPLITS:
        raise InputError(f"{path}, row {number}: the split {shown(split)} is not known; use {', '.join(SPLITS)}.")
    label = path.parent / cells["label"] if cells.get("label") else None
    images = tuple(path.parent / cells[column] for column in columns)
    _require_slashes(path, number, cells)
    for file in (*images, *([label] if label else [])):
        if is_readable(file):
            continue
        if file.is_dir():
            inside = sorted(path.name for path in file.iterdir() if not path.name.startswith("."))
            raise InputError(
                f"{path}, row {number}: {file} is a folder, and no DICOM series lies in it itself (it holds "
                f"{some_text(inside, 3) or 'nothing'}); name the file, or the folder of the slices."
            )
        if Path(file.name.partition("#")[0]).suffix or _is_there(file):
            raise InputError(
                f"{path}, row {number}: the format of {file} is not known; these can be read: "
                f"{', '.join(readable_suffixes())}."
            )
    if label in images:
        raise InputError(f"{path}, row {number}: names {label} as image and as label; a scan is no label of itself.")
    return _Row(number, normalize("NFC", cells.get("case", "")), images, label, split, cells.get("subject", ""))


def _require_slashes(path: Path, number: int, cells: Mapping[str, str]) -> None:
    """Refuse paths as Windows writes them, which no file here has."""
    for column, cell in cells.items():
        is_path = column == "label" or column.startswith("image")
        if is_path and ("\\" in cell or _DRIVE.match(cell)) and not _is_there(path.parent / cell):
            raise InputError(
                f"{path}, row {number}: the column '{column}' holds a path of Windows ({shown(cell)}); write / between "
                "folders, and a drive as it is called here, such as /mnt/d/scans in WSL."
            )


def _named(rows: list[_Row], path: Path) -> list[_Row]:
    if not rows:
        raise InputError(f"{path}: lists no scans.")
    stems = [_case_stem(row.images[0]) for row in rows]
    if len(set(stems)) < len(stems):
        parents = [os.path.abspath(row.images[0].parent) for row in rows]
        base = Path(os.path.commonpath(parents))
        folders = [Path(parent).relative_to(base).parts for parent in parents]
        stems = ["_".join([*folder, stem]) for folder, stem in zip(folders, stems, strict=True)]
    names = [row.name or stem for row, stem in zip(rows, stems, strict=True)]
    for row, name in zip(rows, names, strict=True):
        fault = cell_fault(name)
        if fault:
            raise InputError(
                f"{path}, row {row.number}: the case name {shown(name)} {fault}; give it another in a column 'case'."
            )
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise InputError(
            f"{path}: {count_text(len(repeated), 'case name occurs', 'case names occur')} more than once, such as "
            f"'{repeated[0]}'; "
            "remove the repeated rows, or give each row a name of its own in a column 'case'."
        )
    return [_Row(row.number, name, *_rest(row)) for row, name in zip(rows, names, strict=True)]


def _rest(row: _Row) -> tuple[tuple[Path, ...], Path | None, str, str]:
    return row.images, row.label, row.split, row.subject


def _case_stem(image: Path) -> str:
    return stem(image).removesuffix("_0000")
