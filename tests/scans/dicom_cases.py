"""DICOM series as scanners and archives write them, odd ones too, built by pydicom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, generate_uid
from scipy.spatial.transform import Rotation

from duoseg.scans.phantom_series import write_phantom_series

SHAPE = (16, 12, 8)
SPACING = (0.7, 0.8, 2.5)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
LEGACY_CT = "1.2.840.10008.5.1.4.1.1.2.2"

Change = Callable[[Dataset, int], object]


def affine_of(*angles: float, spacing=SPACING, origin=(10.0, -20.0, 33.0)) -> np.ndarray:
    """A right-handed RAS affine, turned by Euler angles in degrees."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles or (10, 20, -30), degrees=True).as_matrix() * spacing
    affine[:3, 3] = origin
    return affine


def noise(shape=SHAPE, low=-1000, high=2000) -> np.ndarray:
    return np.random.default_rng(0).integers(low, high, shape).astype(np.int16)


def series(folder: Path, change: Change | None = None, *, voxels=None, affine=None, modality="MR", seed=0, text="p"):
    """A series of eight small slices; ``change`` is applied to each."""
    voxels = noise() if voxels is None else voxels
    affine = affine_of() if affine is None else affine
    write_phantom_series(folder, voxels, affine, modality=modality, seed=seed, description=text)
    if change:
        edit(folder, change)
    return folder


def edit(folder: Path, change: Change) -> None:
    """Apply ``change(dataset, index)`` to each file of a folder."""
    for index, file in enumerate(sorted(folder.glob("*.dcm"))):
        dataset = dcmread(file)
        change(dataset, index)
        dataset.save_as(file)


def at(index: int, change: Callable[[Dataset], object]) -> Change:
    """A change of one slice only."""
    return lambda dataset, number: change(dataset) if number == index else None


def without(*keywords: str) -> Callable[..., None]:
    """A change that drops elements."""

    def drop(dataset: Dataset, _: int = 0) -> None:
        for keyword in keywords:
            delattr(dataset, keyword)

    return drop


def setting(**values: object) -> Callable[..., None]:
    """A change that sets elements."""

    def change(dataset: Dataset, _: int = 0) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def store(dataset: Dataset, pixels: np.ndarray, **elements: object) -> None:
    """Store (rows, columns) as uncompressed pixels of their own type."""
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    setting(**elements)(dataset)
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"


def compress(dataset: Dataset, syntax: str, stream: bytes) -> None:
    """Store one compressed frame."""
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def plane(dataset: Dataset) -> np.ndarray:
    """The stored pixels of a 16-bit slice."""
    kind = "<i2" if dataset.PixelRepresentation else "<u2"
    return np.frombuffer(dataset.PixelData, kind).reshape(dataset.Rows, dataset.Columns).astype(kind[1:])


def item(**values: object) -> Dataset:
    """A dataset with some elements; lists of datasets are sequences."""
    dataset = Dataset()
    setting(**values)(dataset)
    return dataset


def enhanced(path: Path, voxels=None, affine=None, *, order=None, slopes=None, sop_class=ENHANCED_MR, change=None):
    """An enhanced multi-frame file; ``order`` is the slice of each frame, ``slopes`` the rescale slope of each."""
    voxels = noise() if voxels is None else voxels
    lps = LPS @ (affine_of() if affine is None else affine)
    sides = np.linalg.norm(lps[:3, :3], axis=0)
    order = range(voxels.shape[2]) if order is None else order
    template = path.parent / f".{path.name}.template"
    series(template, voxels=voxels, affine=LPS @ lps)
    dataset = dcmread(template / "0001.dcm")
    without("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")(dataset)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    dataset.NumberOfFrames = len(order)
    cosines = [f"{part:.10f}" for part in (lps[:3, :2] / sides[:2]).T.ravel()]
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=cosines)],
            PixelMeasuresSequence=[
                item(PixelSpacing=[sides[1], sides[0]], SliceThickness=9, SpacingBetweenSlices=sides[2])
            ],
        )
    ]
    uid = generate_uid(entropy_srcs=["stack"])
    dataset.DimensionOrganizationSequence = [item(DimensionOrganizationUID=uid)]
    pointers = [(0x0020, 0x9057), (0x0020, 0x9111)]
    dataset.DimensionIndexSequence = [
        item(DimensionOrganizationUID=uid, DimensionIndexPointer=pointers[0], FunctionalGroupPointer=pointers[1])
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[item(StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=k + 1)],
            PlanePositionSequence=[item(ImagePositionPatient=[f"{part:.9f}" for part in lps[:3, 3] + k * lps[:3, 2]])],
            PixelValueTransformationSequence=[
                item(RescaleIntercept=0, RescaleSlope=1 if slopes is None else slopes[number], RescaleType="US")
            ],
        )
        for number, k in enumerate(order)
    ]
    dataset.PixelData = np.stack([voxels[:, :, k].T for k in order]).astype("<i2").tobytes()
    if change:
        change(dataset)
    dataset.save_as(path)
    for file in template.iterdir():
        file.unlink()
    template.rmdir()
    return path


def bare(dataset: Dataset, path: Path) -> Path:
    """Save without preamble and file meta, in implicit little endian, as before 1993."""
    dataset.file_meta = FileMetaDataset()
    dataset.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
    return path


def by_simpleitk(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (X, Y, Z) and RAS affine as SimpleITK reads a folder."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, LPS @ affine
