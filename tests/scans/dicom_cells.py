"""The cells of the format matrix for DICOM; series are built by ``dicom_cases``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
from dicom_cases import at, bare, compress, enhanced, item, plane, series, setting, store, without
from file_cells import DAMAGE, EXTENT, LFS_POINTER, NAMES, PLACE, STORAGE, cut, to_png
from format_cells import NOTED, OBLIQUE, REFUSED, SAGITTAL, SHEARED, THICK, Cell
from format_readers import by_pydicom
from format_writers import AFFINE, VOXELS
from highdicom.seg import Segmentation, SegmentationTypeValues, SegmentDescription
from mask_cells import MASK, ON_GRID, SEGMENTS, through_mask
from mask_cells import SECTION as MASKS
from pydicom import dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

ALONE = "DICOM alone"
POSITIVE = (VOXELS + 5).astype(np.uint16)
PRONE = AFFINE * [[-1], [-1], [1], [1]]
DECUBITUS = np.array([[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]) @ AFFINE


def cells() -> Iterator[Cell]:
    """Yield all cells, those in rows of other formats first."""
    yield from storage()
    yield from places()
    yield from extents_and_names()
    yield from damage()
    yield from masks()
    yield from coded()
    yield from positioned()
    yield from chosen()


def read(section: str, oddity: str, change=None, **fields) -> Cell:
    """A cell of a series whose slices were changed by ``change(dataset, index)``."""
    make = fields.pop("make", None)
    written = {key: fields[key] for key in ("voxels", "affine") if key in fields}
    make = make or partial(slices, change=change, **written)
    return Cell(section, oddity, "DICOM", make, **fields)


def noted(section: str, oddity: str, change=None, *, says: str, text: str, **fields) -> Cell:
    return read(section, oddity, change, outcome=NOTED, says=says, text=text, **fields)


def refused(section: str, oddity: str, change=None, *, says: str, text: str, **fields) -> Cell:
    return read(section, oddity, change, outcome=REFUSED, says=says, text=text, **fields)


def slices(folder: Path, name: str = "series", change=None, **options) -> Path:
    return series(folder / name, change, **{"voxels": VOXELS, "affine": AFFINE} | options)


def storage() -> Iterator[Cell]:
    row = partial(read, STORAGE)
    yield row("uncompressed")
    yield row("compressed", make=partial(in_syntax, DeflatedExplicitVRLittleEndian))
    yield row("big-endian", make=partial(in_syntax, ExplicitVRBigEndian))
    for name, dtype in (
        ("unsigned 8 bits", "u1"),
        ("signed 16 bits", "i2"),
        ("unsigned 16 bits", "u2"),
        ("signed 32 bits", "i4"),
    ):
        voxels = (VOXELS - 50 if dtype[0] != "u" else VOXELS).astype(dtype)
        yield row(name, make=partial(slices, change=partial(stored_as, voxels)), voxels=voxels)
    slope = setting(RescaleSlope="0.5", RescaleIntercept="-10")
    yield row("scale factors", make=partial(slices, change=slope), voxels=VOXELS * 0.5 - 10)
    yield row("padding after the voxels", lambda dataset, _: setting(PixelData=dataset.PixelData + bytes(20))(dataset))
    yield row("comments and other entries", comment)


def places() -> Iterator[Cell]:
    for name, affine in (
        ("oblique", OBLIQUE),
        ("axes in another order (sagittal)", SAGITTAL),
        ("thick slices (0.5 x 0.5 x 8 mm)", THICK),
        ("a metre away from the origin", AFFINE + np.eye(4, k=3) * 1000),
    ):
        yield read(PLACE, name, affine=affine)
    tilted = {"says": r"axes are 12\.4 degrees off right angles", "text": "the true axes are kept"}
    tilted["differs"] = "SimpleITK straightens the axes"
    yield noted(PLACE, "axes off right angles (tilted gantry)", affine=SHEARED, **tilted)
    for what, keyword in (("orientation", "ImageOrientationPatient"), ("position", "ImagePositionPatient")):
        yield refused(PLACE, f"no {what}", at(3, without(keyword)), says=f"has no {keyword}", text=f"no `{keyword}`")
    flat = at(3, setting(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]))
    yield refused(PLACE, "two axes that coincide", flat, says="ImageOrientationPatient is", text="not at right angles")
    zero = at(3, setting(PixelSpacing=[0, 1]))
    yield refused(PLACE, "a voxel side of 0", zero, says="PixelSpacing is 0", text="`PixelSpacing` of 0")


def extents_and_names() -> Iterator[Cell]:
    yield refused(
        EXTENT,
        "several frames (4-D)",
        make=two_times,
        says="2 images at each of 7 positions",
        text="save each by itself",
    )
    slice_ = VOXELS[:, :, :1]
    yield noted(
        EXTENT,
        "a single slice",
        voxels=slice_,
        says="by its SliceThickness",
        text="`SliceThickness` taken",
        differs="SimpleITK takes it as 1 mm thick",
    )
    colours = setting(SamplesPerPixel=3, PhotometricInterpretation="RGB")
    yield refused(EXTENT, "colours", colours, says="pixels are colours", text="no grey values")
    for oddity, name in (("blanks and umlauts", "Müller 2 (größer)"), ("several dots", "1.2.840.113")):
        yield read(NAMES, oddity, make=partial(slices, name=name))
    yield read(NAMES, "capitals", make=partial(renamed, names=lambda number: f"IM{number}.DCM"))
    yield read(NAMES, "symbolic links to files elsewhere", make=linked)


def damage() -> Iterator[Cell]:
    def row(oddity: str, spoil: Callable[[Path], object], says: str, text: str) -> Cell:
        return refused(DAMAGE, oddity, make=partial(spoilt, spoil), says=says, text=text)

    yield row("cut short by one byte", partial(cut, share=1), r"0007\.dcm: .*(cut short|damaged)", "bytes are missing")
    yield row(
        "half of it missing",
        partial(cut, share=0.5),
        r"0007\.dcm: .*(cut short|damaged)",
        "bytes are missing",
    )
    yield row("empty", lambda file: file.write_bytes(b""), r"0007\.dcm: .*empty", "0 bytes")
    yield row(
        "a Git LFS pointer", lambda file: file.write_bytes(LFS_POINTER), r"0007\.dcm: .*git lfs pull", "`git lfs pull`"
    )
    yield row(
        "another format under this name", to_png, r"0007\.dcm: .*(PNG|not DICOM by its content)", "it is no DICOM"
    )
    yield refused(
        DAMAGE,
        "a slice without an ending that is no DICOM",
        make=anonymous,
        says=r"1\.2\.840\.7: this is not a DICOM file",
        text="slice named",
    )
    big = setting(Rows=60000, Columns=60000)
    yield refused(
        DAMAGE, "more voxels announced than are there", big, says="cut short: 7200000000 bytes", text="never allocated"
    )


def masks() -> Iterator[Cell]:
    numbered = np.where(MASK == 3, 2, MASK)
    row = partial(read, MASKS, voxels=numbered, text=ON_GRID)
    for name, affine in (
        ("written on an oblique scan", OBLIQUE),
        ("written on a sagittal scan", SAGITTAL),
    ):
        yield row(name, make=partial(slices, affine=affine), affine=affine, read=through_mask)
    tilted = {
        "make": partial(slices, affine=SHEARED),
        "affine": SHEARED,
        "read": partial(through_mask, reader=by_pydicom),
    }
    yield row("written on a scan with a tilted gantry", **tilted)
    for name, output in (("`--format nii.gz`", "nii.gz"), ("`--format nrrd`, with names of classes", "nrrd")):
        of_scan = {
            "make": partial(slices, affine=OBLIQUE),
            "affine": OBLIQUE,
            "read": partial(through_mask, output=output),
        }
        yield row(name, **of_scan | {"voxels": MASK})
    of_scan["read"] = partial(through_mask, output="dicom-seg")
    yield row("`--format dicom-seg`", **of_scan)
    yield read(MASKS, "DICOM SEG of another program", make=partial(segmented, mask=numbered), voxels=numbered)
    of_map = partial(segmented, mask=numbered, kind=SegmentationTypeValues.LABELMAP)
    yield read(MASKS, "DICOM SEG of another program, as a label map", make=of_map, voxels=numbered)
    both = np.stack([MASK > 0, MASK == 1], axis=-1).astype(np.uint8)
    yield refused(
        MASKS,
        "segments that overlap",
        make=partial(segmented, mask=both),
        says="overlap in .* voxels",
        text="one class a voxel",
    )


def coded() -> Iterator[Cell]:
    row = partial(read, ALONE)
    yield row("implicit types", make=partial(in_syntax, ImplicitVRLittleEndian))
    encoders: dict[str, tuple[str, Callable[[np.ndarray], bytes]]] = {
        "JPEG lossless": (
            JPEGLosslessSV1,
            lambda pixels: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=16),
        ),
        "JPEG-LS": (JPEGLSLossless, imagecodecs.jpegls_encode),
        "JPEG 2000": (JPEG2000Lossless, lambda pixels: imagecodecs.jpeg2k_encode(pixels, 0, codecformat="j2k")),
    }
    for name, (syntax, encode) in encoders.items():
        yield row(name, make=partial(slices, change=partial(encoded, syntax, encode)), voxels=POSITIVE)
    yield row(
        "RLE", lambda dataset, _: dataset.compress(RLELossless), differs="SimpleITK does not open what pydicom wrote"
    )
    yield row("12 of 16 bits, others in the rest", twelve_bits)
    each = {"make": partial(slices, change=slope_by_slice), "voxels": VOXELS * (1 + np.arange(7) / 4)}
    each["differs"] = "SimpleITK rounds all to the type of one slice"
    yield row("a slope for each slice", **each)
    inverted = setting(PhotometricInterpretation="MONOCHROME1")
    yield noted(
        ALONE,
        "low values bright",
        inverted,
        says="MONOCHROME1",
        text="values as they are",
        differs="SimpleITK turns the values round",
    )
    yield row("files without an ending", make=partial(renamed, names=lambda number: f"IM{number}"))
    yield row("files without preamble and file meta", make=bare_files)
    yield row("enhanced multi-frame", make=multi_frame)
    yield row("enhanced, frames out of order", make=partial(multi_frame, order=[3, 0, 6, 1, 2, 5, 4]))
    film = {"make": partial(multi_frame, change=without("PerFrameFunctionalGroupsSequence"))}
    yield refused(ALONE, "a film without positions", **film, says="without their positions", text="no positions")
    mosaic = setting(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    yield refused(ALONE, "a mosaic", mosaic, says=r"0001\.dcm: is a mosaic", text="slices as tiles")


def positioned() -> Iterator[Cell]:
    row = partial(read, ALONE)
    yield row("prone", make=partial(slices, affine=PRONE, change=setting(PatientPosition="HFP")), affine=PRONE)
    side = {"make": partial(slices, affine=DECUBITUS, change=setting(PatientPosition="FFDL")), "affine": DECUBITUS}
    yield row("decubitus, feet first", **side)
    order = [4, 1, 6, 3, 0, 5, 2]
    yield row("names and numbers out of order", make=partial(renamed, names=lambda number: f"{order[number - 1]}.dcm"))
    yield row("thickness that is not the distance", setting(SliceThickness=9, SpacingBetweenSlices=7))
    yield refused(
        ALONE,
        "a missing slice between others",
        make=partial(spoilt, Path.unlink, number=4),
        says="1 slice is missing: 1 between",
        text="named",
    )
    yield row(
        "slices missing at an end",
        make=partial(spoilt, Path.unlink),
        voxels=VOXELS[..., :-1],
        text="read: nothing in a series says where it should begin or end",
    )
    yield refused(ALONE, "an uneven gap", at(3, moved), says="unevenly spaced: 000", text="gaps named")
    yield refused(
        ALONE, "two slices in one place", make=doubled, says="2 of its slices are at the same position", text="named"
    )
    turned = at(3, setting(ImageOrientationPatient=[1, 0, 0, 0, 0, -1]))
    yield refused(
        ALONE, "a slice of another orientation", turned, says="differ in orientation: 0004", text="slice named"
    )
    small = at(3, lambda dataset: store(dataset, np.zeros((9, 5), np.int16), Rows=9, Columns=5))
    yield refused(ALONE, "a slice of another size", small, says="differ in size", text="slice named")


def chosen() -> Iterator[Cell]:
    yield read(ALONE, "one of several series, by its UID", make=partial(several, choose=True))
    yield refused(
        ALONE,
        "several series, none chosen",
        make=several,
        says="holds 2 series: .*choose one",
        text="listed, with UIDs",
    )
    beside = {"make": partial(several, survey=True), "says": "left aside as a localizer", "text": "left aside"}
    yield noted(ALONE, "a localizer beside the series", **beside)
    yield read(ALONE, "a DICOMDIR and notes beside the slices", make=crowded)


def stored_as(voxels: np.ndarray, dataset, index: int) -> None:
    store(dataset, voxels[:, :, index].T)


def encoded(syntax: str, encode: Callable[[np.ndarray], bytes], dataset, index: int) -> None:
    pixels = np.ascontiguousarray(POSITIVE[:, :, index].T)
    store(dataset, pixels)
    compress(dataset, syntax, encode(pixels))


def in_syntax(syntax: str, folder: Path) -> Path:
    path = slices(folder)
    for file in path.iterdir():
        dataset = dcmread(file)
        if syntax == ExplicitVRBigEndian:
            swapped = plane(dataset).byteswap().tobytes()
            meta, dataset = dataset.file_meta, item(**{element.keyword: element.value for element in dataset})
            dataset.file_meta, dataset.PixelData = meta, swapped
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(file, enforce_file_format=True)
    return path


def comment(dataset, _: int) -> None:
    dataset.ImageComments = "from the scanner"
    dataset.private_block(0x0029, "A MAKER", create=True).add_new(0x10, "OB", b"its own")


def twelve_bits(dataset, index: int) -> None:
    bits = VOXELS[:, :, index].T.astype(np.uint16) | np.uint16(0xF000)
    store(dataset, bits, BitsStored=12, HighBit=11, PixelRepresentation=0)


def slope_by_slice(dataset, index: int) -> None:
    setting(RescaleSlope=str(1 + index / 4), RescaleIntercept=0)(dataset)


def moved(dataset) -> None:
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y, float(z) + 1]


def renamed(folder: Path, names: Callable[[int], str]) -> Path:
    path = slices(folder / "archive", "series")
    (folder / "series").mkdir()
    for number, file in enumerate(sorted(path.iterdir()), start=1):
        file.rename(folder / "series" / names(number))
    return folder / "series"


def bare_files(folder: Path) -> Path:
    path = slices(folder)
    for file in path.iterdir():
        bare(dcmread(file), file)
    return path


def linked(folder: Path) -> Path:
    path = slices(folder, "archive")
    (folder / "series").mkdir()
    for file in path.iterdir():
        (folder / "series" / file.name).symlink_to(file)
    return folder / "series"


def spoilt(spoil: Callable[[Path], object], folder: Path, number: int = 7) -> Path:
    path = slices(folder)
    spoil(path / f"000{number}.dcm")
    return path


def multi_frame(folder: Path, **options) -> Path:
    return enhanced(folder / "scan.dcm", VOXELS, AFFINE, **options)


def two_times(folder: Path) -> Path:
    path = slices(folder)
    for file in list(path.iterdir()):
        dataset = dcmread(file)
        setting(SOPInstanceUID=generate_uid(), TemporalPositionIdentifier=2)(dataset)
        dataset.save_as(path / f"later-{file.name}")
    return path


def doubled(folder: Path) -> Path:
    path = slices(folder)
    dataset = dcmread(path / "0004.dcm")
    dataset.SOPInstanceUID = generate_uid()
    dataset.save_as(path / "0014.dcm")
    return path


def several(folder: Path, choose: bool = False, survey: bool = False) -> Path:
    path = slices(folder)
    uid = dcmread(path / "0001.dcm").SeriesInstanceUID
    other = slices(folder, "other", voxels=VOXELS + np.int16(1))
    for file in sorted(other.iterdir())[: 1 if survey else None]:
        file.rename(path / f"other-{file.name}")
    return Path(f"{path}#{uid}") if choose else path


def anonymous(folder: Path) -> Path:
    path = renamed(folder, names=lambda number: f"1.2.840.{number}")
    (path / "1.2.840.7").write_bytes(b"<html>not found</html>")
    return path


def crowded(folder: Path) -> Path:
    path = slices(folder)
    (path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (path / "notes.txt").write_text("drawn on Monday")
    return path


def segmented(folder: Path, mask: np.ndarray, kind=SegmentationTypeValues.BINARY) -> Path:
    """A SEG by highdicom, which leaves out slices without a segment."""
    files = sorted(slices(folder).iterdir())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Segmentation(
            source_images=[dcmread(file) for file in files],
            pixel_array=np.moveaxis(mask, (0, 1, 2), (2, 1, 0)),
            segmentation_type=kind,
            segment_descriptions=[
                SegmentDescription(number, name, codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL")
                for number, name in enumerate(SEGMENTS, start=1)
            ],
            series_instance_uid=generate_uid(),
            series_number=2,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="another",
            manufacturer_model_name="another",
            software_versions="1",
            device_serial_number="1",
        ).save_as(folder / "seg.dcm")
    return folder / "seg.dcm"
