"""Files and folders of a data set that belong to nothing, mostly because of a slip in their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from duoseg.errors import InputError
from duoseg.scans.cases import Problem, Severity
from duoseg.scans.formats import format_suffix, source_files
from duoseg.scans.texts import count_text

FOLDERS = ("imagesTr", "labelsTr", "imagesUn", "imagesTs", "labelsTs", "images", "labels")

Spellings = Mapping[tuple[str, ...], str]
"""Names by their spelling: see `by_spelling`."""

NEAR = 0.9
"""How alike the names of two folders are of which one is a slip; `difflib`'s measure."""

_HEADERS = (".hdr", ".hdr.gz", ".nhdr", ".mhd")

_LABEL_WORD = r"(labels?|lbl|seg|segmentation|masks?|gt|manual|\d{4})"
_BEFORE = re.compile(rf"^{_LABEL_WORD}[_.-]", re.IGNORECASE)
_AFTER = re.compile(rf"[_.-]{_LABEL_WORD}$", re.IGNORECASE)


@dataclass(frozen=True)
class StrayLabel(Problem):
    """A label file that no image has the name of.

    Attributes:
        expected: the name that it should probably have; empty where none is like it.
    """

    expected: str = ""


def stray_label(file: Path, name: str, cases: Collection[str], spelt: Spellings, folder: Path) -> StrayLabel:
    """Return the problem of a label called ``name`` that is none of the ``cases``, ``spelt`` so, in ``folder``."""
    meant = _meant_case(name, cases, spelt)
    expected = f"{meant}{format_suffix(file)}" if meant else ""
    return StrayLabel(
        "warning",
        file,
        f"no image called '{name}' lies in {folder.name}",
        f"{f'rename it to {expected}' if meant else 'add the image, rename the label, or remove it'}; "
        "until then it is not used",
        expected,
    )


def stray_text(problems: Iterable[Problem]) -> str:
    """Say how many labels match no image, with the first of them; empty where there is none."""
    stray = [problem for problem in problems if isinstance(problem, StrayLabel)]
    if not stray:
        return ""
    first = next((one for one in stray if one.expected), stray[0])
    guess = f"; did you mean {first.expected}?" if first.expected else ""
    number = count_text(len(stray), "label file matches", "label files match")
    return f"{number} no image (first: {first.file}{guess})"


def unread_files(folder: Path, read: Sequence[Path], *, severity: Severity = "note") -> Iterator[Problem]:
    """Yield one problem on what lies visibly in a folder of images or labels and was not ``read``.

    It is a warning at least where there are folders among it, which may hold scans.
    """
    known = {*read, *_data_files(read)}
    rest = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and path not in known]
    if rest:
        first = f"{rest[0].name}/" if rest[0].is_dir() else rest[0].name
        yield Problem(
            "warning" if any(path.is_dir() for path in rest) else severity,
            folder,
            f"{count_text(len(rest), 'file or folder was', 'files or folders were')} not read (first: {first})",
            "if they hold scans, put these into the folder itself, in a readable format, or list them in a CSV table",
        )


def _data_files(read: Sequence[Path]) -> Iterator[Path]:
    """Yield the files with the voxels of scans whose header is a file of its own."""
    for path in read:
        if path.name.lower().endswith(_HEADERS):
            with suppress(InputError):  # it is told when the scan is read
                yield from source_files(path)


def misnamed_folders(root: Path) -> Iterator[tuple[str, str]]:
    """Yield each folder whose name is nearly a known one that is not there, and the known one."""
    present = sorted(path.name for path in root.iterdir() if path.is_dir())
    for name in present:
        meant = nearest_key(name, FOLDERS, cutoff=NEAR)
        if name == "labels" and "imagesTr" in present:  # a plain folder's name in nnU-Net's layout
            meant = "labelsTr"
        if meant is not None and meant != name and meant not in present:
            yield name, meant


def nearest_key(key: str, known: Sequence[str], *, cutoff: float = 0.75) -> str | None:
    """Return the known key that a slip has probably turned into ``key``, if there is one."""
    plain = {_plain(name): name for name in known}
    nearest = get_close_matches(_plain(key), list(plain), n=1, cutoff=cutoff)
    return plain[nearest[0]] if nearest else None


def _meant_case(name: str, cases: Collection[str], spelt: Spellings) -> str:
    """Take words for a label off the name's ends until a case is left, or one spelled alike; empty where none is."""
    whole = name
    while name:
        shorter = _AFTER.sub("", _BEFORE.sub("", name))
        if shorter in cases:
            return shorter
        if shorter == name:
            break
        name = shorter
    return like_name(whole, spelt) or like_name(name, spelt)


def by_spelling(names: Iterable[str]) -> Spellings:
    """Return names by what they are without capitals, separators and leading zeros; none that two of them are."""
    found: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in names:
        found[_spelling(name)].append(name)
    return {spelling: alike[0] for spelling, alike in found.items() if len(alike) == 1}


def like_name(name: str, spelt: Spellings) -> str:
    """Return the one of some names that differs from ``name`` in capitals, separators and leading zeros alone."""
    return spelt.get(_spelling(name), "")


def _spelling(name: str) -> tuple[str, ...]:
    parts = re.findall("[a-z]+|[0-9]+", name.lower())
    return tuple(part.lstrip("0") for part in parts)


def _plain(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())
