"""Every way in which a file can be broken gives one line that begins with its path and says what is wrong."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
import zipfile
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from duoseg.errors import InputError
from duoseg.scans import formats, limits
from duoseg.scans.formats import metaimage, nifti, nrrd
from duoseg.scans.formats.contents import kind_of
from duoseg.scans.formats.streams import opened
from duoseg.scans.scan import Grid

SHAPE = (12, 11, 10)
NAMES = ["a.nii", "a.nii.gz", "a.hdr", "a.nrrd", "a.seg.nrrd", "a.nhdr", "a.mha", "a.mhd"]
PACKED = ["a.nii.gz", "a.hdr.gz", "a.nrrd", "a.nhdr", "a.mha", "a.mhd"]
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def adapter(path):
    return next(one for one in (nifti, nrrd, metaimage) if one.can_read(path))


def written(folder, name):
    """Return a scan of noise, which compression cannot shorten much, written in the format of its name."""
    path = folder / name
    voxels = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    adapter(path).write(path, voxels, grid=Grid(SHAPE, np.diag([0.7, 1.1, 3, 1])))
    return path


def data_file(path):
    return adapter(path).source_files(path)[-1]


def refusal(path, read=None):
    """Return why a file is refused; it must be one line that begins with the path of one of its files."""
    with pytest.raises(InputError) as caught:
        (read or adapter(path).read_scan)(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path.with_name(path.name.split(".")[0]))), message
    return message


def raw_nrrd(path, data=bytes(120), **changes):
    fields = {
        "type": "uchar",
        "dimension": "3",
        "space": "LPS",
        "sizes": "4 5 6",
        "space directions": "(1,0,0) (0,1,0) (0,0,1)",
        "space origin": "(0,0,0)",
        "encoding": "raw",
    } | {name.replace("_", " "): str(text) for name, text in changes.items()}
    path.write_bytes(
        "\n".join(["NRRD0004", *(f"{name}: {text}" for name, text in fields.items()), "", ""]).encode() + data
    )
    return path


def raw_meta(path, data=bytes(120), **changes):
    keys = {
        "NDims": "3",
        "DimSize": "4 5 6",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "ElementSpacing": "1 1 1",
        "ElementType": "MET_UCHAR",
    } | {name: str(text) for name, text in changes.items()}
    keys["ElementDataFile"] = keys.pop("ElementDataFile", "LOCAL")
    path.write_bytes("".join(f"{name} = {text}\n" for name, text in keys.items()).encode() + data)
    return path


def raw_nifti(path, shape=(4, 5, 6), **fields):
    header = nib.Nifti1Header()
    header.set_data_shape((4, 5, 6))
    header.set_data_dtype(np.uint8)
    header.set_sform(np.eye(4), 1)
    header["vox_offset"] = 352
    header["dim"][1:4] = shape
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + bytes(4) + bytes(120))
    return path


@pytest.mark.parametrize("name", [*NAMES, "a.hdr.gz"])
@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, name, share):
    path = written(tmp_path, name)
    for file in adapter(path).source_files(path):
        content = file.read_bytes()
        if share > 0.9 and name in ("a.nhdr", "a.mhd") and file == path:
            continue  # only the end of the last line is missing
        file.write_bytes(content[: int(share * len(content))])
        assert any(
            words in refusal(path) for words in ("cut short", "damaged", "not a", "is missing", "cannot be read")
        )
        file.write_bytes(content)


@pytest.mark.parametrize("name", NAMES)
def test_one_missing_byte_of_the_voxels_is_noticed(tmp_path, name):
    path = written(tmp_path, name)
    data = data_file(path)
    data.write_bytes(data.read_bytes()[:-1])
    assert "cut short" in refusal(path)


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("share", [0.4, 0.7, 0.95, 0.9999])
def test_a_flipped_bit_in_compressed_data_is_noticed(tmp_path, name, share):
    path = written(tmp_path, name)
    data = data_file(path)
    content = bytearray(data.read_bytes())
    content[min(int(share * len(content)), len(content) - 1)] ^= 0x10
    data.write_bytes(content)
    assert "damaged" in refusal(path) or "cut short" in refusal(path)


def test_a_flipped_bit_in_bzip2_is_noticed(tmp_path):
    packed = bytearray(bz2.compress(np.random.default_rng(0).bytes(120)))
    packed[len(packed) // 2] ^= 1
    assert "damaged" in refusal(raw_nrrd(tmp_path / "a.nrrd", bytes(packed), encoding="bzip2"))


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_file_is_named_as_such(tmp_path, name):
    path = written(tmp_path, name)
    for file in adapter(path).source_files(path):
        content = file.read_bytes()
        file.write_bytes(b"")
        assert "is empty (0 bytes); copy or download it again" in refusal(path)
        file.write_bytes(content)


@pytest.mark.parametrize("name", NAMES)
def test_a_pointer_of_git_lfs_is_named_as_such(tmp_path, name):
    path = written(tmp_path, name)
    for file in adapter(path).source_files(path):
        content = file.read_bytes()
        file.write_bytes(LFS_POINTER)
        assert refusal(path) == f"{file}: is a Git LFS pointer, not the file itself; run `git lfs pull`."
        file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "really"),
    [
        (name, really)
        for name in ("a.nii", "a.nii.gz", "a.nrrd", "a.mha")
        for really in ("b.nii", "b.nii.gz", "b.hdr", "b.nrrd", "b.mha", "b.mhd")
        if adapter(Path(name)) is not adapter(Path(really))
    ],
)
def test_a_scan_under_another_scans_ending_is_refused_with_its_right_name(tmp_path, name, really):
    content = written(tmp_path, really).read_bytes()
    path = tmp_path / name
    path.write_bytes(content)
    named = {"b.hdr": "NIfTI", "b.nii": "NIfTI", "b.nii.gz": "NIfTI", "b.nrrd": "NRRD"}.get(really, "MetaImage")
    assert f"by its content it is {named}; rename it to a{really[1:]}." in refusal(path)


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "a")
    return buffer.getvalue()


@pytest.mark.parametrize(("content", "named"), [
    (bytes(128) + b"DICM" + bytes(100), "DICOM; rename it to a.dcm"),
    (zipped(), "ZIP; unpack it first"),
    (b"\x89PNG\r\n\x1a\n" + bytes(40), "PNG; give the scan itself"),
    (b"\xff\xd8\xff\xe0" + bytes(40), "JPEG; give the scan itself"),
    (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5; convert it to NIfTI"),
    (gzip.compress(gzip.compress(b"a", mtime=0), mtime=0), "gzip; it was compressed twice"),
    (b"<!DOCTYPE html><html>Sign in</html>", "web page; a download failed"),
    (b"\xfd7zXZ\0" + bytes(40), "xz; decompress it first"),
    (struct.pack("<i", 348) + bytes(344), "ANALYZE 7.5, which does not say where left and right are"),
    (b"%PDF-1.7", "PDF; give"),
])  # fmt: skip
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_other_content_is_named_for_what_it_is(tmp_path, name, content, named):
    path = tmp_path / name
    path.write_bytes(content)
    assert named in refusal(path)
    assert named.split(";")[0] in refusal(path, adapter(path).read_grid)


@pytest.mark.parametrize("content", [b"no scan", bytes(2000), b"\x5c\x01", b"NRRD"])
@pytest.mark.parametrize(("name", "kind"), [("a.nii", "NIfTI"), ("a.nrrd", "NRRD"), ("a.mha", "MetaImage")])
def test_unknown_content_is_refused(tmp_path, name, kind, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert f"this is not a {kind} file; convert the scan to {kind} or mend its name" in refusal(path)
    assert kind_of(content) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_and_a_folder_are_named(tmp_path, name):
    assert "there is no such file" in refusal(tmp_path / name) or "is missing" in refusal(tmp_path / name)
    (tmp_path / name).mkdir()
    told = refusal(tmp_path / name, formats.read_scan)
    assert "is a folder, not a" in told or "is missing" in told


@pytest.mark.parametrize("whole", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.mha"])
def test_a_file_that_is_compressed_as_a_whole_is_read(tmp_path, name, whole):
    path = written(tmp_path, name)
    before = adapter(path).read_scan(path)
    path.write_bytes(whole(path.read_bytes()))
    np.testing.assert_array_equal(adapter(path).read_scan(path).voxels, before.voxels)


@pytest.mark.parametrize("count", [10**6, 32000])
def test_voxels_that_cannot_be_there_are_refused_before_memory_is_taken(tmp_path, count):
    assert "cut short" in refusal(raw_nrrd(tmp_path / "a.nrrd", sizes=f"{count} {count} {count}"))
    assert "cut short" in refusal(raw_meta(tmp_path / "b.mha", DimSize=f"{count} {count} {count}"))
    assert "cut short" in refusal(raw_nifti(tmp_path / "c.nii", (32000, 32000, 32000)))
    packed = raw_nrrd(tmp_path / "d.nrrd", gzip.compress(bytes(10**6)), encoding="gzip", sizes=f"{count} {count} 9")
    assert "cut short" in refusal(packed)
    bzipped = raw_nrrd(tmp_path / "e.nrrd", bz2.compress(bytes(10**6)), encoding="bzip2", sizes="1000 1000 2")
    assert "cut short: 2000000 bytes of voxels are announced, 1000000 are there" in refusal(bzipped)


def test_a_scan_beyond_this_machines_memory_is_refused_with_both_numbers(tmp_path, monkeypatch):
    path = written(tmp_path, "a.nii")
    monkeypatch.setattr(limits, "memory_limit", lambda: 2048)
    assert "takes 4.92e-06 GiB of memory, and this machine has 1.91e-06 GiB; crop" in refusal(path)
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"^a: to read its voxels takes 9\.31e\+08 GiB"):
        limits.require_memory(Path("a"), 10**18)
    limits.require_memory(Path("a"), 10**6)


def test_a_file_that_unpacks_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("duoseg.scans.formats.streams._MOST_SURPLUS", 10**6)
    path = raw_nrrd(tmp_path / "a.nrrd", gzip.compress(bytes(5 * 10**6)), encoding="gzip")
    assert "goes on for more than" in refusal(path)


@pytest.mark.parametrize(("fields", "match"), [
    ({"sizes": "4 -5 6"}, "damaged: its axes have 4 x -5 x 6 voxels"),
    ({"sizes": "4 0 6"}, "damaged: its axes have"),
    ({"sizes": "4 5"}, "its dimension is '3', but it has 2 sizes"),
    ({"sizes": "4 five 6"}, "whole numbers are needed"),
    ({"dimension": "2", "sizes": "4 30", "space directions": "(1,0,0) (0,1,0)"}, "not a volume"),
    ({"sizes": "٤ 5 6"}, "whole numbers are needed"),
    ({"sizes": "4\x1c5 6"}, "whole numbers are needed"),
    ({"space directions": "(1_0,0,0) (0,1,0) (0,0,1)"}, "numbers are needed"),
    ({"space directions": "(1,0,0) (0,٣,0) (0,0,1)"}, "numbers are needed"),
    ({"space directions": "(1,0,0) (0,nan,0) (0,0,1)"}, "finite numbers are needed"),
    ({"space directions": "(1,0,0) (0,inf,0) (0,0,1)"}, "finite numbers are needed"),
    ({"space directions": "(1,0,0) (1,0,0) (0,0,1)"}, "not invertible"),
    ({"space directions": "(1,0,0) (0,0,0) (0,0,1)"}, "not invertible"),
    ({"space directions": "(1,0,0) (0,1,0)"}, "2 space directions for 3 axes"),
    ({"space directions": "(1,0) (0,1) (0,1)"}, "3 numbers are needed"),
    ({"space directions": "1 0 0"}, "no vectors"),
    ({"space directions": "(1e9,0,0) (0,1,0) (0,0,1)"}, "of no scan"),
    ({"space origin": "(1e9,0,0)"}, "of no scan"),
    ({"space origin": "(0,0,0) (1,1,1)"}, "not one point"),
    ({"type": "block"}, "'block', not numbers"),
    ({"type": "short"}, "does not say the byte order"),
    ({"encoding": "ascii"}, "'ascii' cannot be read, only raw, gzip and bzip2"),
    ({"byte skip": "-2"}, "skips 0 lines and -2 bytes"),
    ({"line skip": "99"}, "99 lines are to be skipped"),
    ({"byte skip": "99999999999"}, "cut short"),
    ({"data file": "../b.raw"}, "leads out of its own folder"),
    ({"data file": "/etc/hostname"}, "leads out of its own folder"),
    ({"data file": "x/../../b.raw"}, "leads out of its own folder"),
    ({"data file": "..\\b.raw"}, "leads out of its own folder"),
    ({"data file": "C:\\b.raw"}, "leads out of its own folder"),
    ({"data file": "b\0.raw"}, "leads out of its own folder"),
    ({"data file": "b.raw"}, "its data file b.raw is missing; put it beside the header"),
    ({"data file": "LIST"}, "spread over several files"),
    ({"data file": "b%03d.raw 1 6 1"}, "spread over several files"),
    ({"my field": "a", "My Field": "b"}, "the field 'myfield' twice"),
])  # fmt: skip
def test_a_nrrd_header_that_makes_no_sense_is_refused(tmp_path, fields, match):
    assert match in refusal(raw_nrrd(tmp_path / "a.nrrd", **fields))


@pytest.mark.parametrize(("keys", "match"), [
    ({"DimSize": "4 -5 6"}, "damaged: its axes have"),
    ({"DimSize": "4 5"}, "NDims is '3', but DimSize has 2 numbers"),
    ({"NDims": "three"}, "whole numbers are needed"),
    ({"TransformMatrix": "1 0 0 0 nan 0 0 0 1"}, "finite numbers are needed"),
    ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "not invertible"),
    ({"TransformMatrix": "1 0 0 1"}, "9 numbers are needed"),
    ({"ElementSpacing": "1 0 1"}, "not invertible"),
    ({"ElementSpacing": "1 1"}, "3 numbers are needed"),
    ({"Offset": "1e300 0 0"}, "finite numbers are needed"),
    ({"Offset": "٣ 0 0"}, "3 numbers are needed"),
    ({"Offset": "1_0 0 0"}, "3 numbers are needed"),
    ({"ElementType": "MET_WHAT"}, "'MET_WHAT', not numbers"),
    ({"CompressedData": "Maybe"}, "neither True nor False"),
    ({"HeaderSize": "8"}, "its voxels follow at once"),
    ({"HeaderSize": "-2"}, "HeaderSize is -2"),
    ({"CompressedData": "True", "CompressedDataSize": "500"}, "500 compressed bytes are announced, 120 are there"),
    ({"ElementDataFile": "../b.raw"}, "leads out of its own folder"),
    ({"ElementDataFile": "/etc/hostname"}, "leads out of its own folder"),
    ({"ElementDataFile": "b.raw"}, "its data file b.raw is missing"),
    ({"ElementDataFile": ""}, "is missing"),
])  # fmt: skip
def test_a_metaimage_header_that_makes_no_sense_is_refused(tmp_path, keys, match):
    assert match in refusal(raw_meta(tmp_path / "a.mha", **keys))


@pytest.mark.parametrize(("fields", "match"), [
    ({"dim": [3, 4, -5, 6, 1, 1, 1, 1]}, "not a volume"),
    ({"dim": [9, 4, 5, 6, 1, 1, 1, 1]}, "no number of axes from 1 to 7"),
    ({"dim": [32767, 4, 5, 6, 1, 1, 1, 1]}, "no number of axes from 1 to 7"),
    ({"dim": [-1, 4, 5, 6, 1, 1, 1, 1]}, "no number of axes from 1 to 7"),
    ({"srow_x": [np.nan, 0, 0, 0]}, "not invertible"),
    ({"srow_x": [0, 1, 0, 0], "srow_y": [0, 1, 0, 0]}, "not invertible"),
    ({"srow_x": [1e9, 0, 0, 0]}, "of no scan"),
    ({"vox_offset": 10}, "damaged"),
    ({"vox_offset": 1e30}, "cut short"),
    ({"vox_offset": np.inf}, "damaged"),
    ({"datatype": 999}, "damaged"),
    ({"xyzt_units": 5}, "unit of length has the code 5"),
    ({"scl_slope": 2, "scl_inter": np.nan}, "scale factors are not usable"),
])  # fmt: skip
def test_a_nifti_header_that_makes_no_sense_is_refused(tmp_path, fields, match):
    assert match in refusal(raw_nifti(tmp_path / "a.nii", **fields))


def test_a_header_without_an_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("duoseg.scans.formats.text_header._LONGEST_HEADER", 10**4)
    raw_nrrd(tmp_path / "a.nrrd", content="x" * 10**5)
    assert "its header has no end" in refusal(tmp_path / "a.nrrd")
    assert "its header has no end" in refusal(raw_meta(tmp_path / "a.mha", Comment="x" * 10**5))


def test_bytes_of_a_header_that_are_no_text_are_refused(tmp_path):
    content = raw_nrrd(tmp_path / "a.nrrd").read_bytes()
    (tmp_path / "a.nrrd").write_bytes(content.replace(b"sizes: 4", b"sizes: \xff"))
    assert "whole numbers are needed" in refusal(tmp_path / "a.nrrd")


def test_the_end_of_a_zlib_stream_is_verified(tmp_path):
    packed = zlib.compress(bytes(range(120)))
    path = raw_meta(tmp_path / "a.mha", packed, CompressedData="True", CompressedDataSize=len(packed))
    np.testing.assert_array_equal(metaimage.read_scan(path).voxels, sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T)
    assert "cut short" in refusal(raw_meta(path, packed[:-2], CompressedData="True"))
    assert "damaged" in refusal(raw_meta(path, packed[:-1] + b"\0", CompressedData="True"))


def test_streams_of_mere_data_are_not_unpacked_by_their_looks(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(b"\x1f\x8b" + bytes(10))
    with opened(path, packed=False) as stream:
        assert stream.is_plain and stream.read_exactly(12, "it") == path.read_bytes()
