"""DICOM that is no volume, or damaged: one line with the path, the slice, the fault and the remedy."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from dicom_cases import affine_of, at, enhanced, item, noise, series, setting, store, without
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, generate_uid

from duoseg.errors import InputError
from duoseg.scans import limits
from duoseg.scans.formats import dicom


def refusal(path: Path, read=dicom.read_scan) -> str:
    with pytest.raises(InputError) as refused:
        read(path)
    message = str(refused.value)
    assert "\n" not in message and message.endswith(".") and message.startswith(str(path))
    return message[len(str(path)) :]


def moved(*shift: float):
    """Move a slice by (along row, along column, along the stack) in mm."""

    def change(dataset):
        affine = affine_of()
        axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        lps = np.diag([-1, -1, 1]) @ axes @ np.array(shift)
        position = np.array(dataset.ImagePositionPatient, float) + lps
        dataset.ImagePositionPatient = [f"{part:.6f}" for part in position]

    return change


def turned(dataset):
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]


SLICES = {
    "moved along the stack": (
        at(3, moved(0, 0, 0.4)),
        "unevenly spaced: 000[345].dcm at .* mm and 000",
    ),
    "moved sideways": (at(3, moved(1, 0, 0)), "0004.dcm at .* is 0.8.* mm away"),
    "turned": (
        at(3, turned),
        "differ in orientation: 0004.dcm is turned by .* degrees against 0001",
    ),
    "other pixel spacing": (
        at(3, setting(PixelSpacing=[1, 1])),
        "differ in pixel spacing: 0001.dcm.*0.7 x 0.8.*0004",
    ),
    "other size": (at(3, lambda d: store(d, noise((9, 5, 1))[:, :, 0], Rows=9, Columns=5)), "differ in size: .*5 x 9"),
    "colours": (setting(SamplesPerPixel=3, PhotometricInterpretation="RGB"), "0001.dcm: its pixels are colours .RGB."),
    "palette": (setting(PhotometricInterpretation="PALETTE COLOR"), "0001.dcm: its pixels are colours"),
    "mosaic": (setting(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), "0001.dcm: is a mosaic.*dcm2niix"),
    "no position": (at(6, without("ImagePositionPatient")), "0007.dcm: has no ImagePositionPatient"),
    "no orientation": (at(6, without("ImageOrientationPatient")), "0007.dcm: has no ImageOrientationPatient"),
    "no pixel spacing": (without("PixelSpacing"), "0001.dcm: has no PixelSpacing"),
    "no width": (at(6, without("Columns")), "0007.dcm: the file is cut short: it ends within its header"),
    "no pixels": (at(6, without("PixelData")), "0007.dcm: the file is cut short: it ends before its pixels"),
    "few pixels": (
        at(6, lambda d: setting(PixelData=d.PixelData[:-2])(d)),
        "0007.dcm: the file is cut short: 384 .* 382",
    ),
    "impossible bits": (at(6, setting(BitsStored=17)), "0007.dcm: the file is damaged"),
    "zero spacing": (at(6, setting(PixelSpacing=[0, 1])), "0007.dcm: the file is damaged .PixelSpacing"),
    "crooked axes": (
        at(6, setting(ImageOrientationPatient=[1, 0, 0, 1, 0, 0])),
        "0007.dcm: the file is damaged .ImageO",
    ),
    "short axes": (
        at(6, setting(ImageOrientationPatient=[0.5, 0, 0, 0, 1, 0])),
        "0007.dcm: the file is damaged .ImageO",
    ),
    "two coordinates": (at(6, setting(ImagePositionPatient=[1, 0])), "0007.dcm: the file is damaged .ImagePosition"),
    "film": (at(6, setting(NumberOfFrames=4)), "0007.dcm: its 4 frames are stored without their positions"),
    "no frames": (at(6, setting(NumberOfFrames=0)), "0007.dcm: the file is damaged .it announces 0 frames"),
    "colossal": (setting(Rows=65535, Columns=65535), ": the file is cut short: 8589672450 bytes"),
}


@pytest.mark.parametrize("name", SLICES)
def test_slices_that_make_no_volume_are_refused_by_name(tmp_path, name):
    change, words = SLICES[name]
    folder = series(tmp_path / "s", change)
    with pytest.raises(InputError, match=words) as refused:
        dicom.read_scan(folder)
    message = str(refused.value)
    assert message.startswith(str(folder)) and "\n" not in message and "; " in message


def test_deviations_within_the_tolerance_are_accepted(tmp_path):
    scan = dicom.read_scan(series(tmp_path / "s", at(3, moved(0, 0, 0.08))))
    np.testing.assert_allclose(scan.grid.affine, affine_of(), atol=0.05)


def test_missing_slices_are_counted_and_placed(tmp_path):
    folder = series(tmp_path / "s", affine=affine_of(0, 0, 0.01))
    for number in (4, 5):
        (folder / f"000{number}.dcm").unlink()
    message = refusal(folder)
    assert "2 slices are missing: 2 between 0003.dcm at 38.00 mm and 0006.dcm at 45.50 mm" in message
    assert "2.5 mm apart" in message


def test_a_slice_that_is_missing_from_three_is_noticed(tmp_path):
    folder = series(tmp_path / "s", voxels=noise((16, 12, 4)))
    (folder / "0003.dcm").unlink()
    assert "1 slice is missing: 1 between 0002.dcm" in refusal(folder)


def test_two_slices_in_one_place_are_told_apart(tmp_path):
    folder = series(tmp_path / "s")
    again = dcmread(folder / "0003.dcm")
    setting(SOPInstanceUID=generate_uid(), EchoTime="9.5", AcquisitionTime="130000")(again)
    again.save_as(folder / "again.dcm")
    message = refusal(folder)
    assert "2 of its slices are at the same position" in message and "0003.dcm, again.dcm" in message
    assert "echo time (2, 9.5)" in message and "acquisition time (120000, 130000)" in message
    (folder / "again.dcm").write_bytes((folder / "0003.dcm").read_bytes())
    assert "one file is a copy of another" in refusal(folder)


def test_two_volumes_of_one_series_are_called_four_dimensional(tmp_path):
    folder = series(tmp_path / "s")
    for file in sorted(folder.iterdir()):
        dataset = dcmread(file)
        setting(SOPInstanceUID=generate_uid(), TemporalPositionIdentifier=2)(dataset)
        dataset.save_as(folder / f"b{file.name}")
    message = refusal(folder, dicom.read_grid)
    assert "2 images at each of 8 positions (4-D)" in message and "time point (none, 2)" in message


def test_frames_of_several_b_values_are_called_four_dimensional(tmp_path):
    def diffusion(dataset):
        for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            group.MRDiffusionSequence = [item(DiffusionBValue=1000.0 * (number % 2))]

    path = enhanced(tmp_path / "e.dcm", order=[0, 0, 1, 1, 2, 2], change=diffusion)
    message = refusal(path)
    assert "2 images at each of 3 positions (4-D)" in message and "b-value (0.0, 1000.0)" in message


def test_a_frame_is_named_by_its_number(tmp_path):
    path = enhanced(tmp_path / "e.dcm", order=[0, 1, 3, 4])
    assert "1 between e.dcm frame 2 at" in refusal(path)

    def lose(dataset):
        del dataset.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence

    assert refusal(enhanced(tmp_path / "f.dcm", change=lose)).startswith(": frame 3 has no ImagePositionPatient")
    path = enhanced(tmp_path / "g.dcm", change=setting(NumberOfFrames=7))
    assert "7 frames, and describes 8" in refusal(path)


def test_slices_that_shift_more_than_any_gantry_are_refused(tmp_path):
    affine = affine_of()
    affine[:3, 2] += 5 * affine[:3, 0]
    assert "no gantry does" in refusal(series(tmp_path / "s", affine=affine))


def test_a_single_slice_of_unknown_thickness_is_refused(tmp_path):
    folder = series(tmp_path / "s", without("SliceThickness"), voxels=noise((16, 12, 1)))
    assert "single slice of unknown thickness" in refusal(folder)


def test_folders_and_files_that_hold_no_images(tmp_path):
    assert "no such file or folder" in refusal(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "holds no DICOM files" in refusal(tmp_path / "empty")
    folder = series(tmp_path / "s", setting(Modality="RTDOSE", SeriesDescription="dose"))
    message = refusal(folder)
    assert "no series of images" in message and "RTDOSE, 'dose'" in message
    assert "a RTDOSE object" in refusal(folder / "0001.dcm")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\0" * 2000, "not a DICOM file"),
        (b"\x1f\x8b\1\2\3", "not a DICOM file"),
        (b"\x89PNG" + bytes(200), "by its content it is PNG"),
    ],
)
def test_a_file_that_is_no_dicom_is_refused_alone_and_among_slices(tmp_path, content, words):
    folder = series(tmp_path / "s")
    (folder / "0005.dcm").write_bytes(content)
    assert words in refusal(folder) and refusal(folder).startswith("/0005.dcm: ")
    assert words in refusal(folder / "0005.dcm")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8, 0.99])
def test_a_truncated_slice_is_refused_wherever_it_ends(tmp_path, share):
    folder = series(tmp_path / "s")
    file = folder / "0005.dcm"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    refusal(folder)
    refusal(file)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("chosen", [False, True])
def test_a_truncated_last_slice_is_never_left_out(tmp_path, share, chosen):
    folder = series(tmp_path / "s", voxels=noise((5, 6, 8)))
    uid = dcmread(folder / "0001.dcm").SeriesInstanceUID
    file = folder / "0008.dcm"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"0008\.dcm: "):
        dicom.read_scan(Path(f"{folder}#{uid}") if chosen else folder)


def test_a_truncated_deflated_slice_is_refused(tmp_path):
    def deflate(dataset, _):
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    folder = series(tmp_path / "s", deflate)
    file = folder / "0005.dcm"
    file.write_bytes(file.read_bytes()[:-40])
    assert "the end of its compressed data is missing" in refusal(folder)


def test_what_memory_cannot_hold_is_refused_before_it_is_reserved(tmp_path, monkeypatch):
    folder = series(tmp_path / "s")
    monkeypatch.setattr(limits, "memory_limit", lambda: 3000)
    assert "GiB of memory" in refusal(folder)


def test_a_length_beyond_the_file_reserves_nothing(tmp_path):
    folder = series(tmp_path / "s")
    content = (folder / "0005.dcm").read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OW\0\0") + 8
    (folder / "0005.dcm").write_bytes(content[:start] + struct.pack("<I", 0xFFFFFFF0) + content[start + 4 :])
    np.testing.assert_array_equal(dicom.read_scan(folder).voxels, noise())


def test_flipped_bytes_give_a_volume_or_one_line(tmp_path):
    folder = series(tmp_path / "s", voxels=noise((16, 12, 3)))
    file = folder / "0002.dcm"
    content = file.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        changed = bytearray(content)
        for position in rng.integers(0, len(content) - 384, rng.integers(1, 5)):
            changed[position] = rng.integers(256)
        file.write_bytes(changed)
        try:
            scan = dicom.read_scan(folder)
        except InputError as error:
            refused += 1
            assert str(error).startswith(str(folder)) and "\n" not in str(error)
        else:
            assert scan.voxels.shape == scan.grid.shape
    assert refused > 20


def test_a_header_that_is_nested_without_end_is_refused(tmp_path):
    folder = series(tmp_path / "s")
    nested = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    content = (folder / "0002.dcm").read_bytes()
    start = content.index(b"\x10\x00\x10\x00PN")
    (folder / "0002.dcm").write_bytes(content[:start] + nested)
    refusal(folder)


def test_control_characters_in_a_file_do_not_reach_the_message(tmp_path):
    folder = series(tmp_path / "s")
    file = folder / "0003.dcm"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.\x0710008.1.2\n", 1))
    assert refusal(folder).isprintable()
    file.write_bytes(content.replace(b"MONOCHROME2 ", b"MONO\x1b[31m\n; ", 1))
    message = refusal(folder)
    assert message.isprintable() and message.count(";") == 1


def test_an_identifier_of_a_wrong_type_is_no_crash_when_a_mask_is_written(tmp_path):
    folder = series(tmp_path / "s")
    for number, element, wrong, words in (
        (3, b"\x08\x00\x16\x00UI", b"\x08\x00\x16\x00UL", r"0003\.dcm: the file is damaged .SOPClassUID"),
        (1, b"\x10\x00\x10\x00PN", b"\x10\x00\x10\x00\x50\x0e", r"0001\.dcm: the file is damaged"),
    ):
        file = folder / f"000{number}.dcm"
        content = file.read_bytes()
        file.write_bytes(content.replace(element, wrong))
        with pytest.raises(InputError, match=words):
            dicom.write_like(tmp_path / "m.dcm", np.ones(noise().shape, np.uint8), like=folder, segments={"a": 1})
        file.write_bytes(content)


BROKEN = {
    "empty": (b"", "it is empty"),
    "zeros": (bytes(2000), "not a DICOM file"),
    "web page": (b"<!DOCTYPE html><html>not found</html>", "web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "packed": (gzip.compress(b"a slice"), "not a DICOM file"),
    "another": (b"no scan at all", "not a DICOM file"),
}


@pytest.mark.parametrize("name", ["1.2.840.113619.2.{}", "IM{}", "{:05}", "0.{:03}", "A1B2C3D{}", "scan.{:03}"])
@pytest.mark.parametrize("spoilt", [[8], [2, 4, 6, 8]])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_slice_is_never_left_out_whatever_the_slices_are_called(tmp_path, name, spoilt, kind):
    content, words = BROKEN[kind]
    folder = series(tmp_path / "s", voxels=noise((5, 6, 8)))
    for number in range(1, 9):
        (folder / f"000{number}.dcm").rename(folder / name.format(number))
    for number in spoilt:
        (folder / name.format(number)).write_bytes(content)
    message = refusal(folder)
    assert message.startswith(f"/{name.format(spoilt[0])}: ") and words in message


def test_a_slice_that_lost_its_ending_and_its_content_is_refused(tmp_path):
    folder = series(tmp_path / "s", voxels=noise((5, 6, 8)))
    (folder / "0008.dcm").unlink()
    (folder / "0008").write_bytes(b"no scan")
    assert refusal(folder).startswith("/0008: ")


def test_other_files_beside_slices_without_an_ending_are_noted_whatever_they_hold(tmp_path):
    folder = series(tmp_path / "s", voxels=noise((5, 6, 8)))
    for file in sorted(folder.iterdir()):
        file.rename(folder / f"1.2.{int(file.stem)}")
    (folder / "README").write_bytes(b"<html>")
    (folder / "LICENCE").write_bytes(gzip.compress(b"text"))
    (folder / "thumbs.jpg").write_bytes(b"\xff\xd8\xff")
    scan = dicom.read_scan(folder)
    assert scan.voxels.shape == (5, 6, 8)
    assert scan.notes == ("its folder also holds files that are not DICOM: LICENCE, README",)


def test_a_slice_that_ends_within_the_identifier_of_its_kind_is_never_left_out(tmp_path):
    folder = series(tmp_path / "s", voxels=noise((5, 6, 8)))
    file = folder / "0008.dcm"
    content = file.read_bytes()
    start = content.index(b"\x08\x00\x16\x00UI")
    for end in range(start - 8, start + 48):
        file.write_bytes(content[:end])
        assert refusal(folder).startswith("/0008.dcm: ")


@pytest.mark.parametrize("gap", [0.05, 0.08, 0.1])
def test_missing_slices_of_thin_series_are_noticed(tmp_path, gap):
    folder = series(tmp_path / "s", voxels=noise((5, 6, 30)), affine=affine_of(0, 0, 0.01, spacing=(0.1, 0.1, gap)))
    assert dicom.read_grid(folder).spacing[2] == pytest.approx(gap, rel=1e-3)
    for number in (15, 16):
        (folder / f"00{number}.dcm").unlink()
    assert "2 slices are missing: 2 between 0014.dcm" in refusal(folder)
