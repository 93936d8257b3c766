"""MetaImage files against SimpleITK, which holds the format's reference implementation."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from duoseg.errors import InputError
from duoseg.scans.formats import metaimage
from duoseg.scans.scan import Grid

SHAPE = (5, 6, 7)
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])
DIRECTIONS = {
    "along": np.eye(3),
    "oblique": np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0],
    "permuted": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "flipped": np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]),
}


def noise(dtype=np.int16, shape=SHAPE):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def image(direction, voxels):
    made = sitk.GetImageFromArray(voxels.T)
    made.SetSpacing((0.7, 1.1, 3.0))
    made.SetOrigin((10.0, -20.0, 30.0))
    made.SetDirection(direction.ravel().tolist())
    return made


def by_simpleitk(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T


def assert_at_the_same_place(grid, path):
    """Compare corner voxels with where SimpleITK puts them."""
    by_itk = sitk.ReadImage(str(path))
    for index in np.ndindex(2, 2, 2):
        corner = [int(end * (size - 1)) for end, size in zip(index, grid.shape, strict=True)]
        world = by_itk.TransformIndexToPhysicalPoint([*corner, *[0] * (by_itk.GetDimension() - 3)])[:3]
        np.testing.assert_allclose(grid.affine[:3] @ [*corner, 1], RAS_FROM_LPS @ world, atol=1e-4)


def by_hand(path, data=None, *, extra="", **changes):
    keys = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "0 1 0 0 0 1 1 0 0",
        "Offset": "10 -20 30",
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": "0.7 1.1 3",
        "DimSize": "5 6 7",
        "ElementType": "MET_SHORT",
    } | changes
    lines = [f"{name} = {value}" for name, value in keys.items() if value is not None]
    last = f"ElementDataFile = {keys.get('ElementDataFile', 'LOCAL')}\n"
    lines = [line for line in lines if not line.startswith("ElementDataFile")]
    data = noise().tobytes(order="F") if data is None else data
    path.write_bytes(("\n".join(lines) + "\n" + extra + last).encode() + data)
    return path


@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("packed", [True, False])
def test_files_of_simpleitk_are_read_as_it_reads_them(tmp_path, name, direction, packed):
    path = tmp_path / name
    sitk.WriteImage(image(DIRECTIONS[direction], noise()), str(path), packed)
    scan = metaimage.read_scan(path)
    np.testing.assert_array_equal(scan.voxels, noise())
    assert scan.voxels.dtype == np.int16 and scan.notes == ()
    assert_at_the_same_place(scan.grid, path)
    assert metaimage.read_grid(path).matches(scan.grid)
    assert len(metaimage.source_files(path)) == (2 if name == "a.mhd" else 1)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_every_type_of_number_is_read(tmp_path, dtype):
    sitk.WriteImage(image(np.eye(3), noise(dtype)), str(tmp_path / "a.mha"))
    scan = metaimage.read_scan(tmp_path / "a.mha")
    assert scan.voxels.dtype == dtype
    np.testing.assert_array_equal(scan.voxels, noise())


@pytest.mark.parametrize("key", ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])
def test_big_endian_files_become_native_arrays(tmp_path, key):
    changes = {"BinaryDataByteOrderMSB": None, key: "True"}
    path = by_hand(tmp_path / "a.mha", noise(">i2").tobytes(order="F"), **changes)
    scan = metaimage.read_scan(path)
    assert scan.voxels.dtype.isnative
    np.testing.assert_array_equal(scan.voxels, noise())
    np.testing.assert_array_equal(by_simpleitk(path), noise())


@pytest.mark.parametrize("changes", [
    {"Offset": None, "Position": "1 2 3"},
    {"Offset": None, "Origin": "1 2 3"},
    {"TransformMatrix": None, "Rotation": "0 0 1 1 0 0 0 1 0"},
    {"TransformMatrix": None, "Orientation": "0 0 1 1 0 0 0 1 0"},
    {"ElementSpacing": None, "ElementSize": "2 3 4"},
    {"ElementSize": "2 3 4"},
    {"CenterOfRotation": "5 6 7"},
    {"AnatomicalOrientation": "LPS"},
    {"ElementSpacing": "-0.7 1.1 3"},
    {"TransformMatrix": "2 0 0 0 2 0 0 0 2"},
    {"HeaderSize": "-1"},
    {"BinaryData": None},
    {"ElementNumberOfChannels": "1"},
])  # fmt: skip
def test_other_keys_mean_what_they_mean_to_simpleitk(tmp_path, changes):
    path = by_hand(tmp_path / "a.mha", **changes)
    scan = metaimage.read_scan(path)
    assert scan.notes == ()
    np.testing.assert_array_equal(scan.voxels, by_simpleitk(path))
    assert_at_the_same_place(scan.grid, path)


@pytest.mark.parametrize(("key", "note"), [
    ("TransformMatrix", "orientation is unknown"),
    ("Offset", "position is unknown"),
    ("ElementSpacing", "1 x 1 x 1 mm"),
])  # fmt: skip
def test_what_is_missing_is_noted_and_taken_as_by_simpleitk(tmp_path, key, note):
    path = by_hand(tmp_path / "a.mha", **{key: None})
    scan = metaimage.read_scan(path)
    assert note in scan.notes[0]
    assert_at_the_same_place(scan.grid, path)
    metaimage.write_like(tmp_path / "m.mha", noise(), like=path)
    assert_at_the_same_place(scan.grid, tmp_path / "m.mha")


def test_sheared_axes_are_kept_as_they_are_and_noted(tmp_path):
    path = by_hand(tmp_path / "a.mha", TransformMatrix="1 0 0 0 1 0 0 0.15 1")
    scan = metaimage.read_scan(path)
    np.testing.assert_allclose(scan.grid.affine[:3, 2], [0, -0.45, 3])
    assert_at_the_same_place(scan.grid, path)
    assert scan.notes[0].startswith(f"its axes are {np.degrees(np.arctan(0.15)):.3g} degrees off right angles")
    metaimage.write_like(tmp_path / "m.mha", noise(), like=path)
    assert_at_the_same_place(scan.grid, tmp_path / "m.mha")


def test_a_unit_is_converted_and_noted_and_kept_in_masks(tmp_path):
    path = by_hand(tmp_path / "a.mha", DistanceUnits="um")
    scan = metaimage.read_scan(path)
    assert scan.grid.spacing == pytest.approx((0.0007, 0.0011, 0.003))
    assert "converted to mm" in scan.notes[0]
    metaimage.write_like(tmp_path / "m.mha", noise(), like=path)
    assert metaimage.read_grid(tmp_path / "m.mha").matches(scan.grid)


def test_odd_separators_are_not_passed_on_to_masks(tmp_path):
    path = by_hand(tmp_path / "a.mha", Offset="10, -20,30", ElementSpacing="0.7\f1.1   3")
    metaimage.write_like(tmp_path / "m.mha", noise(), like=path)
    assert_at_the_same_place(metaimage.read_grid(path), tmp_path / "m.mha")


def test_scale_factors_are_noted_since_simpleitk_ignores_them(tmp_path):
    path = by_hand(tmp_path / "a.mha", ElementToIntensityFunctionSlope="2")
    scan = metaimage.read_scan(path)
    assert "Slope ('2') was not applied" in scan.notes[0]
    np.testing.assert_array_equal(scan.voxels, by_simpleitk(path))


def test_one_frame_is_accepted_and_several_are_refused(tmp_path):
    four = {
        "NDims": "4",
        "TransformMatrix": "0 1 0 0 1 0 0 0 0 0 1 0 0 0 0 1",
        "Offset": "10 -20 30 0",
        "ElementSpacing": "0.7 1.1 3 1",
        "CenterOfRotation": "0 0 0 0",
    }
    path = by_hand(tmp_path / "a.mha", DimSize="5 6 7 1", **four)
    scan = metaimage.read_scan(path)
    assert scan.voxels.shape == SHAPE
    assert_at_the_same_place(scan.grid, path)
    metaimage.write_like(tmp_path / "m.mha", noise(), like=path)
    assert_at_the_same_place(scan.grid, tmp_path / "m.mha")
    with pytest.raises(InputError, match=r"a\.mha: holds 2 volumes \(5 x 6 x 7 x 2 voxels\)"):
        metaimage.read_scan(by_hand(path, DimSize="5 6 7 2", **four))


def test_bytes_before_the_voxels_are_skipped(tmp_path):
    (tmp_path / "a.dat").write_bytes(b"12345678" + noise().tobytes(order="F"))
    for size in ("8", "-1"):
        path = by_hand(tmp_path / "a.mhd", b"", HeaderSize=size, ElementDataFile="a.dat")
        np.testing.assert_array_equal(metaimage.read_scan(path).voxels, noise())
        np.testing.assert_array_equal(by_simpleitk(path), noise())


@pytest.mark.parametrize(("changes", "match"), [
    ({"BinaryData": "False"}, "written as text; save it with BinaryData = True"),
    ({"ElementDataFile": "LIST"}, "spread over several files; open it in 3D Slicer"),
    ({"ElementDataFile": "slice%03d.raw 1 7 1"}, "spread over several files"),
    ({"ElementNumberOfChannels": "3"}, "3 values a voxel"),
    ({"ElementType": "MET_STRING"}, "'MET_STRING', not numbers"),
    ({"ObjectType": "Mesh"}, "'Mesh', not an image"),
    ({"NDims": "2", "DimSize": "35 6"}, "not a volume"),
])  # fmt: skip
def test_what_is_no_single_volume_of_numbers_is_refused_with_the_reason(tmp_path, changes, match):
    path = by_hand(tmp_path / "a.mhd", **changes)
    with pytest.raises(InputError, match=rf"a\.mhd: .*{match}"):
        metaimage.read_scan(path)


def test_a_file_that_holds_more_than_its_header_announces_is_noted(tmp_path):
    longer = by_hand(tmp_path / "a.mha", noise(shape=(5, 6, 9)).tobytes(order="F"))
    assert metaimage.read_scan(longer).notes == (
        "the file holds 120 bytes (2 slices) more than its header announces; they were ignored",
    )
    packed = by_hand(
        tmp_path / "b.mha", zlib.compress(noise(shape=(5, 6, 9)).tobytes(order="F")), CompressedData="True"
    )
    assert metaimage.read_scan(packed).notes == metaimage.read_scan(longer).notes


@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_is_written_is_read_by_simpleitk_at_the_same_place(tmp_path, name, direction):
    affine = np.eye(4)
    affine[:3, :3] = DIRECTIONS[direction] * [0.7, 1.1, 3.0]
    affine[:3, 3] = 10.25, -20.5, 1 / 3
    grid = Grid(SHAPE, affine)
    metaimage.write(tmp_path / name, noise(np.float32), grid=grid, segments={"a": 1})
    assert_at_the_same_place(grid, tmp_path / name)
    np.testing.assert_array_equal(by_simpleitk(tmp_path / name), noise())
    scan = metaimage.read_scan(tmp_path / name)
    assert scan.grid.difference(grid).corner_mm < 1e-9 and scan.notes == ()
    assert scan.voxels.dtype == np.float32
    assert sorted(path.name for path in tmp_path.iterdir()) == (["a.mha"] if name == "a.mha" else ["a.mhd", "a.zraw"])


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int64, np.float64])
def test_a_mask_lies_exactly_on_its_scan(tmp_path, direction, dtype):
    like, path = tmp_path / "scan.mhd", tmp_path / "mask.mha"
    sitk.WriteImage(image(DIRECTIONS[direction], noise()), str(like))
    metaimage.write_like(path, noise(dtype), like=like, segments={"a": 1})
    ours, theirs = sitk.ReadImage(str(path)), sitk.ReadImage(str(like))
    assert (ours.GetOrigin(), ours.GetSpacing(), ours.GetDirection()) == (
        theirs.GetOrigin(),
        theirs.GetSpacing(),
        theirs.GetDirection(),
    )
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ours).T, noise(dtype))


def test_a_mask_of_another_shape_is_refused_and_nothing_is_written(tmp_path):
    like = by_hand(tmp_path / "a.mha")
    with pytest.raises(InputError, match=r"m\.mha: 7 x 6 x 5.*a\.mha.*5 x 6 x 7"):
        metaimage.write_like(tmp_path / "m.mha", noise().T, like=like)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mha"]


def test_names_and_endings():
    for name, stem in {"a.b.mha": "a.b", "x.MHD": "x"}.items():
        assert metaimage.can_read(Path(name)) and metaimage.stem(Path(name)) == stem
    assert not metaimage.can_read(Path("a.raw"))
    assert metaimage.mask_suffix(Path("x.MHD")) == ".mhd"
    assert metaimage.map_suffix(Path("x.mha")) == ".mha"
