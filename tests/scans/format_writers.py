"""Odd scans, written by nibabel or by hand, never by duoseg.

Every writer takes the same content: voxels (X, Y, Z), an affine to RAS+ mm, and what is odd about the storage.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (5, 6, 7)
VOXELS = np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16)
AFFINE = np.array([[-0.7, 0, 0, 20], [0, -1.1, 0, -5], [0, 0, 3.0, 7], [0, 0, 0, 1]])
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

MM = {"mm": 1.0, "m": 1000.0, "um": 0.001, "": 1.0}
"""Millimetres in each unit of length; "" is none given."""

_NRRD_TYPES = {"u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "f4": "float", "f8": "double"}
_META_TYPES = {
    "u1": "MET_UCHAR",
    "i2": "MET_SHORT",
    "u2": "MET_USHORT",
    "i4": "MET_INT",
    "f4": "MET_FLOAT",
    "f8": "MET_DOUBLE",
}
_PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "zlib": zlib.compress,
}


def write_nifti(
    folder: Path,
    voxels: np.ndarray = VOXELS,
    affine: np.ndarray = AFFINE,
    *,
    name: str = "scan.nii",
    big: bool = False,
    unit: str = "mm",
    before: int = 0,
    after: bytes = b"",
    kind: type = nib.Nifti1Image,
    change: Callable[[nib.Nifti1Header], object] = lambda header: None,
) -> Path:
    """Write NIfTI by nibabel, with both forms set; ``change`` may alter the header. Of a pair, return the header."""
    header = kind.header_class(endianness=">" if big else "<")
    header.set_data_dtype(voxels.dtype)
    image = kind(voxels, None, header)
    in_unit = np.diag([*[1 / MM[unit]] * 3, 1.0]) @ affine
    products = affine[:3, :3].T @ affine[:3, :3]
    image.header.set_sform(in_unit, 1)
    image.header.set_qform(in_unit, int(np.allclose(products, np.diag(np.diag(products)))))
    image.header.set_xyzt_units({"mm": "mm", "m": "meter", "um": "micron", "": "unknown"}[unit])
    if before:
        image.header.set_data_offset(before)
    change(image.header)
    image.to_filename(folder / name)
    if after:
        with (folder / name).open("ab") as file:
            file.write(after)
    return folder / name.replace(".img", ".hdr").replace(".IMG", ".HDR")


def write_pair(folder: Path, voxels: np.ndarray = VOXELS, affine: np.ndarray = AFFINE, **options) -> Path:
    """Write a NIfTI pair by nibabel; return its header."""
    return write_nifti(folder, voxels, affine, **{"name": "scan.img", "kind": nib.Nifti1Pair} | options)


def write_nrrd(
    folder: Path,
    voxels: np.ndarray = VOXELS,
    affine: np.ndarray = AFFINE,
    *,
    name: str = "scan.nrrd",
    big: bool = False,
    unit: str = "",
    before: int = 0,
    after: bytes = b"",
    packed: str = "",
    changes: Mapping[str, str | None] | None = None,
    keys: Mapping[str, str] | None = None,
) -> Path:
    """Write NRRD by hand; ``changes`` replace fields or, with None, leave them out."""
    in_lps = np.diag([*[1 / MM[unit]] * 3, 1.0]) @ LPS @ affine
    vectors = [f"({','.join(repr(float(part)) for part in column)})" for column in in_lps[:3].T]
    fields: dict[str, str | None] = {
        "type": _NRRD_TYPES.get(voxels.dtype.str[1:], "block"),
        "dimension": str(voxels.ndim),
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, voxels.shape)),
        "space directions": " ".join([*vectors[:3], *["none"] * (voxels.ndim - 3)]),
        "space origin": vectors[3],
        "endian": "big" if big else "little",
        "encoding": packed or "raw",
    }
    if unit:
        fields["space units"] = " ".join([f'"{unit}"'] * 3)
    if before:
        fields["byte skip"] = str(before)
    fields |= changes or {}
    lines = [
        "NRRD0004",
        "# written by hand",
        *(f"{field}: {text}" for field, text in fields.items() if text is not None),
        *(f"{key}:={text}" for key, text in (keys or {}).items()),
    ]
    content = _PACK[packed](bytes(before) + stored(voxels, big=big) + after)
    path = folder / name
    if "data file" in fields or not name.lower().endswith(".nhdr"):
        path.write_bytes("\n".join([*lines, "", ""]).encode() + content)
        return path
    (folder / "scan.raw").write_bytes(content)
    path.write_bytes("\n".join([*lines, "data file: scan.raw", ""]).encode())
    return path


def write_meta(
    folder: Path,
    voxels: np.ndarray = VOXELS,
    affine: np.ndarray = AFFINE,
    *,
    name: str = "scan.mha",
    big: bool = False,
    unit: str = "",
    before: int = 0,
    after: bytes = b"",
    packed: str = "",
    changes: Mapping[str, str | None] | None = None,
) -> Path:
    """Write MetaImage by hand; ``changes`` replace keys or, with None, leave them out."""
    in_lps = np.diag([*[1 / MM[unit]] * 3, 1.0]) @ LPS @ affine
    axes = voxels.ndim
    spacing, matrix, offset = np.ones(axes), np.eye(axes), np.zeros(axes)
    spacing[:3] = np.linalg.norm(in_lps[:3, :3], axis=0)
    matrix[:3, :3] = (in_lps[:3, :3] / spacing[:3]).T
    offset[:3] = in_lps[:3, 3]
    keys: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": str(axes),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(big),
        "CompressedData": str(bool(packed)),
        "TransformMatrix": numbers(matrix.ravel()),
        "Offset": numbers(offset),
        "CenterOfRotation": numbers(np.zeros(axes)),
        "ElementSpacing": numbers(spacing),
        "DimSize": " ".join(map(str, voxels.shape)),
        "ElementType": _META_TYPES.get(voxels.dtype.str[1:], "MET_OTHER"),
    }
    if unit:
        keys["DistanceUnits"] = unit
    if before:
        keys["HeaderSize"] = str(before)
    content = _PACK[packed](bytes(before) + stored(voxels, big=big) + after)
    if packed:
        keys["CompressedDataSize"] = str(len(content))
    keys |= changes or {}
    path, is_split = folder / name, name.lower().endswith(".mhd")
    named = keys.pop("ElementDataFile", "scan.raw" if is_split else "LOCAL")
    text = "".join(f"{key} = {value}\n" for key, value in keys.items() if value is not None)
    path.write_bytes(f"{text}ElementDataFile = {named}\n".encode() + (b"" if is_split else content))
    if is_split and named == "scan.raw":
        (folder / "scan.raw").write_bytes(content)
    return path


def stored(voxels: np.ndarray, *, big: bool = False) -> bytes:
    """The bytes of voxels, the first axis fastest."""
    return voxels.astype(voxels.dtype.newbyteorder(">" if big else "<")).tobytes(order="F")


def numbers(values: np.ndarray) -> str:
    """Numbers with all their digits, separated by blanks."""
    return " ".join(repr(float(value)) for value in values)
