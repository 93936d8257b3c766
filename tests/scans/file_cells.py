"""The cells of the format matrix for NIfTI, NRRD and MetaImage."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from format_cells import (
    MIRRORED,
    NOTED,
    OBLIQUE,
    REFUSED,
    SAGITTAL,
    SHEARED,
    THICK,
    WRITERS,
    Cell,
    everywhere,
    placed,
    through_read_images,
)
from format_writers import AFFINE, LPS, SHAPE, VOXELS, write_pair
from PIL import Image

STORAGE, PLACE, EXTENT, NAMES, DAMAGE = (
    "How voxels are stored",
    "Where voxels lie",
    "How many there are",
    "What files are called",
    "What is broken",
)
NIFTI = ("NIfTI", "NIfTI pair")
TEXT = ("NRRD", "MetaImage")
SLICE_BYTES = SHAPE[0] * SHAPE[1] * VOXELS.itemsize
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
AS_MM = "{} takes the numbers as mm"


def cells() -> Iterator[Cell]:
    """Yield all cells, row by row."""
    yield from storage()
    yield from places()
    yield from extents()
    yield from names()
    yield from damage()


def storage() -> Iterator[Cell]:
    row = partial(everywhere, STORAGE)
    yield from row("uncompressed")
    packed = {"NIfTI": {"name": "scan.nii.gz"}, "NIfTI pair": {"name": "scan.img.gz"}}
    yield from row("compressed", per=packed | {"NRRD": {"packed": "gzip"}, "MetaImage": {"packed": "zlib"}})
    yield from row("compressed by bzip2", only=("NRRD",), packed="bzip2")
    whole = {name: {"make": partial(packed_whole, WRITERS[name])} for name in ("NIfTI", *TEXT)}
    for name, library in {"NIfTI": "nibabel", "NRRD": "pynrrd", "MetaImage": "SimpleITK"}.items():
        whole[name]["differs"] = f"{library} does not open it"
    yield from row("compressed as a whole, against its name", only=("NIfTI", *TEXT), per=whole)
    split = {"NRRD": {"name": "scan.nhdr"}, "MetaImage": {"name": "scan.mhd"}}
    yield from row("header and voxels in two files", only=TEXT, per=split)
    yield from row(
        "NIfTI-2", only=NIFTI, per={"NIfTI": {"kind": nib.Nifti2Image}, "NIfTI pair": {"kind": nib.Nifti2Pair}}
    )
    yield from row("big-endian", big=True)
    for name, dtype in (
        ("unsigned 8 bits", "u1"),
        ("signed 16 bits", "i2"),
        ("unsigned 16 bits", "u2"),
        ("signed 32 bits", "i4"),
        ("32-bit float", "f4"),
        ("64-bit float", "f8"),
    ):
        signed = VOXELS - 50 if dtype[0] != "u" else VOXELS
        yield from row(name, voxels=signed.astype(dtype))
    yield from row("scale factors", only=NIFTI, change=scale, expected={"voxels": VOXELS * 0.5 - 10})
    slope = {"ElementToIntensityFunctionSlope": "2"}
    yield from row(
        "scale factors", NOTED, only=("MetaImage",), changes=slope, says="was not applied", text="not applied"
    )
    broken = VOXELS.astype(np.float32) - 7
    broken[0, 0, 0], broken[1, 2, 3], broken[4, 5, 6] = np.nan, np.inf, -np.inf
    filled = {"voxels": np.where(np.isfinite(broken), broken, -7), "read": through_read_images}
    says = r"3 of 210 voxels \(1.4%\) are NaN or infinite; the lowest finite value was taken"
    yield from row(
        "NaN and infinity", NOTED, voxels=broken, expected=filled, says=says, text="the lowest value instead"
    )
    before = {"NIfTI": {"before": 416}, "NIfTI pair": {"before": 32}, "NRRD": {"before": 10}}
    yield from row("bytes before the voxels", per=before | {"MetaImage": {"name": "scan.mhd", "before": 10}})
    refuses = {"NRRD": {"differs": "pynrrd refuses bytes beyond the voxels"}}
    yield from row("padding after the voxels", after=bytes(20), per=refuses)
    longer = partial(row, "two slices more than announced", NOTED, says=r"\(2 slices\) more", text="left out")
    yield from longer(only=("NIfTI", *TEXT), after=bytes(2 * SLICE_BYTES), per=refuses)
    yield from longer(only=("NIfTI pair",), per={"NIfTI pair": {"make": longer_pair}})
    notes = {"NRRD": {"keys": {"who": "Ä: b=c"}}, "MetaImage": {"changes": {"Comment": "Ä = b: c"}}}
    yield from row("comments and other entries", per=notes | {name: {"change": comment} for name in NIFTI})
    as_text = {"NRRD": {"changes": {"encoding": "ascii"}}, "MetaImage": {"changes": {"BinaryData": "False"}}}
    yield from row(
        "voxels written as text", REFUSED, only=TEXT, per=as_text, says="'ascii'|as text", text="save as binary"
    )
    listed = {"NRRD": {"changes": {"data file": "LIST"}}, "MetaImage": {"changes": {"ElementDataFile": "LIST"}}}
    yield from row(
        "voxels spread over several files", REFUSED, only=TEXT, per=listed, says="several files", text="save as one"
    )


def places() -> Iterator[Cell]:
    row = partial(everywhere, PLACE)
    for name, affine in (
        ("oblique", OBLIQUE),
        ("axes in another order (sagittal)", SAGITTAL),
        ("mirrored (left-handed axes)", MIRRORED),
        ("thick slices (0.5 x 0.5 x 8 mm)", THICK),
        ("a metre away from the origin", AFFINE + np.eye(4, k=3) * 1000),
    ):
        yield from row(name, affine=affine)
    yield from row(
        "axes off right angles (tilted gantry)",
        NOTED,
        affine=SHEARED,
        says=r"axes are 12\.4 degrees off right angles.*true affine",
        text="the true axes are kept",
    )
    for name, unit in (("lengths in metres", "m"), ("lengths in micrometres", "um")):
        yield from row(name, only=NIFTI, unit=unit, expected={"differs": AS_MM.format("nibabel")})
        differs = {"NRRD": {"differs": AS_MM.format("pynrrd")}, "MetaImage": {"differs": AS_MM.format("SimpleITK")}}
        yield from row(name, NOTED, only=TEXT, unit=unit, per=differs, says="converted to mm", text="converted to mm")
    yield from row("no unit of length", unit="")
    known = {"space": "RAS", "space directions": vectors(AFFINE), "space origin": vectors(AFFINE[:, 3:])}
    yield from row(
        "counted to the right and front (RAS)", only=("NRRD",), changes=known, expected={"differs": PYNRRD_SPACE}
    )
    unknown = {"changes": {"space": "right-posterior-superior"}, "says": "its space .* is none that NRRD defines"}
    yield from row("axes with names that are not defined", REFUSED, only=("NRRD",), per={"NRRD": unknown}, text="named")
    unclear = {"changes": {"space": "3D-right-handed"}, "says": "left and right", "text": "taken as LPS"}
    yield from row("axes without names", NOTED, only=("NRRD",), per={"NRRD": unclear})
    yield from unoriented(row)
    apart = "sform and qform disagree by up to 4 mm; the sform was taken"
    yield from row("sform and qform disagree", NOTED, only=NIFTI, change=move_qform, says=apart, text="sform taken")
    zeros = "sform is all zeros; the qform was taken"
    singular = {"change": zero_sform, "expected": {"differs": "nibabel returns the zeros"}}
    yield from row("an sform of zeros", NOTED, only=NIFTI, says=zeros, text="qform taken", **singular)
    yield from row("only a qform", only=NIFTI, change=lambda header: header.set_sform(np.eye(4), 0))
    yield from row("only an sform", only=NIFTI, change=lambda header: header.set_qform(np.eye(4), 0))
    yield from row(
        "a qform that contradicts itself",
        NOTED,
        only=NIFTI,
        change=spoil_qform,
        says="qform contradicts",
        text="sform taken",
    )
    flat = placed(np.array([[-0.7, -0.7, 0], [0, 0, 0], [0, 0, 3.0]]))
    same = {name: {"change": partial(set_sform, affine=flat)} for name in NIFTI}
    same |= {name: {"affine": flat} for name in TEXT}
    yield from row("two axes that coincide", REFUSED, per=same, says="affine is not invertible", text="not invertible")
    sizes = placed(np.diag([-0.7, 0, 3.0]))
    zero = {name: {"change": partial(set_sform, affine=sizes)} for name in NIFTI}
    zero |= {"NRRD": {"affine": sizes}, "MetaImage": {"changes": {"ElementSpacing": "0.7 0 3"}}}
    yield from row("a voxel side of 0", REFUSED, per=zero, says="not invertible", text="not invertible")


PYNRRD_SPACE = "pynrrd returns the numbers and leaves the names of the axes to its user"


def unoriented(row: Callable[..., Iterator[Cell]]) -> Iterator[Cell]:
    """Scans whose header leaves their place open."""
    sizes = np.diag([0.7, 1.1, 3.0, 1.0])
    differs = "nibabel puts the origin into the middle, and lets the first axis run to the left"
    says = "orientation.* unknown"
    yield from row(
        "no orientation",
        NOTED,
        only=NIFTI,
        change=drop_forms,
        expected={"affine": sizes, "differs": differs},
        says=says,
        text="taken as RAS at 0",
    )
    spacings = {"space": None, "space directions": None, "space origin": None, "spacings": "0.7 1.1 3"}
    alone = {"changes": spacings, "text": "taken as LPS at 0"}
    alone |= {"expected": {"affine": LPS @ sizes, "differs": "pynrrd returns no axes"}}
    at_minimums = sizes.copy()
    at_minimums[:3, 3] = 10.35, -19.45, 31.5
    minimums = spacings | {"axis mins": "10 -20 30"}
    placed_by = {"affine": LPS @ at_minimums, "differs": "pynrrd returns no axes"}
    yield from row(
        "no orientation, a place by `axis mins`",
        NOTED,
        only=("NRRD",),
        per={"NRRD": {"changes": minimums, "expected": placed_by}},
        says="its place is that of its axis mins",
        text="as in ITK",
    )
    bare = {"changes": {"TransformMatrix": None}, "text": "taken as LPS"}
    yield from row("no orientation", NOTED, only=TEXT, per={"NRRD": alone, "MetaImage": bare}, says=says)
    at_zero = placed(AFFINE[:3, :3])
    at_zero[:3, 3] = 0
    missing = {"NRRD": {"changes": {"space origin": None}, "differs": "pynrrd returns no origin"}}
    missing["MetaImage"] = {"changes": {"Offset": None}}
    zero = {"affine": at_zero}
    yield from row(
        "no position", NOTED, only=TEXT, per=missing, expected=zero, says="position is unknown", text="placed at 0"
    )


def extents() -> Iterator[Cell]:
    row = partial(everywhere, EXTENT)
    yield from row("a fourth axis of one frame", voxels=VOXELS[..., None], expected={"voxels": VOXELS})
    yield from row(
        "several frames (4-D)",
        REFUSED,
        voxels=np.stack([VOXELS, VOXELS], axis=3),
        says="holds 2 (volumes|values)",
        text="save each by itself",
    )
    yield from row("a single slice", voxels=VOXELS[:, :, :1])
    yield from row("one voxel", voxels=VOXELS[:1, :1, :1])
    colours = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    beside = {"dimension": "4", "sizes": "3 5 6 7", "kinds": "RGB-color domain domain domain"}
    beside["space directions"] = f"none {vectors(LPS @ AFFINE)}"
    per = {"NRRD": {"voxels": np.zeros((3, *SHAPE), np.uint8), "changes": beside}}
    per["MetaImage"] = {"voxels": VOXELS, "changes": {"ElementNumberOfChannels": "3"}}
    yield from row("colours", REFUSED, voxels=colours, per=per, says="colours|3 values a voxel", text="no grey values")
    complex_ = {"voxels": VOXELS.astype(np.complex64), "says": "complex", "text": "no grey values"}
    yield from row("complex numbers", REFUSED, only=NIFTI, **complex_)


def names() -> Iterator[Cell]:
    row = partial(everywhere, NAMES)
    for oddity, stem in (("blanks and umlauts", "Müller 2 (größer)"), ("several dots", "1.2.840.113")):
        yield from row(oddity, per={name: {"name": f"{stem}{ending}"} for name, ending in ENDINGS.items()})
    capitals = {name: {"name": f"SCAN{ending.upper()}"} for name, ending in ENDINGS.items()}
    capitals["MetaImage"]["differs"] = "SimpleITK does not open it"
    yield from row("capitals", per=capitals)
    linked = {name: {"make": partial(link, WRITERS[name])} for name in WRITERS}
    yield from row("symbolic links to files elsewhere", per=linked)


ENDINGS = {"NIfTI": ".nii", "NIfTI pair": ".img", "NRRD": ".nrrd", "MetaImage": ".mha"}


def damage() -> Iterator[Cell]:
    def row(oddity: str, spoil: Callable[[Path], object], says: str, text: str, **options) -> Iterator[Cell]:
        only = options.pop("only", tuple(WRITERS))
        made = {name: {"make": partial(spoilt, WRITERS[name], spoil, **options)} for name in only}
        return everywhere(DAMAGE, oddity, REFUSED, only=only, per=made, says=says, text=text)

    yield from row("cut short by one byte", partial(cut, share=1), "cut short", "bytes are missing")
    yield from row(
        "half of it missing", partial(cut, share=0.5), "cut short|damaged|cannot be read", "bytes are missing"
    )
    packed = {"NIfTI": {"name": "scan.nii.gz"}, "NIfTI pair": {"name": "scan.img.gz"}}
    packed |= {"NRRD": {"packed": "gzip"}, "MetaImage": {"packed": "zlib"}}
    for name in WRITERS:
        says = "damaged|cut short"
        yield from row("a flipped bit in compressed data", flip, says, "checksum", only=(name,), **packed[name])
    yield from row("empty", lambda file: file.write_bytes(b""), r"empty \(0 bytes\)", "0 bytes")
    pointer = "Git LFS pointer.*git lfs pull"
    yield from row("a Git LFS pointer", lambda file: file.write_bytes(LFS_POINTER), pointer, "`git lfs pull`")
    yield from row(
        "another format under this name", to_png, "by its content it is PNG", "its format is named", header=True
    )
    big = {name: {"make": partial(announce, WRITERS[name])} for name in NIFTI} | {
        "NRRD": {"changes": {"sizes": "30000 30000 30000"}}
    }
    big["MetaImage"] = {"changes": {"DimSize": "30000 30000 30000"}}
    says = r"54000000\d{6} bytes are announced"
    yield from everywhere(
        DAMAGE, "more voxels announced than are there", REFUSED, per=big, says=says, text="never allocated"
    )
    out = {
        "NRRD": {"changes": {"data file": "../scan.raw"}},
        "MetaImage": {"changes": {"ElementDataFile": "../scan.raw"}},
    }
    yield from everywhere(
        DAMAGE, "a data file outside its folder", REFUSED, only=TEXT, per=out, says="leads out", text="path leads out"
    )
    gone = {"NRRD": {"changes": {"data file": "b.raw"}}, "MetaImage": {"changes": {"ElementDataFile": "b.raw"}}}
    gone["NIfTI pair"] = {"make": half_a_pair}
    without = ("NIfTI pair", *TEXT)
    yield from everywhere(DAMAGE, "no data file", REFUSED, only=without, per=gone, says="is missing", text="is missing")
    old = {"NIfTI pair": {"make": analyze}}
    says = "ANALYZE 7.5, which does not say where left and right are"
    yield from everywhere(
        DAMAGE, "ANALYZE 7.5", REFUSED, only=("NIfTI pair",), per=old, says=says, text="left and right unknown"
    )


def packed_whole(writer: Callable[..., Path], folder: Path) -> Path:
    path = writer(folder)
    path.write_bytes(gzip.compress(path.read_bytes()))
    return path


def longer_pair(folder: Path) -> Path:
    write_pair(folder)
    with (folder / "scan.img").open("ab") as file:
        file.write(bytes(2 * SLICE_BYTES))
    return folder / "scan.hdr"


def vectors(affine: np.ndarray) -> str:
    """Columns of an affine as NRRD writes them, those of directions if there are four."""
    columns = affine[:3].T[:3] if affine.shape[1] == 4 else affine[:3].T
    return " ".join(f"({','.join(repr(float(part)) for part in column)})" for column in columns)


def scale(header: nib.Nifti1Header) -> None:
    header.set_slope_inter(0.5, -10)


def comment(header: nib.Nifti1Header) -> None:
    header["descrip"] = "Ä".encode()
    header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"from the scanner"))


def move_qform(header: nib.Nifti1Header) -> None:
    header.set_qform(AFFINE + np.eye(4, k=3) * 4, 1)


def spoil_qform(header: nib.Nifti1Header) -> None:
    header["quatern_b"] = 3.0


def zero_sform(header: nib.Nifti1Header) -> None:
    set_sform(header, np.zeros((3, 4)))


def drop_forms(header: nib.Nifti1Header) -> None:
    header["sform_code"] = header["qform_code"] = 0


def set_sform(header: nib.Nifti1Header, affine: np.ndarray) -> None:
    header["srow_x"], header["srow_y"], header["srow_z"] = affine[:3]


def announce(writer: Callable[..., Path], folder: Path) -> Path:
    path = writer(folder)
    content = bytearray(path.read_bytes())
    content[42:48] = np.array([30000] * 3, "<i2").tobytes()  # nibabel itself would not write such sizes
    path.write_bytes(content)
    return path


def link(writer: Callable[..., Path], folder: Path) -> Path:
    archive = folder / "archive"
    archive.mkdir()
    path = writer(archive)
    for file in archive.iterdir():
        (folder / file.name).symlink_to(file)
    return folder / path.name


def spoilt(writer: Callable[..., Path], spoil: Callable[[Path], object], folder: Path, **options) -> Path:
    """A scan whose file (of a pair: that of its voxels, or of its header if so asked) was spoilt."""
    in_header = options.pop("header", False)
    path = writer(folder, **options)
    data = path.with_name(path.name.replace(".hdr", ".img"))
    spoil(path if in_header else data)
    return path


def cut(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-1] if share == 1 else content[: int(share * len(content))])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[int(len(content) * 0.8)] ^= 16
    file.write_bytes(content)


def to_png(file: Path) -> None:
    content = io.BytesIO()
    Image.new("L", (4, 4)).save(content, "PNG")
    file.write_bytes(content.getvalue())


def half_a_pair(folder: Path) -> Path:
    path = write_pair(folder)
    (folder / "scan.img").unlink()
    return path


def analyze(folder: Path) -> Path:
    nib.AnalyzeImage(VOXELS, np.diag([0.7, 1.1, 3, 1])).to_filename(folder / "scan.img")
    return folder / "scan.hdr"
