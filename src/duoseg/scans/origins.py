"""Whose scan a file is and in which coordinates it lies, as far as it says so: DICOM does, the other formats do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from duoseg.scans.cases import Problem


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
