"""DICOM series in the forms that scanners and archives give them, made from a plain one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import highdicom
import imagecodecs
import numpy as np
from pydicom import DataElement, Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless, generate_uid

_CODECS: dict[str, tuple[UID, Callable[[np.ndarray], bytes | bytearray]]] = {
    "JPEG lossless": (
        JPEGLosslessSV1,
        lambda pixels: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=16),
    ),
    "JPEG-LS": (JPEGLSLossless, imagecodecs.jpegls_encode),
    "JPEG 2000": (
        JPEG2000Lossless,
        lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="j2k"),
    ),
}


def compressed(series: Path, folder: Path, codec: str) -> None:
    """Write the slices of a plain series, losslessly compressed."""
    folder.mkdir(parents=True)
    for file in sorted(series.iterdir()):
        dataset = dcmread(file)
        if codec == "RLE":
            dataset.compress(RLELossless, generate_instance_uid=False)
        else:
            syntax, encode = _CODECS[codec]
            dataset.PixelData = encapsulate([bytes(encode(np.ascontiguousarray(dataset.pixel_array).view(np.uint16)))])
            dataset["PixelData"].VR = "OB"
            dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(folder / file.name)


def enhanced(series: Path, path: Path) -> None:
    """Write a plain series as one multi-frame file."""
    sources = [dcmread(file) for file in sorted(series.iterdir())]
    kinds = {
        "CT": highdicom.legacy.LegacyConvertedEnhancedCTImage,
        "MR": highdicom.legacy.LegacyConvertedEnhancedMRImage,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds[sources[0].Modality](
            legacy_datasets=sources,
            series_instance_uid=generate_uid(entropy_srcs=["series"]),
            series_number=2,
            sop_instance_uid=generate_uid(entropy_srcs=["instance"]),
            instance_number=1,
        ).save_as(path)
    settle(path)


def settle(path: Path) -> None:
    """Replace what is drawn at random or from the clock, so that a file is the same bytes each time."""
    fixed = {"TM": "120000.000000", "DT": "20240101120000.000000", "DA": "20240101"}

    def replaced(dataset: Dataset, element: DataElement) -> None:
        if element.VR in fixed and element.value:
            element.value = fixed[element.VR]
        elif element.keyword == "DimensionOrganizationUID":
            element.value = generate_uid(entropy_srcs=["organization"])

    dataset = dcmread(path)
    dataset.walk(replaced)
    dataset.save_as(path)
