"""Scans read by other libraries than duoseg's own readers: voxels (X, Y, Z), and the affine to RAS+ mm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import highdicom
import nibabel as nib
import nrrd
import numpy as np
import pydicom
import SimpleITK as sitk
from format_writers import LPS

Reader = Callable[[Path], tuple[np.ndarray, np.ndarray]]


def by_another_library(format_: str) -> Reader:
    """The reader of one of the matrix's formats."""
    readers = {"NRRD": by_pynrrd, "MetaImage": by_simpleitk, "DICOM": by_dicom_library}
    return readers.get(format_, by_nibabel)


def by_dicom_library(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A series by SimpleITK, a multi-frame file by highdicom."""
    return (by_highdicom if path.is_file() else by_simpleitk)(path)


def by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine (in the file's unit) by nibabel."""
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine


def by_pynrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine (in the file's unit) by pynrrd."""
    voxels, header = nrrd.read(str(path))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = header["space directions"][:3, :3].T, header["space origin"]
    return voxels, LPS @ affine


def by_simpleitk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine by SimpleITK; of a folder, those of its only series or of that behind the mark."""
    if path.is_file():
        return _of_itk(sitk.ReadImage(str(path)))
    folder, _, uid = str(path).partition("#")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder, uid))
    return _of_itk(reader.Execute())


def by_highdicom(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine of a multi-frame file (numbers of segments of a SEG) by highdicom."""
    is_seg = pydicom.dcmread(path, specific_tags=["Modality"]).Modality == "SEG"
    # Its axes are slices (against their normal), rows, columns.
    volume = (
        highdicom.seg.segread(path).get_volume(combine_segments=True) if is_seg else highdicom.imread(path).get_volume()
    )
    affine = LPS @ volume.affine[:, [2, 1, 0, 3]]
    affine[:, 3] += affine[:, 2] * (volume.array.shape[0] - 1)
    affine[:, 2] *= -1
    return volume.array[::-1].transpose(2, 1, 0), affine


def by_pydicom(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of segments and affine from the positions of the frames: highdicom refuses volumes of a tilted gantry."""
    dataset = pydicom.dcmread(path)
    shared, frames = dataset.SharedFunctionalGroupsSequence[0], dataset.PerFrameFunctionalGroupsSequence
    at = [np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float) for frame in frames]
    numbers = [frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber for frame in frames]
    axes = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(*axes)
    heights = sorted({round(float(position @ normal), 3) for position in at})
    volume = np.zeros((dataset.Columns, dataset.Rows, len(heights)), np.uint8)
    for position, number, frame in zip(at, numbers, dataset.pixel_array, strict=True):
        volume[:, :, heights.index(round(float(position @ normal), 3))][frame.T > 0] = number
    first, last = (end(at, key=lambda position: position @ normal) for end in (min, max))
    down, across = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3] = np.stack([axes[0] * across, axes[1] * down, (last - first) / max(1, len(heights) - 1), first], axis=1)
    return volume, LPS @ affine


def segment_names(path: Path) -> dict[str, int]:
    """Names and values of the segments of a NRRD file, as 3D Slicer's documentation has them."""
    lines = path.read_bytes().split(b"\n\n")[0].decode().splitlines()
    keys = dict(line.split(":=") for line in lines if ":=" in line)
    count = sum(key.endswith("_ID") for key in keys)
    return {keys[f"Segment{index}_Name"]: int(keys[f"Segment{index}_LabelValue"]) for index in range(count)}


def _of_itk(image: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    axes = image.GetDimension()
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(axes, axes)[:3, :3]
    affine[:3, :3], affine[:3, 3] = direction * np.array(image.GetSpacing())[:3], image.GetOrigin()[:3]
    return sitk.GetArrayFromImage(image).T, LPS @ affine
