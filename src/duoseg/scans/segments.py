"""Names of segments: a file may say which of its values is which class, and not as the data set does.

3D Slicer numbers segments in the order in which they were drawn, and DICOM SEG in that of their list, so that two
labels may give one organ different values. Where the data set declares its classes, a segment with the name of one is
that class.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.scans.cases import Problem
from duoseg.scans.names import shown
from duoseg.scans.scan import Scan
from duoseg.scans.texts import some_text
from duoseg.scans.values import as_integers, label_faults

_TOLD = 3
UNNAMED = re.compile(r"segment[ _]?\d*", re.IGNORECASE)
"""What programs call a segment that nobody has named."""


def distinct(named: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return name -> value; of several segments of one name, the later ones have their value behind it."""
    values: dict[str, int] = {}
    for name, value in named:
        values[f"{name} ({value})" if name in values else name] = value
    return values


def with_ignored(classes: Mapping[str, int], ignore_value: int | None) -> Mapping[str, int]:
    """Return the declared classes, and the value that says *ignore* among them; none where nobody declared any."""
    return {**classes, "ignore": ignore_value} if classes and ignore_value is not None else classes


def by_name(scan: Scan, classes: Mapping[str, int]) -> Scan:
    """Return a label with the values that are declared for the names of its segments, and a note if they were others.

    Names are compared without regard to case and blanks around them. A label without names, or with none that is
    declared with another value, stays as it is; so does one that holds other than whole numbers.

    Args:
        scan: the label.
        classes: name -> value, empty where nobody declared any.

    Raises:
        InputError: a name has another value than is declared, and not every segment is a class of its own.
    """
    meant = _declared(scan.segments, classes)
    wrong = {name: one for name, one in meant.items() if scan.segments[name] != classes[one]}
    if not wrong:
        return scan
    whole = np.can_cast(scan.voxels.dtype, np.int32) or not label_faults(scan.voxels)
    voxels = as_integers(scan.voxels, scan.source) if whole else scan.voxels
    why = _not_a_renaming(scan.segments, meant, voxels)
    if why:
        texts = [
            f"{shown(name)} has the value {scan.segments[name]}, and the data set declares {shown(one)} as "
            f"{classes[one]}"
            for name, one in wrong.items()
        ]
        raise InputError(
            f"{scan.source}: its segment {some_text(texts, _TOLD)}, but its values cannot be told by their names, "
            f"since {why}; give its segments the declared values, or the names of classes."
        )
    if not whole:
        return scan
    declared = {name: classes[one] for name, one in meant.items()}
    renumbered = np.zeros_like(voxels, np.min_scalar_type(max(declared.values())))
    for name, value in declared.items():
        renumbered[voxels == scan.segments[name]] = value
    changes = some_text([f"{shown(name)}, {scan.segments[name]}, as {declared[name]}" for name in wrong], _TOLD)
    note = f"its segments have other values than the data set declares, and were taken by their names ({changes})"
    return replace(scan, voxels=renumbered, segments=declared, notes=(*scan.notes, note))


def strangers(file: Path, segments: Mapping[str, int], classes: Mapping[str, int]) -> Iterator[Problem]:
    """Yield a note on segments whose names are no classes, though their values are those of some: perhaps other organs.

    Args:
        file: the label.
        segments: name -> value, of the label.
        classes: name -> value, empty where nobody declared any.
    """
    meant = _declared(segments, classes)
    called = {value: name for name, value in classes.items() if name != str(value)}
    texts = [
        f"{shown(name)} has the value {value}, which the data set declares as {shown(called[value])}"
        for name, value in segments.items()
        if name not in meant and value in called and not UNNAMED.fullmatch(name.strip())
    ]
    if texts:
        remedy = "if it is another structure, mend the label; else nothing needs to be done"
        yield Problem("note", file, f"its segment {some_text(texts, _TOLD)}, and is taken as that", remedy)


def names_of_classes(values: Sequence[int], named: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return a name for each value of labels whose classes nobody declared.

    It is that of the segments with this value, where all labels that name any agree and no two values share one; else
    every value is called by its number.
    """
    names: dict[int, dict[str, str]] = {value: {} for value in values}
    for segments in named:
        for name, value in segments.items():
            if value in names:
                names[value].setdefault(_plain(name), name.strip())
    chosen = {next(iter(found.values()), ""): value for value, found in names.items() if len(found) == 1}
    usable = len(chosen) == len({_plain(name) for name in chosen}) == len(values) and not {"", "all"} & chosen.keys()
    return chosen if usable else {str(value): value for value in values}


def disagreements(labels: Sequence[tuple[Path, Mapping[str, int]]]) -> Iterator[Problem]:
    """Yield labels whose segments go against those of a label before them, where no class is declared.

    A name with two values is an error: the class would be two organs. A value with two names may be that, or one organ
    that was called in two ways: a warning.
    """
    values: dict[str, tuple[int, Path]] = {}
    names: dict[int, tuple[str, Path]] = {}
    for file, segments in labels:
        moved, renamed = [], []
        for name, value in segments.items():
            if UNNAMED.fullmatch(name.strip()) or name.strip() == str(value):
                continue
            known, where = values.setdefault(_plain(name), (value, file))
            called, there = names.setdefault(value, (name, file))
            if known != value:
                moved.append(f"{shown(name)} has the value {value}, and {known} in {where.name}")
            elif _plain(called) != _plain(name):
                renamed.append(f"{shown(name)} has the value {value}, which is {shown(called)} in {there.name}")
        if moved:
            remedy = "declare the classes under labels in dataset.json, or give the segments the same values"
            yield Problem("error", file, f"its segment {some_text(moved, _TOLD)}", remedy)
        if renamed:
            remedy = "if these are two organs, give them two values; else call them alike"
            yield Problem("warning", file, f"its segment {some_text(renamed, _TOLD)}", remedy)


def _declared(segments: Mapping[str, int], classes: Mapping[str, int]) -> dict[str, str]:
    """Return for the names of segments the names of the classes that they mean; those that mean none are left out."""
    alike: dict[str, list[str]] = {}
    for name, value in classes.items():
        if name != str(value):  # a number for a name: nobody declared one
            alike.setdefault(_plain(name), []).append(name)
    found = {name: alike.get(_plain(name), []) for name in segments}
    return {name: name if name in ones else ones[0] for name, ones in found.items() if name in ones or len(ones) == 1}


def _not_a_renaming(segments: Mapping[str, int], meant: Mapping[str, str], voxels: np.ndarray) -> str:
    """Say why the values cannot be told by names alone; "" where they can."""
    others = [shown(name) for name in segments if name not in meant]
    if others:
        return f"{some_text(others, _TOLD)} is no class" if len(others) == 1 else f"{some_text(others, _TOLD)} are none"
    if len(set(segments.values())) < len(segments) or len(set(meant.values())) < len(segments):
        return "two of its segments have one name or one value"
    unnamed = sorted({int(value) for value in np.unique(voxels) if np.isfinite(value)} - {0, *segments.values()})
    if unnamed:
        return f"its value {some_text(unnamed, _TOLD)} is that of no segment"
    return ""


def _plain(name: str) -> str:
    return name.strip().casefold()
