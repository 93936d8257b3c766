"""What a file really is, by its first bytes: names lie, and downloads fail without a word."""

from __future__ import annotations

import bz2
import gzip
import re
from dataclasses import dataclass
from pathlib import Path

from duoseg.errors import InputError

HEAD_BYTES = 512
"""So many first bytes tell every kind that is known here."""

LFS_POINTER = b"version https://git-lfs.github.com/spec"

_COPY_AGAIN = "copy or download it again"
_NO_SCAN = "give the scan itself"
_CONVERT = "convert it to NIfTI"


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: for people.
        ending: of its names, where it is a kind of scan that can be read.
        remedy: what to do about one that was taken for a scan, if renaming is not the answer.
    """

    name: str
    ending: str = ""
    remedy: str = _NO_SCAN


_NIFTI = Kind("NIfTI", ".nii")
_PAIR = Kind("NIfTI", ".hdr")
_ANALYZE = Kind("ANALYZE 7.5", "", "convert it to NIfTI with a program that knows how it was oriented")
_SIGNATURES: tuple[tuple[int, bytes, Kind], ...] = (
    (128, b"DICM", Kind("DICOM", ".dcm")),
    (0, b"NRRD00", Kind("NRRD", ".nrrd")),
    (0, b"\x1f\x8b", Kind("gzip", "", "it was compressed twice: decompress it once")),
    (0, b"BZh", Kind("bzip2", "", "decompress it first")),
    (0, b"\xfd7zXZ", Kind("xz", "", "decompress it first")),
    (0, b"\x28\xb5\x2f\xfd", Kind("Zstandard", "", "decompress it first")),
    (0, b"PK\x03\x04", Kind("ZIP", "", "unpack it first")),
    (0, b"7z\xbc\xaf", Kind("7-Zip", "", "unpack it first")),
    (0, b"Rar!", Kind("RAR", "", "unpack it first")),
    (257, b"ustar", Kind("tar", "", "unpack it first")),
    (0, b"\x89HDF\r\n", Kind("HDF5", "", _CONVERT)),
    (0, b"CDF", Kind("NetCDF or MINC", "", _CONVERT)),
    (0, b"# vtk", Kind("VTK", "", _CONVERT)),
    (0, b"\x93NUMPY", Kind("NumPy", "", _CONVERT)),
    (0, b"MATLAB", Kind("MATLAB", "", _CONVERT)),
    (0, b"II*\0", Kind("TIFF", "", _CONVERT)),
    (0, b"MM\0*", Kind("TIFF", "", _CONVERT)),
    (0, b"\x89PNG", Kind("PNG")),
    (0, b"\xff\xd8\xff", Kind("JPEG")),
    (0, b"GIF8", Kind("GIF")),
    (0, b"%PDF", Kind("PDF")),
)
_META_IMAGE = re.compile(rb"\s*(ObjectType|ObjectSubType|NDims|Comment|BinaryData|DimSize)\s*[=:]", re.IGNORECASE)
_WEB_PAGE = re.compile(rb"\s*<(!doctype html|html|\?xml)", re.IGNORECASE)


def kind_of(head: bytes) -> Kind | None:
    """Return which kind of file begins with the bytes ``head`` (512 of them, or all); None if unknown."""
    for start, signature, kind in _SIGNATURES:
        if head[start : start + len(signature)] == signature:
            return kind
    if _META_IMAGE.match(head):
        return Kind("MetaImage", ".mhd" if head.find(b"LOCAL") < 0 else ".mha")
    if _WEB_PAGE.match(head):
        return Kind("web page", "", "a download failed: fetch the scan again")
    sizes = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")} if len(head) >= 4 else set()
    if 540 in sizes:
        return _PAIR if head[4:7] == b"ni2" else _NIFTI
    if 348 in sizes:
        magic = head[344:347]
        return _PAIR if magic == b"ni1" else _NIFTI if magic == b"n+1" or len(head) < 348 else _ANALYZE
    return None


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file's content, unpacked where the file is compressed as a whole by gzip or bzip2.

    Raises:
        OSError, EOFError, zlib.error: as from the unpacking.
    """
    head = _raw_head(path)
    if not head.startswith((b"\x1f\x8b", b"BZh")):
        return head
    with (
        path.open("rb") as file,
        gzip.GzipFile(mode="rb", fileobj=file) if head[0] == 0x1F else bz2.BZ2File(file) as unpacked,
    ):
        return unpacked.read(HEAD_BYTES)


def require_kind(path: Path, *wanted: str) -> None:
    """Refuse a file whose content is not of one of the kinds ``wanted``, and say what it is instead.

    Without any ``wanted`` kind (a file of raw voxels) only what is no data at all is refused: nothing, and a
    pointer left by Git LFS.

    Raises:
        InputError: the file is missing, empty, a Git LFS pointer, of another kind, or of none that is known.
        OSError, EOFError, zlib.error: its first bytes cannot be read or unpacked.
    """
    name = " or ".join(wanted) or "data"
    if not path.is_file():
        raise InputError(f"{path}: {f'is a folder, not a {name} file' if path.is_dir() else 'there is no such file'}.")
    head = head_of(path) if wanted else _raw_head(path)
    if not head:
        raise InputError(f"{path}: this is not a {name} file: it is empty ({_size(path)}); {_COPY_AGAIN}.")
    if head.startswith(LFS_POINTER):
        raise InputError(f"{path}: is a Git LFS pointer, not the file itself; run `git lfs pull`.")
    if not wanted:
        return
    kind = kind_of(head)
    if kind is None:
        raise InputError(f"{path}: this is not a {name} file; convert the scan to {name} or mend its name.")
    if kind.name not in wanted:
        remedy = f"rename it to {_renamed(path, kind)}" if kind.ending else kind.remedy
        reason = ", which does not say where left and right are" if kind is _ANALYZE else ""
        raise InputError(f"{path}: this is not a {name} file: by its content it is {kind.name}{reason}; {remedy}.")


def _raw_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size} bytes, which unpack to none" if size else "0 bytes"


def _renamed(path: Path, kind: Kind) -> str:
    """Return the name that a file should have; a dot within a name is not the start of an ending."""
    stem = re.sub(r"(\.(nii|nrrd|nhdr|seg|mha|mhd|hdr|img|dcm|gz))+$", "", path.name, flags=re.IGNORECASE)
    packed = _raw_head(path)[:2] == b"\x1f\x8b" and kind.name == "NIfTI"
    return f"{stem}{kind.ending}{'.gz' if packed else ''}"
