"""The cells of the format matrix about masks: those that duoseg writes, read by others, and those of others."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from format_cells import (
    MIRRORED,
    OBLIQUE,
    REFUSED,
    SAGITTAL,
    SHEARED,
    WRITERS,
    Cell,
    Reading,
    everywhere,
)
from format_readers import Reader, by_highdicom, by_nibabel, by_pynrrd, by_simpleitk, segment_names
from format_writers import SHAPE

from duoseg.scans.formats import OutputFormat, mask_suffix, write_like

SECTION = "Masks"
ON_GRID = "on its grid"
SEGMENTS = {"left atrium": 1, "Ödem": 3}
MASK = np.zeros(SHAPE, np.uint8)
MASK[1:3, 2:5, 1:6], MASK[4, 5, :] = 1, 3

_OTHER_READERS: dict[str, Reader] = {
    ".nii": by_nibabel,
    ".gz": by_nibabel,
    ".hdr": by_nibabel,
    ".nrrd": by_pynrrd,
    ".mha": by_simpleitk,
    ".mhd": by_simpleitk,
    ".dcm": by_highdicom,
}


def cells() -> Iterator[Cell]:
    """Yield all cells, row by row."""
    for oddity, affine in (
        ("written on an oblique scan", OBLIQUE),
        ("written on a sagittal scan", SAGITTAL),
        ("written on a scan with a tilted gantry", SHEARED),
    ):
        yield from written(oddity, affine=affine)
    yield from written("written on a mirrored scan", affine=MIRRORED)
    split = {"NRRD": {"name": "scan.nhdr"}, "MetaImage": {"name": "scan.mhd"}, "NIfTI pair": {"name": "scan.img.gz"}}
    yield from written("written on a scan in two files", only=tuple(split), per=split)
    yield from written("`--format nii.gz`", "nii.gz", affine=OBLIQUE)
    yield from written("`--format nrrd`, with names of classes", "nrrd", affine=OBLIQUE)
    yield from everywhere(
        SECTION,
        "`--format dicom-seg`",
        REFUSED,
        expected={"read": partial(through_mask, output="dicom-seg")},
        says="a DICOM SEG refers to the (DICOM )?series",
        text="there is no series to refer to",
    )
    keys = {
        "Segment0_ID": "Segment_1",
        "Segment0_Name": "left atrium",
        "Segment0_LabelValue": "1",
        "Segment0_Layer": "0",
        "Segment0_Extent": "0 4 0 5 0 6",
        "Segmentation_MasterRepresentation": "Binary labelmap",
    }
    slicer = partial(everywhere, SECTION, only=("NRRD",), keys=keys, name="scan.seg.nrrd")
    yield from slicer("drawn in 3D Slicer", voxels=MASK, packed="gzip")
    layers = {"voxels": np.stack([MASK, MASK]), "changes": {"kinds": "list domain domain domain"}}
    layers["changes"] |= {"space directions": "none (-0.7,0,0) (0,-1.1,0) (0,0,3)"}
    yield from slicer(
        "segments that overlap",
        REFUSED,
        per={"NRRD": layers},
        says="2 layers of overlapping segments",
        text="one class a voxel",
    )


def written(oddity: str, output: OutputFormat = "same", **options) -> Iterator[Cell]:
    """Yield a row of masks of scans, written by duoseg and read by another library."""
    read = {"voxels": MASK, "read": partial(through_mask, output=output)}
    return everywhere(SECTION, oddity, expected=read, text=ON_GRID, only=options.pop("only", tuple(WRITERS)), **options)


def through_mask(scan: Path, *, output: OutputFormat = "same", reader: Reader | None = None) -> Reading:
    """What another library reads from a mask that duoseg writes for a scan."""
    path = scan.with_name(f"mask{mask_suffix(scan, output)}")
    write_like(path, MASK, like=scan, segments=SEGMENTS)
    if path.suffix == ".nrrd":
        assert segment_names(path) == SEGMENTS
    return Reading(*(reader or _OTHER_READERS[path.suffix])(path))
