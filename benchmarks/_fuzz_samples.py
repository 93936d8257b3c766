"""Sound scans of every format, to be damaged: tiny, each with the mutators that know where it hurts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from _fuzz_dicom import compressed, enhanced, settle
from _mutations import Mutator, behind_header, blindly, dicom, inside_gzip, nifti, text_header

from duoseg.scans.formats import write, write_like
from duoseg.scans.phantom_series import write_phantom_series
from duoseg.scans.scan import Grid

SHAPE = (6, 5, 3)
SEGMENTS = {"a": 1, "b": 2}
_TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
_AFFINES = {"straight": np.diag([-0.7, -1.1, 3.0]), "turned": _TURN * [0.7, 1.1, 3.0]}


@dataclass(frozen=True)
class Sample:
    """A scan and how it may be damaged.

    Attributes:
        format: its row in the table.
        files: names (with folders) and contents.
        path: what is given to duoseg, relative to the files' folder.
        mutable: the files that are damaged.
        mutators: in addition to those that know nothing of formats.
    """

    format: str
    files: Mapping[str, bytes]
    path: str
    mutable: tuple[str, ...]
    mutators: tuple[Mutator, ...]

    def damaged(self, folder: Path, rng: random.Random) -> Path:
        """Write the files into ``folder``, one of them damaged; return what is to be read."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        name = rng.choice(self.mutable)
        content = rng.choice((blindly, *self.mutators, *self.mutators))(self.files[name], rng)
        if rng.random() < 0.2 and content:
            content = blindly(content, rng)
        (folder / name).write_bytes(content)
        return folder / self.path


def samples(folder: Path) -> list[Sample]:
    """Write all samples below ``folder``, and return them."""
    found: list[Sample] = []
    for number, (place, affine) in enumerate(_AFFINES.items()):
        for make in (_nifti, _itk, _segmentation, _dicom):
            within = folder / place / make.__name__
            within.mkdir(parents=True)
            found += make(within, _affine(affine), big=bool(number))
    return found


def _affine(axes: np.ndarray) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, (20, -5, 7)
    return affine


def _voxels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16)


def _nifti(folder: Path, affine: np.ndarray, *, big: bool) -> Iterator[Sample]:
    kinds = {"NIfTI": nib.Nifti1Image, "NIfTI-2": nib.Nifti2Image, "NIfTI pair": nib.Nifti1Pair}
    for name, kind in kinds.items():
        header = kind.header_class(endianness=">" if big else "<")
        header.set_xyzt_units("mm")
        header.set_data_dtype(np.int16)
        image = kind(_voxels(), None, header)
        image.header.set_qform(affine, 1)
        image.header.set_sform(affine, int(not big))
        for ending, packed in (
            ((".nii", ""), (".nii.gz", "")) if "pair" not in name else ((".img", ""), (".img", ".gz"))
        ):
            own = folder / f"{name}{ending}{packed}"
            own.mkdir()
            image.to_filename(own / f"scan{ending}{packed}")
            header_name = f"scan{ending.replace('.img', '.hdr')}{packed}"
            compressed = header_name.endswith(".gz")
            yield _sample(
                name, own, header_name, (inside_gzip(nifti), inside_gzip(blindly)) if compressed else (nifti,)
            )


def _itk(folder: Path, affine: np.ndarray, *, big: bool) -> Iterator[Sample]:
    image = sitk.GetImageFromArray(_voxels().T)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    in_lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]
    image.SetSpacing(spacing.tolist())
    image.SetDirection((in_lps[:, :3] / spacing).ravel().tolist())
    image.SetOrigin(in_lps[:, 3].tolist())
    ends = {
        ".nrrd": ("NRRD", b"\n\n"),
        ".nhdr": ("NRRD", b""),
        ".mha": ("MetaImage", b"= LOCAL\n"),
        ".mhd": ("MetaImage", b""),
    }
    for ending, (name, end) in ends.items():
        own = folder / ending
        own.mkdir()
        sitk.WriteImage(image, str(own / f"scan{ending}"), big)
        mutators = (text_header, text_header, behind_header(blindly, end, unpack=big)) if end else (text_header,)
        yield _sample(name, own, f"scan{ending}", mutators)
    in_microns = folder / "um"
    in_microns.mkdir()
    text = "\n".join(
        [
            *("NRRD0005", "type: uchar", "dimension: 4", "sizes: 6 5 3 1", "spacings: 700 1100 3000 1"),
            *('units: "um" "um" "um" ""', "kinds: domain domain domain list", "encoding: raw", "", ""),
        ]
    )
    (in_microns / "scan.nrrd").write_bytes(text.encode() + bytes(90))
    yield _sample("NRRD", in_microns, "scan.nrrd", (text_header,))


def _segmentation(folder: Path, affine: np.ndarray, *, big: bool) -> Iterator[Sample]:
    write(folder / "scan.seg.nrrd", _voxels() % 3, grid=Grid(SHAPE, affine), segments=SEGMENTS)
    yield _sample("NRRD", folder, "scan.seg.nrrd", (text_header, text_header))


def _dicom(folder: Path, affine: np.ndarray, *, big: bool) -> Iterator[Sample]:
    series = write_phantom_series(folder / "plain" / "series", _voxels(), affine, modality="MR" if big else "CT")
    yield _sample("DICOM series", series.parent, "series", (dicom, dicom))
    for codec in ("RLE", "JPEG lossless", "JPEG-LS", "JPEG 2000"):
        compressed(series, folder / codec / "series", codec)
        yield _sample("DICOM, compressed", folder / codec, "series", (dicom,))
    (folder / "enhanced").mkdir()
    enhanced(series, folder / "enhanced" / "scan.dcm")
    yield _sample("DICOM, enhanced", folder / "enhanced", "scan.dcm", (dicom, dicom))
    (folder / "seg").mkdir()
    mask = (np.indices(SHAPE).sum(axis=0) % 3).astype(np.uint8)
    write_like(folder / "seg" / "scan.dcm", mask, like=series, segments=SEGMENTS)
    settle(folder / "seg" / "scan.dcm")
    yield _sample("DICOM SEG", folder / "seg", "scan.dcm", (dicom, dicom))


def _sample(name: str, folder: Path, path: str, mutators: Sequence[Mutator]) -> Sample:
    files = {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }
    mutable = (path,) if path in files else tuple(files)
    if path.endswith((".hdr", ".nhdr", ".mhd", ".hdr.gz")):
        mutable = (path, path, path, *files)
        safe = {name for name in files if name != path}
        mutators = [_only_headers(mutate, {files[name] for name in safe}) for mutate in mutators]
    return Sample(name, files, path, mutable, tuple(mutators))


def _only_headers(mutate: Mutator, data: set[bytes]) -> Mutator:
    """Return a mutator that damages files of voxels blindly, since they have no header."""

    def chosen(content: bytes, rng: random.Random) -> bytes:
        return blindly(content, rng) if content in data else mutate(content, rng)

    return chosen
