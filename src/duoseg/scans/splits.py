"""``splits.json``: which cases are for training, in which order, which for testing, and who is who."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

from duoseg.errors import InputError
from duoseg.scans.cases import Case, LeftOut, Problem
from duoseg.scans.description import read_json_object
from duoseg.scans.layouts import Found
from duoseg.scans.leaks import named, shared_files, sided_images
from duoseg.scans.names import name_fault, shown
from duoseg.scans.texts import count_text, some_text

_LISTS = ("train", "test", "holdout", "unused")
_KEYS = (*_LISTS, "subjects")


@dataclass
class Sides:
    """The cases on each side of the split, and what is wrong with it."""

    train: list[Case]
    test: list[Case]
    holdout: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)
    left_out: tuple[LeftOut, ...] = ()


def apply_splits(folder: Path, found: Found, *, table: Path | None = None, splits: Path | None = None) -> Sides:
    """Put the cases that were found on their sides, as ``splits.json`` in ``folder`` says, if it is there.

    Args:
        folder: that of the data set.
        found: its cases.
        table: the table that lists them, if one does; then it is what problems are told of.
        splits: a file to take instead of ``splits.json``.

    Raises:
        InputError: ``splits.json`` is not of the form that it must have, or ``splits`` is missing.
    """
    path = folder / "splits.json" if splits is None else splits
    found, repeated = _without_repeated(folder, found)
    repeated += _misnamed(found)
    if splits is None and not path.is_file():
        train, holdout = [*found.train, *found.unlabelled], tuple(found.holdout)
        sides = Sides(train, found.test, holdout, repeated, tuple(found.left_out))
        sides.problems += _crossed(table or folder, sides, found.rows)
        return sides
    content = read_json_object(path)
    names = {key: _names(path, key, content[key]) for key in _LISTS if key in content}
    subjects = _subjects(path, content.get("subjects", {}))
    problems = [*repeated, *_list_problems(path, content, names, subjects, found)]
    cases = {case.name: case for case in (*found.test, *found.unlabelled, *found.train)}
    cases = {name: _of_person(case, subjects.get(name)) for name, case in cases.items()}
    unlabelled = [cases[case.name] for case in found.unlabelled]
    unused = {*names.get("unused", ())}
    test = names.get("test", sorted({case.name for case in found.test} - unused))
    train = names.get("train", sorted({case.name for case in found.train} - {*test} - unused))
    holdout = names.get("holdout", [name for name in found.holdout if name not in unused])
    sides = Sides(
        train=[cases[name] for name in train if name in cases]
        + [case for case in unlabelled if case.name not in {*train, *test} | unused],
        test=[cases[name] for name in test if name in cases],
        holdout=tuple(name for name in holdout if name in cases),
        problems=problems,
        left_out=tuple(_left_out(names, found.left_out)),
    )
    sides.problems += _unused(path, {*cases, *(one.case.name for one in found.left_out)} - unused, sides)
    sides.problems += _crossed(path, sides, found.rows)
    return sides


def _of_person(case: Case, subject: str | None) -> Case:
    return case if subject is None else replace(case, subject=subject, subject_given=True)


def _left_out(names: Mapping[str, Sequence[str]], left_out: Iterable[LeftOut]) -> Iterable[LeftOut]:
    """Those that would have been used: of the others nobody need know what is wrong."""
    for one in left_out:
        name = one.case.name
        if name in names.get("test", ()):
            yield replace(one, side="test")
        elif name in names.get("train", ()):
            yield replace(one, side="train")
        elif name not in names.get("unused", ()) and one.side not in names:
            yield one


def _without_repeated(folder: Path, found: Found) -> tuple[Found, list[Problem]]:
    """Leave out the cases whose name stands for more than one scan: nobody could tell which one is meant."""
    places: defaultdict[str, list[Case]] = defaultdict(list)
    for case in (*found.train, *found.unlabelled, *found.test):
        places[case.name].append(case)
    repeated = {name: cases for name, cases in sorted(places.items()) if len(cases) > 1}
    if not repeated:
        return found, []
    told = [f"{name} ({', '.join(case.images[0].parent.name for case in cases)})" for name, cases in repeated.items()]
    problem = Problem(
        "error",
        folder,
        f"{count_text(len(repeated), 'case name stands', 'case names stand')} for more than one scan: "
        f"{some_text(told)}",
        "rename all but one of each, with its label",
    )
    kept = replace(
        found,
        train=[case for case in found.train if case.name not in repeated],
        unlabelled=[case for case in found.unlabelled if case.name not in repeated],
        test=[case for case in found.test if case.name not in repeated],
        broken=found.broken | repeated.keys(),
    )
    return kept, [problem]


def _misnamed(found: Found) -> Iterable[Problem]:
    for case in (*found.train, *found.unlabelled, *found.test):
        fault = name_fault(case.name)
        if fault:
            yield Problem("error", case.images[0], f"the case name {shown(case.name)} {fault}", "rename its files")


def _names(path: Path, key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InputError(f'{path}: "{key}" must be a list of case names.')
    names = [normalize("NFC", name) for name in value]
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise InputError(f'{path}: "{key}" names {some_text(repeated)} more than once.')
    return names


def _subjects(path: Path, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or any(isinstance(person, dict | list | bool) for person in value.values()):
        raise InputError(f'{path}: "subjects" must be an object that gives each case its person.')
    # Null and blank mean that nobody knows who it is, not that it is one person.
    persons = {normalize("NFC", name): str(person).strip() for name, person in value.items() if person is not None}
    return {name: person for name, person in persons.items() if person}


def _list_problems(
    path: Path,
    content: Mapping[str, Any],
    names: Mapping[str, Sequence[str]],
    subjects: Mapping[str, str],
    found: Found,
) -> Iterable[Problem]:
    known = found.broken | {case.name for case in (*found.train, *found.unlabelled, *found.test)}
    for key, listed in (*names.items(), ("subjects", list(subjects))):
        absent = [name for name in listed if name not in known]
        if absent:
            yield Problem(
                "error",
                path,
                f'"{key}" names {count_text(len(absent), "case that is", "cases that are")} not on disk: '
                f"{some_text(absent)}",
                "add their files, or remove the names",
            )
    used = {name for key, listed in names.items() if key != "unused" for name in listed}
    both = sorted(used & {*names.get("unused", ())})
    if both:
        yield Problem(
            "error",
            path,
            f'"unused" names {count_text(len(both), "case that is", "cases that are")} in another list, too: '
            f"{some_text(both)}",
            "take them out of one of both",
        )
    train = names.get("train", [case.name for case in found.train])
    outside = sorted(set(names.get("holdout", ())) - set(train))
    if outside:
        yield Problem(
            "error",
            path,
            f'"holdout" names {count_text(len(outside), "case that is", "cases that are")} not in "train": '
            f"{some_text(outside)}",
            'add them to "train", since holdout is a part of it',
        )
    unknown = [key for key in content if key not in _KEYS]
    if unknown:
        told = f"the key {unknown[0]} means" if len(unknown) == 1 else f"the keys {some_text(unknown)} mean"
        yield Problem("warning", path, f"{told} nothing here", f"use {', '.join(_KEYS)}")


def _unused(path: Path, cases: Iterable[str], sides: Sides) -> Iterable[Problem]:
    used = {case.name for case in (*sides.train, *sides.test, *(one.case for one in sides.left_out))}
    unused = sorted(set(cases) - used)
    if unused:
        yield Problem(
            "note",
            path,
            f"{count_text(len(unused), 'case on disk is', 'cases on disk are')} on no side and not used: "
            f"{some_text(unused)}",
            'name them in "train" or "test" to use them',
        )


def _crossed(where: Path, sides: Sides, rows: Mapping[str, int]) -> Iterable[Problem]:
    """Cases and persons on two sides: what was learnt in training would be tested on itself."""
    both = sorted({case.name for case in sides.train} & {case.name for case in sides.test})
    if both:
        yield Problem(
            "error",
            where,
            f"{count_text(len(both), 'case is', 'cases are')} both for training and for testing: {some_text(both)}",
            "leave each on one side",
        )
    images = [image for image in sided_images(sides.train, sides.holdout, sides.test) if image.case not in both]
    yield from shared_files(where, images, rows)
    apart = [case for case in sides.train if case.name not in sides.holdout]
    held = [case for case in sides.train if case.name in sides.holdout]
    for cases, side in ((sides.test, "for testing"), (held, "held out")):
        rest = sides.train if cases is sides.test else apart
        known = {case.person for case in rest if case.subject_given}
        persons = sorted({case.subject for case in cases if case.person in known})
        if persons:
            scans = {
                person: [
                    named(case.name, rows) for case in (*rest, *cases) if case.subject_given and case.subject == person
                ]
                for person in persons
            }
            yield Problem(
                "error",
                where,
                f"{count_text(len(persons), 'person has', 'persons have')} scans both for training and {side}: "
                f"{some_text([f'{person} ({some_text(of)})' for person, of in scans.items()])}",
                "move all scans of a person to one side",
            )
