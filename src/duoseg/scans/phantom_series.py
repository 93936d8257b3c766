"""Synthetic scans as the DICOM series that a scanner would write, a file a slice."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from duoseg.errors import InputError
from duoseg.files import atomic_path

if TYPE_CHECKING:
    from pydicom import Dataset

Modality = Literal["CT", "MR"]

_SOP_CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
_CT_BITS = 12
_AIR = -1024  # the intercept of CT scanners, which store no negative numbers
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_RIGHT_ANGLE = 1e-6
_DECIMALS = 12  # beyond them, a number that should be zero is written with an exponent
_DATE, _TIME = "20240101", "120000"


def write_phantom_series(
    folder: Path,
    voxels: NDArray[np.int16],
    affine: NDArray[np.float64],
    *,
    modality: Modality = "MR",
    seed: int = 0,
    description: str = "phantom",
) -> Path:
    """Write a valid single-frame series; the same arguments give the same bytes.

    Args:
        folder: Created if absent; files of the same names are replaced.
        voxels: (X, Y, Z) int16; slices are its planes along Z, columns run along X.
        affine: (4, 4) from voxel index to RAS+ mm. X and Y must be at right angles; a Z that is not at right angles to
            both is a tilted gantry. Readers order slices along X × Y, so that a left-handed affine comes back with its
            last axis reversed.
        modality: "CT", stored with the intercept -1024, or "MR".
        seed: Of the identifiers: series of one seed belong to one patient, study and frame of reference.
        description: SeriesDescription.

    Returns:
        The folder.

    Raises:
        InputError: The voxels are no volume, or X and Y are not at right angles.
    """
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    if voxels.ndim != 3 or voxels.dtype != np.int16 or min(voxels.shape) < 1:
        raise InputError(
            f"{folder}: a series is made from int16 voxels along three axes, not {voxels.dtype} {voxels.shape}."
        )
    if abs(affine[:3, 0] @ affine[:3, 1]) > _RIGHT_ANGLE * sides[0] * sides[1]:
        raise InputError(f"{folder}: rows and columns of a slice must be at right angles; resample the volume.")
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    intercept = _AIR if modality == "CT" and voxels.min() >= _AIR else 0
    stored = (voxels.astype(np.int32) - intercept).astype(np.uint16)  # two's complement where it is negative
    content = hashlib.sha256(voxels.tobytes() + affine.astype("<f8").tobytes() + f"{modality} {description}".encode())
    common = _common(modality, seed, description, content.hexdigest())
    common["Rows"], common["Columns"] = voxels.shape[1], voxels.shape[0]
    common["PixelSpacing"] = [_decimal(sides[1]), _decimal(sides[0])]
    common["ImageOrientationPatient"] = [_decimal(part) for part in (lps[:3, :2] / sides[:2]).T.ravel()]
    common["SliceThickness"] = _decimal(float(np.abs(np.linalg.det(affine[:3, :3]))) / (sides[0] * sides[1]))
    common["PixelRepresentation"] = int(intercept == 0)
    if modality == "CT":
        common |= {"RescaleIntercept": intercept, "RescaleSlope": 1, "RescaleType": "HU"}
    if intercept and stored.max() < 1 << _CT_BITS:
        common |= {"BitsStored": _CT_BITS, "HighBit": _CT_BITS - 1}
    for index in range(voxels.shape[2]):
        position = lps[:3, 3] + index * lps[:3, 2]
        own = {
            "InstanceNumber": index + 1,
            "SOPInstanceUID": _uid(seed, "instance", content.hexdigest(), str(index)),
            "ImagePositionPatient": [_decimal(part) for part in position],
            "PixelData": np.ascontiguousarray(stored[:, :, index].T).astype("<u2").tobytes(),
        }
        with atomic_path(folder / f"{index + 1:04d}.dcm") as temporary:
            _dataset(common | own).save_as(temporary, enforce_file_format=True)
    return folder


def _common(modality: Modality, seed: int, description: str, content: str) -> dict[str, object]:
    """Return what all slices share: the attributes that the standard requires, by keyword."""
    of_kind = {
        "CT": {"KVP": "120", "AcquisitionNumber": "1"},
        "MR": {
            "ScanningSequence": "GR",
            "SequenceVariant": "NONE",
            "ScanOptions": "",
            "MRAcquisitionType": "3D",
            "RepetitionTime": "5",
            "EchoTime": "2",
            "EchoTrainLength": "1",
        },
    }
    return {
        "SOPClassUID": _SOP_CLASSES[modality],
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "M"],
        "Modality": modality,
        "Manufacturer": "duoseg phantoms",
        "SeriesDescription": description,
        "PatientName": f"Phantom^{seed}",
        "PatientID": f"phantom-{seed}",
        "PatientBirthDate": "",
        "PatientSex": "O",
        "PatientPosition": "HFS",
        "StudyInstanceUID": _uid(seed, "study"),
        "SeriesInstanceUID": _uid(seed, "series", content),
        "FrameOfReferenceUID": _uid(seed, "frame of reference"),
        "PositionReferenceIndicator": "",
        "StudyID": str(seed),
        "SeriesNumber": 1,
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        **{f"{what}Date": _DATE for what in ("Study", "Series", "Acquisition", "Content")},
        **{f"{what}Time": _TIME for what in ("Study", "Series", "Acquisition", "Content")},
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        **of_kind[modality],
    }


def _dataset(values: dict[str, object]) -> Dataset:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(_EXPLICIT_LITTLE_ENDIAN)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _decimal(value: float) -> str:
    """Write a number with all the digits that a decimal string (16 characters) has room for."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(round(float(value), _DECIMALS) + 0.0)  # no minus before a zero


def _uid(seed: int, *parts: str) -> str:
    from pydicom.uid import generate_uid

    return generate_uid(entropy_srcs=["duoseg phantom", str(seed), *parts])
