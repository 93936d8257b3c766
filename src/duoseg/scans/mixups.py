"""Labels, and persons, that were probably taken for one another's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from duoseg.scans.cases import Problem
from duoseg.scans.comparing import Inspected, side_of
from duoseg.scans.dataset import Dataset
from duoseg.scans.formats import stem
from duoseg.scans.texts import count_text, some_text

MOST_GRIDS = 3
"""Other scans on whose grid a label may lie; of more, the grid tells nothing."""
FEW = 2
"""Scans of one identifier that are still those of one person, although no scan has another identifier."""
MOST_TOLD = 6
"""Persons of whom the cases are named; their identifiers are no business of a log."""


def shared_labels(inspected: Sequence[Inspected]) -> Iterator[Problem]:
    """Yield one mask that is the label of several scans: no two persons have the same one."""
    places: defaultdict[str, list[Inspected]] = defaultdict(list)
    for one in inspected:
        if one.label.digest:
            places[one.label.digest].append(one)
    for group in places.values():
        persons = {one.case.person for one in group}
        images = {digest for one in group for digest in list(one.digests.values())[:1]}
        if len(persons) > 1 and len(images) > 1:  # a scan that is there twice is told as that
            file = group[-1].case.label
            assert file is not None
            yield Problem(
                "error",
                file,
                f"the same mask is the label of {len(group)} scans: {some_text([one.row.case for one in group])}",
                "give each scan its own, or say that they are one person's under subjects in splits.json",
            )


def swapped_labels(inspected: Sequence[Inspected]) -> Iterator[Problem]:
    """Yield labels that by their name, or by their grid, are those of another scan."""
    names = {one.row.case for one in inspected}
    grids = [(one.row.case, one.row.grid) for one in inspected if one.row.grid is not None]
    for one in inspected:
        label = one.case.label
        if label is None:
            continue
        if stem(label) in names and stem(label) not in (one.row.case, *map(stem, one.case.images)):
            yield Problem(
                "warning",
                label,
                f"is the label of {one.row.case}, and has the name of another scan",
                "make sure that they were not exchanged",
            )
        if one.label.strange_grid is not None:
            others = [case for case, grid in grids if grid.matches(one.label.strange_grid)]
            if others and len(others) <= MOST_GRIDS:
                yield Problem(
                    "warning",
                    label,
                    f"lies exactly on the grid of {some_text(others)}, and not on that of {one.row.case}",
                    "make sure that it was not drawn there: then it must not be resampled",
                )


def crossed_persons(dataset: Dataset, inspected: Sequence[Inspected]) -> Iterator[Problem]:
    """Yield persons who by their PatientID have scans on two sides, where nobody said who the persons are."""
    scans: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for one in inspected:
        if one.origin.patient and not one.case.subject_given:
            scans[one.origin.patient].append((one.case.name, side_of(one.row.role)))
    if len(scans) == 1 and max(map(len, scans.values())) > FEW:
        return  # one identifier for all tells nothing: whoever removed the names gave it
    crossed = [group for group in scans.values() if len({side for _, side in group}) > 1]
    if crossed:
        groups = [some_text([f"{name} ({side})" for name, side in group], MOST_TOLD) for group in crossed]
        yield Problem(
            "warning",
            dataset.place,
            f"{count_text(len(crossed), 'person has', 'persons have')} scans on two sides, by PatientID: "
            f"{some_text(groups, MOST_TOLD, separator='; ')}",
            "move all scans of a person to one side, or say who is who, under subjects in splits.json or in a table's "
            "column subject",
        )


def misspelt_persons(dataset: Dataset, inspected: Sequence[Inspected]) -> Iterator[Problem]:
    """Yield persons on two sides whose names differ in capitals or in zeros at the beginning alone."""
    spelt: defaultdict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for one in inspected:
        person = one.case.subject
        if one.case.subject_given:
            spelt[person.casefold().lstrip("0")][person].add(side_of(one.row.role))
    odd = [names for names in spelt.values() if len(names) > 1 and len(set().union(*names.values())) > 1]
    if odd:
        told = some_text([" and ".join(sorted(names)) for names in odd])
        yield Problem(
            "warning",
            dataset.place,
            f"{count_text(len(odd), 'person is', 'persons are')} on two sides if these are one: {told}",
            "spell each person in one way",
        )
