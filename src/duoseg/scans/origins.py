"""Whose scan a file is and in which coordinates it lies, as far as it says so: DICOM does, the other formats do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from duoseg.scans.cases import Case, Problem
from duoseg.scans.texts import count_text, some_text

FEW = 2
"""Scans of one identifier that are still those of one person, although no scan has another identifier."""
MOST_TOLD = 6
"""Persons of whom the cases are named; their identifiers are no business of a log."""


@dataclass(frozen=True)
class Origin:
    """Identifiers of a scan; "" where its file has none.

    Attributes:
        patient: PatientID.
        frame: FrameOfReferenceUID, equal for the scans whose coordinates are the same.
    """

    patient: str = ""
    frame: str = ""


NO_ORIGIN = Origin()


def label_origin_problems(label: Path, origin: Origin, others: Sequence[Origin], case: str) -> Iterator[Problem]:
    """Yield that a mask was drawn on another scan than those that it is said to belong to, although it may fit.

    Args:
        label: the mask's file.
        origin: its own.
        others: of the images of its case, or of the mask that it is compared with.
        case: what that is called.
    """
    if _is_other(origin.patient, [one.patient for one in others]):
        what = f"is of another patient than {case}, by its PatientID"
    elif _is_other(origin.frame, [one.frame for one in others]):
        what = f"was drawn in other coordinates than those of {case}, by its FrameOfReferenceUID"
    else:
        return
    yield Problem("warning", label, what, "make sure that label and image belong together")


def _is_other(identifier: str, others: Sequence[str]) -> bool:
    """Whether an identifier is none of some others, where all have one."""
    return identifier != "" and "" not in others and bool(others) and identifier not in others


def person_problems(where: Path, sides: Sequence[tuple[Case, str, Origin]]) -> Iterator[Problem]:
    """Yield persons who by their PatientID have scans on two sides, where nobody said who the persons are.

    Args:
        where: the data set, for the message.
        sides: each case with its side, in words, and its first image's origin.
    """
    scans: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for case, side, origin in sides:
        if origin.patient and not case.subject_given:
            scans[origin.patient].append((case.name, side))
    if len(scans) == 1 and max(map(len, scans.values())) > FEW:
        return  # one identifier for all tells nothing: whoever removed the names gave it
    crossed = [group for group in scans.values() if len({side for _, side in group}) > 1]
    if crossed:
        groups = [some_text([f"{name} ({side})" for name, side in group], MOST_TOLD) for group in crossed]
        yield Problem(
            "warning",
            where,
            f"{count_text(len(crossed), 'person has', 'persons have')} scans on two sides, by PatientID: "
            f"{some_text(groups, MOST_TOLD, separator='; ')}",
            "move all scans of a person to one side, or say who is who, under subjects in splits.json or in a table's "
            "column subject",
        )
