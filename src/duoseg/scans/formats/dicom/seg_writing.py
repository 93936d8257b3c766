"""Writing masks as DICOM segmentations (SEG), which viewers overlay on the series that they were made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from duoseg.errors import InputError
from duoseg.files import atomic_path
from duoseg.scans.formats.dicom.codes import kind_of_class
from duoseg.scans.formats.dicom.headers import Header, damaged, one_line, read_header
from duoseg.scans.formats.dicom.series import Series
from duoseg.scans.formats.dicom.stacking import Stack
from duoseg.scans.formats.palette import colour
from duoseg.version import __version__

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom import Dataset

# What a SEG takes over from its source: these may be empty in the standard, and are where they are missing.
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName", "Modality"),
)
_MULTI_FRAME = "PerFrameFunctionalGroupsSequence"
_SEXES = ("", "M", "F", "O")
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID")
LABEL_VALUE = "label value "
"""What stands before a class's value, which its segment's number need not be, in the description of its segment."""

_LONGEST_LABEL = 64
_SERIES_NUMBER = 1000  # far above those of scanners
_NAME = "duoseg"
_UTF_8 = "ISO_IR 192"  # class names are in any language


def write_segmentation(
    path: Path, voxels: np.ndarray, *, series: Series, found: Stack, segments: Mapping[str, int] | None
) -> None:
    """Write a mask (X, Y, Z) on the slices ``found`` of a series.

    All slices are stored for each segment, also empty ones, so that the SEG covers the grid of the series. The same
    mask of the same series gets the same identifiers.

    Raises:
        InputError: ``segments`` do not name each value, or the series lacks what a SEG needs.
    """
    frames = found.frames
    numbers = _segment_numbers(path, voxels, segments)
    files = dict.fromkeys(frame.path for frame in frames)
    if len(files) > 1 and any(_MULTI_FRAME in frame.groups[-1].dataset for frame in frames):
        raise InputError(
            f"{path}: a DICOM SEG cannot refer to a volume in {len(files)} multi-frame files, as in {series.path}; "
            "choose --format nii.gz."
        )
    sources = [_source(path, file) for file in files]
    mask = np.zeros((len(frames), *voxels.shape[1::-1]), np.min_scalar_type(max(numbers.values())))
    for place, frame in enumerate(frames):
        plane = voxels[:, :, place].T
        for value, number in numbers.items():
            mask[frame.index if frame.count > 1 else place][plane == value] = number
    named = {value: name for name, value in (segments or {}).items()}
    segmentation = _made(path, series, sources, mask, [(named[value], value) for value in numbers])
    if len(frames) == 1:  # which the library takes for 1 mm thick, having no other slice to measure by
        shared = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        shared.SpacingBetweenSlices = round(found.grid.spacing[2], 6)
    with atomic_path(path) as temporary:
        segmentation.save_as(temporary)


def _segment_numbers(path: Path, voxels: np.ndarray, segments: Mapping[str, int] | None) -> dict[int, int]:
    """Return the number of the segment for each value of the mask."""
    if segments is None or voxels.dtype.kind not in "biu":
        raise InputError(f"{path}: only masks of named classes can be written as DICOM SEG; name the file .nii.gz.")
    values = sorted(value for value in segments.values() if value)
    present = {int(value) for value in np.unique(voxels)} - {0}
    if not values or present - set(values) or len(set(values)) < len(values):
        unnamed = ", ".join(map(str, sorted(present - set(values)))) or "none"
        raise InputError(
            f"{path}: each class needs a name and a value of its own (without a name: {unnamed}); name them."
        )
    return {value: number for number, value in enumerate(values, start=1)}


def _source(path: Path, file: Path) -> Dataset:
    header = read_header(file)
    dataset = header.dataset
    missing = [keyword for keyword in _NEEDED if not header.text(keyword)]
    if missing:
        raise InputError(
            f"{path}: {file} has no {', '.join(missing)}, by which a DICOM SEG refers to it; choose --format nii.gz."
        )
    for keyword in _MAY_BE_EMPTY:
        if not _well_formed(header, keyword):
            setattr(dataset, keyword, "")
    return dataset


def _well_formed(header: Header, keyword: str) -> bool:
    """Whether an element is there, and as the standard has it: a date in a wrong form is no reason to have no mask.

    Raises:
        InputError: its bytes are damaged.
    """
    from pydicom.valuerep import DA, TM

    if keyword not in header.dataset:
        return False
    try:
        text = str(header.dataset[keyword].value or "")
        {"DA": DA, "TM": TM}.get(header.dataset[keyword].VR, str)(text)
    except ValueError:
        return False
    except Exception as error:  # whatever the bytes make pydicom raise
        raise damaged(header.path, error) from error
    return keyword != "PatientSex" or text in _SEXES


def _made(
    path: Path, series: Series, sources: Sequence[Dataset], mask: np.ndarray, classes: Sequence[tuple[str, int]]
) -> Segmentation:
    from highdicom.seg import Segmentation, SegmentationTypeValues

    content = hashlib.sha256(mask.tobytes())
    content.update("\0".join([repr(classes), *(str(source.SOPInstanceUID) for source in sources)]).encode())
    digest = content.hexdigest()
    try:
        segmentation = Segmentation(
            source_images=sources,
            pixel_array=mask,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=[_description(number, *one) for number, one in enumerate(classes, start=1)],
            series_instance_uid=_uid("series", digest),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=_uid("instance", digest),
            instance_number=1,
            manufacturer=_NAME,
            manufacturer_model_name=_NAME,
            software_versions=__version__,
            device_serial_number="0",
            content_label="SEGMENTATION",
            content_description=f"Segmentation by {_NAME}",
            series_description=f"Segmentation by {_NAME}",
            specific_character_set=_UTF_8,
            omit_empty_frames=False,
        )
    except MemoryError:
        raise
    except Exception as error:  # whatever a source makes the libraries raise that is not as the standard wants it
        raise InputError(
            f"{path}: no DICOM SEG can be made of {series.path}, whose headers are not as the standard has them "
            f"({one_line(error)[:160]}); choose --format nii.gz."
        ) from error
    organization = _uid("organization", digest)  # highdicom draws one at random
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
    return segmentation


def _description(number: int, name: str, value: int) -> SegmentDescription:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from pydicom.sr.codedict import codes

    category, kind = kind_of_class(name)
    description = SegmentDescription(
        segment_number=number,
        segment_label=name.replace("\\", "/")[:_LONGEST_LABEL],  # a backslash separates values
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=_NAME, family=codes.DCM.ArtificialIntelligence, version=__version__
        ),
        display_color=CIELabColor.from_rgb(*colour(number - 1)),
    )
    description.SegmentDescription = f"{LABEL_VALUE}{value}"
    return description


def _uid(what: str, digest: str) -> str:
    from pydicom.uid import generate_uid

    return generate_uid(entropy_srcs=[_NAME, what, digest])
