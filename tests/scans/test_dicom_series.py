"""DICOM series against SimpleITK, highdicom and analytic geometry."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_cases import (
    LEGACY_CT,
    SHAPE,
    affine_of,
    at,
    bare,
    by_simpleitk,
    edit,
    enhanced,
    item,
    noise,
    plane,
    series,
    setting,
    store,
    without,
)
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from duoseg.errors import InputError
from duoseg.scans.dataset import load_dataset
from duoseg.scans.formats import dicom
from duoseg.scans.phantom_series import write_phantom_series

PLANES = {
    "axial": (180, 180, 0),  # as seen from the feet: LPS order
    "head first": (0, 0, 180),
    "sagittal": (90, 0, 90),
    "coronal": (90, 0, 0),
    "decubitus": (0, 0, 90),
    "prone": (0, 0, 0),
    "oblique": (25, -35, 140),
}


def pixels_by_simpleitk(folder: Path) -> np.ndarray:
    files = sorted(folder.glob("*.dcm"))
    return np.stack([sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[0].T for file in files], axis=2)


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("angles", PLANES.values(), ids=PLANES)
def test_voxels_and_grid_are_those_of_simpleitk_in_any_orientation(tmp_path, modality, angles):
    affine = affine_of(*angles)
    scan = dicom.read_scan(series(tmp_path / "s", affine=affine, modality=modality))
    voxels, theirs = by_simpleitk(tmp_path / "s")
    np.testing.assert_array_equal(scan.voxels, voxels)
    np.testing.assert_allclose(scan.grid.affine, theirs, atol=1e-3)
    np.testing.assert_allclose(scan.grid.affine, affine, atol=1e-9)
    assert scan.notes == () and scan.voxels.dtype == np.int16
    assert dicom.read_grid(tmp_path / "s").matches(scan.grid)


def test_slices_are_ordered_by_position_whatever_names_and_numbers_say(tmp_path):
    folder = series(tmp_path / "s", lambda dataset, index: setting(InstanceNumber=(index * 5) % 8)(dataset))
    for index, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"IM{(index * 3) % 8}")
    scan = dicom.read_scan(folder)
    np.testing.assert_array_equal(scan.voxels, noise())
    np.testing.assert_allclose(scan.grid.affine, affine_of(), atol=1e-9)


def test_a_tilted_gantry_gives_the_true_sheared_affine(tmp_path):
    affine = affine_of()
    affine[:3, 2] += np.tan(np.radians(17)) * 2.5 / 0.8 * affine[:3, 1]
    scan = dicom.read_scan(series(tmp_path / "s", affine=affine, modality="CT"))
    np.testing.assert_array_equal(scan.voxels, noise())
    np.testing.assert_allclose(scan.grid.affine, affine, atol=1e-9)
    assert scan.grid.skew_degrees == pytest.approx(17)
    assert len(scan.notes) == 1 and "17 degrees off right angles" in scan.notes[0]


def test_positions_rounded_by_the_scanner_still_make_a_grid(tmp_path):
    def rounded(dataset, _):
        dataset.ImagePositionPatient = [f"{float(part):.2f}" for part in dataset.ImagePositionPatient]
        dataset.ImageOrientationPatient = [f"{float(part):.4f}" for part in dataset.ImageOrientationPatient]

    scan = dicom.read_scan(series(tmp_path / "s", rounded))
    np.testing.assert_allclose(scan.grid.affine, affine_of(), atol=0.01)
    assert scan.notes == ()


def test_announced_distances_between_slices_do_not_count_where_there_are_positions(tmp_path):
    scan = dicom.read_scan(series(tmp_path / "s", setting(SliceThickness=9, SpacingBetweenSlices=7)))
    assert scan.grid.spacing[2] == pytest.approx(2.5)


def test_each_slice_has_its_own_slope_and_intercept(tmp_path):
    def rescale(dataset, index):
        setting(RescaleSlope=f"{0.5 + index / 7:.6f}", RescaleIntercept=index)(dataset)

    scan = dicom.read_scan(series(tmp_path / "s", rescale))
    assert scan.voxels.dtype == np.float32
    np.testing.assert_allclose(scan.voxels, pixels_by_simpleitk(tmp_path / "s"), rtol=1e-6)


def test_whole_intercepts_that_differ_keep_integers(tmp_path):
    scan = dicom.read_scan(series(tmp_path / "s", lambda d, i: setting(RescaleSlope=1, RescaleIntercept=10 * i)(d)))
    assert scan.voxels.dtype == np.int16
    np.testing.assert_array_equal(scan.voxels, noise() + 10 * np.arange(8, dtype=np.int16))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
def test_signed_and_unsigned_pixels_of_any_width(tmp_path, kind):
    info = np.iinfo(kind)
    values = np.random.default_rng(1).integers(info.min, info.max, SHAPE, kind, endpoint=True)
    scan = dicom.read_scan(series(tmp_path / "s", lambda d, i: store(d, values[:, :, i].T)))
    assert scan.voxels.dtype == kind
    np.testing.assert_array_equal(scan.voxels, values)


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("high", [11, 13, 15])
def test_only_the_stored_bits_count(tmp_path, signed, high):
    values = noise(low=-2048, high=2048) if signed else noise(low=0, high=4096)
    bits = (values.view(np.uint16) & 0xFFF) << (high - 11)
    bits |= np.uint16(~(0xFFF << (high - 11)) & 0xFFFF)  # as if overlays were in the others

    def change(dataset, index):
        store(dataset, bits[:, :, index].T, BitsStored=12, HighBit=high, PixelRepresentation=signed)

    scan = dicom.read_scan(series(tmp_path / "s", change))
    np.testing.assert_array_equal(scan.voxels, values)
    assert scan.voxels.dtype == (np.int16 if signed else np.uint16)


def test_twelve_bits_with_the_intercept_of_a_ct_fit_into_int16(tmp_path):
    scan = dicom.read_scan(series(tmp_path / "s", modality="CT"))
    assert dcmread(tmp_path / "s" / "0001.dcm").BitsStored == 12
    assert scan.voxels.dtype == np.int16


def test_pixel_padding_is_left_as_it_is(tmp_path):
    voxels = noise()
    voxels[:4] = -2000
    scan = dicom.read_scan(
        series(tmp_path / "s", lambda d, _: d.add_new("PixelPaddingValue", "SS", -2000), voxels=voxels)
    )
    np.testing.assert_array_equal(scan.voxels, voxels)


def test_inverted_display_is_noted_and_the_values_are_left(tmp_path):
    scan = dicom.read_scan(series(tmp_path / "s", setting(PhotometricInterpretation="MONOCHROME1")))
    np.testing.assert_array_equal(scan.voxels, noise())
    assert len(scan.notes) == 1 and "MONOCHROME1" in scan.notes[0]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_uncompressed_transfer_syntax_is_read(tmp_path, syntax):
    folder = series(tmp_path / "s", modality="CT")
    for file in folder.iterdir():
        dataset = dcmread(file)
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = plane(dataset).byteswap().tobytes()
            copy = item(**{element.keyword: element.value for element in dataset})
            copy.file_meta = dataset.file_meta
            dataset = copy
        dataset.save_as(file, enforce_file_format=True)
    scan = dicom.read_scan(folder)
    np.testing.assert_array_equal(scan.voxels, noise())
    np.testing.assert_array_equal(scan.voxels, pixels_by_simpleitk(folder))


def test_files_without_preamble_and_suffix_are_known_by_their_content(tmp_path):
    folder = series(tmp_path / "s")
    for file in sorted(folder.iterdir()):
        bare(dcmread(file), folder / file.stem)
        file.unlink()
    assert dicom.can_read(folder) and dicom.can_read(folder / "0001")
    np.testing.assert_array_equal(dicom.read_scan(folder).voxels, noise())


@pytest.mark.parametrize("angles", PLANES.values(), ids=PLANES)
def test_an_enhanced_file_is_read_as_highdicom_reads_it(tmp_path, angles):
    path = enhanced(tmp_path / "e", affine=affine_of(*angles), order=[3, 0, 7, 1, 2, 6, 5, 4])
    scan = dicom.read_scan(path)
    volume = highdicom.imread(path).get_volume(apply_modality_transform=False).to_patient_orientation("RAH")
    canonical = scan.grid.reordered(scan.grid.canonical())
    np.testing.assert_allclose(canonical.affine, np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine, atol=1e-3)
    permutation, flips = scan.grid.canonical()
    axes = tuple(axis for axis in range(3) if flips[axis])
    np.testing.assert_array_equal(np.flip(scan.voxels.transpose(permutation), axes), volume.array)
    np.testing.assert_allclose(scan.grid.affine, affine_of(*angles), atol=1e-7)


def test_announced_distances_between_frames_do_not_count_either(tmp_path):
    def lie(dataset):
        dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = 99

    assert dicom.read_grid(enhanced(tmp_path / "e.dcm", change=lie)).spacing[2] == pytest.approx(2.5)


def test_frames_have_their_own_slopes(tmp_path):
    slopes = [round(0.5 + k / 10, 3) for k in range(8)]
    scan = dicom.read_scan(enhanced(tmp_path / "e.dcm", slopes=slopes))
    np.testing.assert_allclose(scan.voxels, noise() * np.array(slopes), rtol=1e-6)


def test_a_legacy_converted_file_keeps_what_is_shared_beside_what_is_per_frame(tmp_path):
    def legacy(dataset):
        for group in dataset.PerFrameFunctionalGroupsSequence:
            del group.PixelValueTransformationSequence
            group.UnassignedPerFrameConvertedAttributesSequence = [item(AcquisitionTime="120000", KVP="120")]
        shared = dataset.SharedFunctionalGroupsSequence[0]
        shared.PixelValueTransformationSequence = [item(RescaleIntercept=-5, RescaleSlope=1, RescaleType="HU")]

    path = enhanced(tmp_path / "e.dcm", sop_class=LEGACY_CT, change=legacy)
    np.testing.assert_array_equal(dicom.read_scan(path).voxels, noise() - 5)


def test_a_folder_of_one_enhanced_file_and_one_of_its_halves_are_both_a_series(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "halves").mkdir()
    enhanced(tmp_path / "whole" / "IM1")
    enhanced(tmp_path / "halves" / "IM1", order=[0, 1, 2, 3])
    enhanced(tmp_path / "halves" / "IM2", order=[4, 5, 6, 7])
    for folder in ("whole", "halves"):
        np.testing.assert_array_equal(dicom.read_scan(tmp_path / folder).voxels, noise())


def test_one_of_several_series_is_chosen_by_its_uid(tmp_path):
    folder = series(tmp_path / "s", text="before; contrast")
    first = dcmread(folder / "0001.dcm").SeriesInstanceUID
    other = noise() + np.int16(1)
    second = dcmread(series(tmp_path / "t", voxels=other, text="after") / "0001.dcm").SeriesInstanceUID
    for file in (tmp_path / "t").iterdir():
        file.rename(folder / f"t{file.name}")
    with pytest.raises(InputError) as refused:
        dicom.read_scan(folder)
    message = str(refused.value)
    for part in (first, second, "MR", "'before, contrast'", "'after'", "8 slices", "s#"):
        assert part in message
    assert message.startswith(f"{folder}: ") and "\n" not in message and message.count(";") == 1
    np.testing.assert_array_equal(dicom.read_scan(Path(f"{folder}#{first}")).voxels, noise())
    np.testing.assert_array_equal(dicom.read_scan(Path(f"{folder}#{second}")).voxels, other)
    assert len(dicom.source_files(Path(f"{folder}#{second}"))) == 8
    with pytest.raises(InputError, match=r"there is no series 1\.2\.3"):
        dicom.read_grid(Path(f"{folder}#1.2.3"))


def test_what_lies_beside_the_images_is_no_reason_to_ask(tmp_path):
    folder = series(tmp_path / "s")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "._0001.dcm").write_bytes(b"\0\5\26\7")
    (folder / "notes.txt").write_text("a person wrote this")
    (folder / "deeper").mkdir()
    structures = dcmread(folder / "0001.dcm")
    without("Rows", "Columns", "PixelData")(structures)
    setting(Modality="RTSTRUCT", SeriesInstanceUID="1.2.3")(structures)
    structures.save_as(folder / "structures.dcm")
    assert dicom.read_scan(folder).notes == ()
    assert len(dicom.source_files(folder)) == 8
    survey = dcmread(folder / "0001.dcm")
    setting(SeriesInstanceUID="1.2.4", SeriesDescription="scout")(survey)
    survey.save_as(folder / "survey.dcm")
    scan = dicom.read_scan(folder)
    np.testing.assert_array_equal(scan.voxels, noise())
    assert len(scan.notes) == 1 and "'scout'" in scan.notes[0]


def test_files_of_unknown_content_among_files_without_suffix_are_noted(tmp_path):
    folder = series(tmp_path / "s")
    for file in list(folder.iterdir()):
        file.rename(folder / file.stem)
    (folder / "index").write_bytes(b"\1\2\3" * 100)
    scan = dicom.read_scan(folder)
    assert len(scan.notes) == 1 and "index" in scan.notes[0]


def test_a_single_slice_takes_its_announced_thickness_and_says_so(tmp_path):
    folder = series(tmp_path / "s", voxels=noise((16, 12, 1)))
    scan = dicom.read_scan(folder)
    assert scan.voxels.shape == (16, 12, 1) and scan.grid.spacing[2] == pytest.approx(2.5)
    assert "SliceThickness" in scan.notes[0]
    edit(folder, setting(SpacingBetweenSlices=4))
    scan = dicom.read_scan(folder / "0001.dcm")
    assert scan.grid.spacing[2] == pytest.approx(4) and "SpacingBetweenSlices" in scan.notes[0]


def test_a_row_of_a_table_that_names_a_slice_is_refused_and_told_the_folder(tmp_path):
    folder = series(tmp_path / "ct")
    slice_, *_ = sorted(folder.glob("*.dcm"))
    table = tmp_path / "scans.csv"
    table.write_text(f"image,split\nct/{slice_.name},test\n")
    with pytest.raises(InputError, match=rf"row 2 of scans\.csv names it.*one of 8 slices.*name .* folder, {folder}"):
        load_dataset(table)
    table.write_text("image,split\nct,test\n")
    assert len(load_dataset(table).test) == 1


def test_names_of_scans_and_what_can_be_read(tmp_path):
    folder = series(tmp_path / "case.1")
    chosen = Path(f"{folder}#1.2.840")
    assert dicom.stem(folder) == dicom.stem(chosen) == "case.1"
    assert dicom.stem(Path("a/MASK.DCM")) == "MASK" and dicom.stem(Path("a/1.2.840.7")) == "1.2.840.7"
    assert dicom.exists(folder) and dicom.exists(chosen) and not dicom.exists(tmp_path / "none#1.2")
    assert dicom.can_read(folder) and dicom.can_read(chosen) and dicom.can_read(Path("none.IMA"))
    assert not dicom.can_read(tmp_path) and not dicom.can_read(tmp_path / "none")
    (tmp_path / "1.2.840.7").write_bytes((folder / "0001.dcm").read_bytes())
    (tmp_path / "lie.nii").write_bytes((folder / "0001.dcm").read_bytes())
    assert dicom.can_read(tmp_path / "1.2.840.7") and not dicom.can_read(tmp_path / "lie.nii")
    assert dicom.mask_suffix(folder) == ".dcm" and dicom.map_suffix(folder) == ".nii.gz"
    assert [file.name for file in dicom.source_files(folder)] == [f"{number:04d}.dcm" for number in range(1, 9)]


def test_a_folder_with_a_mark_in_its_own_name_is_that_folder(tmp_path):
    folder = series(tmp_path / "case#1.2")
    assert dicom.stem(folder) == "case#1.2"
    np.testing.assert_array_equal(dicom.read_scan(folder).voxels, noise())


def test_what_pydicom_warns_of_does_not_reach_the_terminal(tmp_path, capfd, recwarn):
    def odd(dataset, _):
        dataset.add_new(0x00080005, "CS", "ISO_IR 999")
        dataset.PixelData = bytes(dataset.PixelData) + b"\0" * 16

    dicom.read_scan(series(tmp_path / "s", odd))
    recwarn.clear()
    capfd.readouterr()
    dicom.read_scan(tmp_path / "s")
    assert capfd.readouterr() == ("", "") and not recwarn.list


def test_slow_libraries_are_imported_only_when_they_are_needed():
    heavy = "{'highdicom', 'imagecodecs', 'SimpleITK'}"
    code = f"import sys, duoseg.scans.formats.dicom; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_a_phantom_series_is_the_same_bytes_each_time_and_comes_back_exactly(tmp_path):
    voxels = noise(low=-30000, high=30000)
    for name in ("a", "b"):
        write_phantom_series(tmp_path / name, voxels, affine_of(), modality="CT")
    for number in range(1, 9):
        first, second = (tmp_path / name / f"{number:04d}.dcm" for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
    scan = dicom.read_scan(tmp_path / "a")
    np.testing.assert_array_equal(scan.voxels, voxels)
    np.testing.assert_allclose(scan.grid.affine, affine_of(), atol=1e-9)
    with pytest.raises(InputError, match="right angles"):
        write_phantom_series(tmp_path / "c", voxels, affine_of() @ np.array([[1, 0.1, 0, 0], *np.eye(4)[1:]]))


def test_one_damaged_slice_is_named_with_its_file(tmp_path):
    folder = series(tmp_path / "s", at(3, without("ImagePositionPatient")))
    with pytest.raises(InputError, match=r"0004\.dcm: has no ImagePositionPatient"):
        dicom.read_scan(folder)


@pytest.mark.parametrize("name", ["IM{}", "{}.dcm"])
def test_a_series_among_many_other_files_is_known(tmp_path, name):
    folder = series(tmp_path / "s")
    for number, file in enumerate(sorted(folder.iterdir()), start=1):
        file.rename(folder / name.format(number))
    for number in range(60):
        (folder / f"0{number}.{'jpg' if name == 'IM{}' else 'page'}").write_bytes(b"\xff\xd8\xff")
    assert dicom.can_read(folder)
    np.testing.assert_array_equal(dicom.read_scan(folder).voxels, noise())
