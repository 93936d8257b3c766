"""One list of frames for both ways in which DICOM stores a volume: a file a slice, or one file with many frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from duoseg.errors import InputError
from duoseg.scans.formats.dicom.headers import Header, damaged

_RIGHT_ANGLE = 0.01  # cosine between rows and columns, and error of their lengths, by which they may be rounded
_MOST_FRAMES = 1_000_000
_PIXELS = (1, 65535)
_CONVERT = "convert the series to NIfTI with a program that knows its maker's files, such as dcm2niix"

# What tells two images of one place apart, in the words of a radiographer.
_FACTS = {
    "AcquisitionNumber": "acquisition number",
    "AcquisitionTime": "acquisition time",
    "AcquisitionDateTime": "acquisition time",
    "FrameAcquisitionNumber": "acquisition number",
    "FrameAcquisitionDateTime": "acquisition time",
    "FrameReferenceDateTime": "time",
    "EchoTime": "echo time",
    "EchoNumbers": "echo number",
    "EffectiveEchoTime": "echo time",
    "InversionTime": "inversion time",
    "DiffusionBValue": "b-value",
    "TemporalPositionIdentifier": "time point",
    "TemporalPositionIndex": "time point",
    "TriggerTime": "trigger time",
    "NominalCardiacTriggerDelayTime": "trigger time",
    "ContentTime": "time",
    "ConvolutionKernel": "kernel",
    "KVP": "tube voltage",
    "StackID": "stack",
    "ComplexImageComponent": "image type",
    "FrameType": "image type",
    "ImageType": "image type",
    "SOPInstanceUID": "",  # last, and not shown: where it is the same in two files, one is a copy
}

KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "SeriesDescription", "SeriesNumber"),
    *("PatientID", "FrameOfReferenceUID"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ModalityLUTSequence"),
    *("SegmentationType", "SegmentSequence"),
    *_FACTS,
)
"""The elements that reading a series needs, its pixel data aside."""


@dataclass(frozen=True, eq=False)
class Frame:
    """Where one slice lies, and what its numbers mean. Lengths are in mm, directions in LPS as DICOM has them.

    Attributes:
        path: the file.
        index: of the frame in the file, from 0.
        count: frames in the file.
        size: columns and rows, in pixels.
        position: (3,) centre of the first pixel.
        row: (3,) unit vector along a row, towards higher columns.
        column: (3,) unit vector along a column, towards higher rows.
        spacing: distance between columns, then between rows.
        step: the distance to the next slice that the header announces (SpacingBetweenSlices), or None.
        thickness: of the slice, or None.
        slope: by which a stored value is multiplied.
        intercept: which is then added.
        facts: what may tell it apart from another frame in the same place.
        groups: the headers that describe it, the most particular first.
    """

    path: Path
    index: int
    count: int
    size: tuple[int, int]
    position: NDArray[np.float64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    spacing: tuple[float, float]
    step: float | None
    thickness: float | None
    slope: float
    intercept: float
    facts: tuple[str, ...]
    groups: tuple[Header, ...]

    @property
    def name(self) -> str:
        """Its file, with the number of the frame (from 1) where there are several."""
        return self.path.name if self.count == 1 else f"{self.path.name} frame {self.index + 1}"

    @property
    def normal(self) -> NDArray[np.float64]:
        """(3,) unit vector at right angles to the slice."""
        return np.cross(self.row, self.column)


def frames_of(header: Header) -> list[Frame]:
    """Return the frames of one file, in its order.

    Raises:
        InputError: what places a frame in the body is missing or damaged; nothing is ever assumed.
    """
    count = header.whole("NumberOfFrames", 1)
    each = header.items("PerFrameFunctionalGroupsSequence")
    if not 1 <= count <= _MOST_FRAMES or (each and len(each) != count):
        raise damaged(header.path, f"it announces {count} frames, and describes {len(each)}")
    if not each and count > 1:
        raise InputError(
            f"{header.path}: its {count} frames are stored without their positions, as films and secondary captures "
            "are; give the original series."
        )
    if any("MOSAIC" in str(part).upper() for part in header.get("ImageType") or ()):
        raise InputError(f"{header.path}: is a mosaic, all slices of a volume as tiles of one image; {_CONVERT}.")
    own = [(*item.all_items(), item) for item in each] or [()]
    shared = [group for item in header.items("SharedFunctionalGroupsSequence") for group in (*item.all_items(), item)]
    return [_frame(header, index, count, (*groups, *shared, header)) for index, groups in enumerate(own)]


def difference(frames: Sequence[Frame]) -> str:
    """Say what the headers of frames in one place tell apart, such as "echo time (4.6, 9.2)"."""
    uids = {frame.path: frame.facts[-1] for frame in frames}
    if len(uids) > len(set(uids.values()) - {""}) > 0:
        return "nothing: one file is a copy of another"
    told: dict[str, str] = {}
    for label, values in zip(_FACTS.values(), zip(*(frame.facts for frame in frames), strict=True), strict=True):
        if label and len(set(values)) > 1:
            told.setdefault(label, ", ".join(dict.fromkeys(value or "none" for value in values[:3])))
    return " and ".join(f"{label} ({values})" for label, values in list(told.items())[:3]) or "nothing that is told"


def lookup(groups: Sequence[Header], keyword: str) -> Header:
    """Return the most particular of the headers ``groups`` that has an element; the last where none has."""
    return next((group for group in groups if keyword in group.dataset), groups[-1])


def _frame(header: Header, index: int, count: int, groups: tuple[Header, ...]) -> Frame:
    where = "" if count == 1 else f"frame {index + 1} "
    position = _needed(groups, "ImagePositionPatient", 3, where)
    cosines = _needed(groups, "ImageOrientationPatient", 6, where)
    between_rows, between_columns = _needed(groups, "PixelSpacing", 2, where)
    if min(between_rows, between_columns) <= 0:
        raise damaged(header.path, f"PixelSpacing is {between_rows} x {between_columns} mm")
    row, column = _axes(header.path, cosines)
    columns, rows = (header.whole(keyword, 0) for keyword in ("Columns", "Rows"))
    if not all(_PIXELS[0] <= side <= _PIXELS[1] for side in (columns, rows)):
        raise damaged(header.path, f"it has {columns} x {rows} pixels")
    step, thickness, slope, intercept = (
        lookup(groups, keyword).number(keyword)
        for keyword in ("SpacingBetweenSlices", "SliceThickness", "RescaleSlope", "RescaleIntercept")
    )
    return Frame(
        path=header.path,
        index=index,
        count=count,
        size=(columns, rows),
        position=np.array(position),
        row=row,
        column=column,
        spacing=(between_columns, between_rows),
        step=step,
        thickness=thickness,
        slope=1.0 if slope is None else slope,
        intercept=0.0 if intercept is None else intercept,
        facts=tuple(lookup(groups, keyword).text(keyword) for keyword in _FACTS),
        groups=groups,
    )


def _needed(groups: Sequence[Header], keyword: str, count: int, where: str) -> tuple[float, ...]:
    numbers = lookup(groups, keyword).numbers(keyword, count)
    if numbers is None:
        raise InputError(
            f"{groups[-1].path}: {where}has no {keyword}, so that nothing says where its pixels lie; "
            "export the original series again, not a secondary capture."
        )
    return numbers


def _axes(path: Path, cosines: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the two directions, at right angles and of length 1 but for the rounding of their digits."""
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if np.abs(lengths - 1).max() > _RIGHT_ANGLE or abs(row @ column) > _RIGHT_ANGLE:
        raise damaged(path, f"ImageOrientationPatient is {', '.join(f'{cosine:g}' for cosine in cosines)}")
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)
