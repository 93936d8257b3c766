"""NRRD files against SimpleITK and pynrrd, and segmentations as 3D Slicer's documentation describes them."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from duoseg.errors import InputError
from duoseg.scans.formats import nifti
from duoseg.scans.formats import nrrd as adapter
from duoseg.scans.formats.palette import colour
from duoseg.scans.scan import Grid

SHAPE = (5, 6, 7)
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])
DIRECTIONS = {
    "along": np.eye(3),
    "oblique": np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0],
    "permuted": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "flipped": np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]),
}
LPS = {"space": "left-posterior-superior", "space directions": np.diag([0.7, 1.1, 3.0]), "space origin": [10, -20, 30]}


def noise(dtype=np.int16, shape=SHAPE):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def image(direction, voxels):
    made = sitk.GetImageFromArray(voxels.T)
    made.SetSpacing((0.7, 1.1, 3.0))
    made.SetOrigin((10.0, -20.0, 30.0))
    made.SetDirection(direction.ravel().tolist())
    return made


def assert_at_the_same_place(grid, path):
    """Compare corner voxels with where SimpleITK puts them."""
    by_itk = sitk.ReadImage(str(path))
    assert by_itk.GetSize() == grid.shape
    for index in np.ndindex(2, 2, 2):
        corner = [int(end * (size - 1)) for end, size in zip(index, grid.shape, strict=True)]
        world = RAS_FROM_LPS @ by_itk.TransformIndexToPhysicalPoint(corner)
        np.testing.assert_allclose(grid.affine[:3] @ [*corner, 1], world, atol=1e-4)


def by_hand(path, lines, data):
    path.write_bytes("\n".join(["NRRD0004", *lines, "", ""]).encode() + data)
    return path


def header_lines(**changes):
    fields = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "5 6 7",
        "space directions": "(0.7,0,0) (0,1.1,0) (0,0,3)",
        "space origin": "(10,-20,30)",
        "endian": "little",
        "encoding": "raw",
    } | {name.replace("_", " "): text for name, text in changes.items()}
    return [f"{name}: {text}" for name, text in fields.items() if text is not None]


def raw(voxels):
    return voxels.tobytes(order="F")


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("packed", [True, False])
def test_files_of_simpleitk_are_read_as_it_reads_them(tmp_path, name, direction, packed):
    path = tmp_path / name
    sitk.WriteImage(image(DIRECTIONS[direction], noise()), str(path), packed)
    scan = adapter.read_scan(path)
    np.testing.assert_array_equal(scan.voxels, noise())
    assert scan.voxels.dtype == np.int16
    assert scan.notes == ()
    assert_at_the_same_place(scan.grid, path)
    assert adapter.read_grid(path).matches(scan.grid)
    assert len(adapter.source_files(path)) == (2 if name == "a.nhdr" else 1)


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr"])
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("dtype", [">i2", "<u2", "u1", "i1", ">f4", "<f8", ">i8", "<u4"])
def test_files_of_pynrrd_are_read_as_it_reads_them(tmp_path, name, encoding, dtype):
    path = tmp_path / name
    endian = {"endian": "big" if dtype[0] == ">" else "little"}
    nrrd.write(str(path), noise(dtype), {**LPS, **endian, "encoding": encoding}, detached_header=False)
    scan = adapter.read_scan(path)
    np.testing.assert_array_equal(scan.voxels, nrrd.read(str(path))[0])
    assert scan.voxels.dtype.isnative and scan.voxels.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_allclose(scan.grid.affine[:3, 3], [-10, 20, 30])


@pytest.mark.parametrize("space", ["right-anterior-superior", "RAS", "left-anterior-superior", "LPS", "las"])
def test_every_named_space_is_read_as_by_simpleitk(tmp_path, space):
    path = by_hand(tmp_path / "a.nrrd", header_lines(space=space), raw(noise()))
    scan = adapter.read_scan(path)
    assert_at_the_same_place(scan.grid, path)
    assert scan.notes == ()


@pytest.mark.parametrize("space", ["scanner-xyz", "3D-right-handed", None])
def test_a_space_that_does_not_tell_left_from_right_is_noted_and_taken_as_by_simpleitk(tmp_path, space):
    changes = {"space": space} if space else {"space": None, "space_dimension": "3"}
    lines = header_lines(**changes)
    if not space:
        lines.insert(2, lines.pop())
    path = by_hand(tmp_path / "a.nrrd", lines, raw(noise()))
    scan = adapter.read_scan(path)
    assert_at_the_same_place(scan.grid, path)
    assert "does not say where left and right are" in scan.notes[0]


def test_sheared_axes_are_kept_as_they_are_and_noted(tmp_path):
    lines = header_lines(space_directions="(1,0,0) (0,1,0) (0,0.3,2)")
    scan = adapter.read_scan(by_hand(tmp_path / "a.nrrd", lines, raw(noise())))
    np.testing.assert_allclose(scan.grid.affine[:3, 2], [0, -0.3, 2])
    (note,) = scan.notes
    assert note.startswith(f"its axes are {np.degrees(np.arctan(0.15)):.3g} degrees off right angles")


def test_spacings_alone_give_sizes_and_a_note(tmp_path):
    lines = header_lines(space=None, space_directions=None, space_origin=None, spacings="0.5 0.6 2")
    path = by_hand(tmp_path / "a.nrrd", lines, raw(noise()))
    scan = adapter.read_scan(path)
    assert_at_the_same_place(scan.grid, path)
    assert scan.grid.spacing == pytest.approx((0.5, 0.6, 2))
    assert "position and orientation are unknown" in scan.notes[0]
    sizeless = by_hand(tmp_path / "b.nrrd", [line for line in lines if "spacings" not in line], raw(noise()))
    assert "1 x 1 x 1 mm" in adapter.read_scan(sizeless).notes[1]


def test_a_missing_origin_is_noted(tmp_path):
    scan = adapter.read_scan(by_hand(tmp_path / "a.nrrd", header_lines(space_origin=None), raw(noise())))
    np.testing.assert_array_equal(scan.grid.affine[:3, 3], 0)
    assert "position is unknown" in scan.notes[0]


@pytest.mark.parametrize(
    ("unit", "factor"), [("m", 1000), ("um", 0.001), ("µm", 0.001), ("microns", 0.001), ("cm", 10)]
)
def test_units_are_converted_and_noted_and_kept_in_masks(tmp_path, unit, factor):
    lines = header_lines(space_units=f'"{unit}" "{unit}" "{unit}"')
    path = by_hand(tmp_path / "a.nrrd", lines, raw(noise()))
    scan = adapter.read_scan(path)
    assert scan.grid.spacing == pytest.approx(np.array([0.7, 1.1, 3]) * factor)
    np.testing.assert_allclose(scan.grid.affine[:3, 3], np.array([-10, 20, 30]) * factor)
    assert "converted to mm" in scan.notes[0]
    adapter.write_like(tmp_path / "m.nrrd", noise(), like=path)
    assert adapter.read_grid(tmp_path / "m.nrrd").matches(scan.grid)
    assert sitk.ReadImage(str(tmp_path / "m.nrrd")).GetSpacing() == sitk.ReadImage(str(path)).GetSpacing()


@pytest.mark.parametrize("first", [True, False])
def test_an_axis_of_one_value_is_dropped_and_of_several_refused(tmp_path, first):
    directions = "(0.7,0,0) (0,1.1,0) (0,0,3)"
    for count in (1, 3):
        changes = {
            "dimension": "4",
            "sizes": f"{count} 5 6 7" if first else f"5 6 7 {count}",
            "space_directions": f"none {directions}" if first else f"{directions} none",
            "kinds": "vector domain domain domain" if first else "domain domain domain list",
        }
        path = by_hand(tmp_path / "a.nrrd", header_lines(**changes), raw(noise()) * count)
        if count == 1:
            scan = adapter.read_scan(path)
            np.testing.assert_array_equal(scan.voxels, noise())
            assert_at_the_same_place(scan.grid, path)
            adapter.write_like(tmp_path / "m.nrrd", noise(), like=path)
            assert_at_the_same_place(scan.grid, tmp_path / "m.nrrd")
            continue
        with pytest.raises(InputError, match=r"a\.nrrd: holds 3 values a voxel"):
            adapter.read_scan(path)
        layers = by_hand(tmp_path / "b.seg.nrrd", [*header_lines(**changes), "Segment0_Layer:=0"], raw(noise()) * count)
        with pytest.raises(InputError, match=r"3 layers of overlapping segments.*; in 3D Slicer, export it as a label"):
            adapter.read_scan(layers)


def test_odd_separators_are_not_passed_on_to_masks(tmp_path):
    lines = header_lines(space_directions="(0.7\f0, 0)(0,1.1,,0) (0 0 3)", space_origin="( 10,-20 30 )")
    path = by_hand(tmp_path / "a.nrrd", lines, raw(noise()))
    adapter.write_like(tmp_path / "m.nrrd", noise(), like=path)
    _, header = nrrd.read(str(tmp_path / "m.nrrd"))
    np.testing.assert_array_equal(header["space directions"], np.diag([0.7, 1.1, 3]))
    np.testing.assert_array_equal(header["space origin"], [10, -20, 30])


def test_what_other_readers_could_not_parse_is_not_passed_on_to_masks(tmp_path):
    places = {"spacings": "0.5 0.6 2", "axis_mins": "0 x 0", "axis_maxs": "nan 1 2", "centerings": "cell what cell"}
    lines = header_lines(space=None, space_directions=None, space_origin=None, **places)
    path = by_hand(tmp_path / "a.nrrd", lines, raw(noise()))
    adapter.write_like(tmp_path / "m.nrrd", noise(), like=path)
    _, header = nrrd.read(str(tmp_path / "m.nrrd"))
    np.testing.assert_array_equal(header["spacings"], [0.5, 0.6, 2])
    np.testing.assert_array_equal(header["axis maxs"], [np.nan, 1, 2])
    assert "axis mins" not in header and "centerings" not in header


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_lines_and_bytes_are_skipped_as_by_simpleitk(tmp_path, encoding):
    before = b"one\ntwo\n"
    data = b"1234" + raw(noise())
    data = before + (gzip.compress(data) if encoding == "gzip" else data)
    path = by_hand(tmp_path / "a.nrrd", header_lines(encoding=encoding, line_skip=2, byte_skip=4), data)
    np.testing.assert_array_equal(adapter.read_scan(path).voxels, noise())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T, noise())


def test_the_last_bytes_can_be_the_voxels(tmp_path):
    (tmp_path / "a.dat").write_bytes(b"some other header" + raw(noise()))
    path = by_hand(tmp_path / "a.nhdr", header_lines(byte_skip=-1, data_file="a.dat"), b"")
    np.testing.assert_array_equal(adapter.read_scan(path).voxels, noise())


def test_names_of_fields_are_taken_in_any_case_and_comments_skipped(tmp_path):
    lines = ["# a: comment", *(line.replace("type", "Type").replace("sizes", "SIZES") for line in header_lines())]
    scan = adapter.read_scan(by_hand(tmp_path / "a.nrrd", [*lines, "My key:=with: colons"], raw(noise())))
    np.testing.assert_array_equal(scan.voxels, noise())


def test_a_file_that_holds_more_than_its_header_announces_is_noted(tmp_path):
    padded = by_hand(tmp_path / "a.nrrd", header_lines(), raw(noise()) + bytes(30))
    assert adapter.read_scan(padded).notes == ()
    longer = by_hand(tmp_path / "b.nrrd", header_lines(), raw(noise()) + bytes(120))
    assert adapter.read_scan(longer).notes == (
        "the file holds 120 bytes (2 slices) more than its header announces; they were ignored",
    )


@pytest.mark.parametrize("name", ["a.nrrd", "a.seg.nrrd", "a.nhdr"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_is_written_is_read_by_all_at_the_same_place(tmp_path, name, direction):
    affine = np.eye(4)
    affine[:3, :3] = DIRECTIONS[direction] * [0.7, 1.1, 3.0]
    affine[:3, 3] = 10.25, -20.5, 1 / 3
    grid = Grid(SHAPE, affine)
    path = tmp_path / name
    adapter.write(path, noise(np.float32), grid=grid)
    assert_at_the_same_place(grid, path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T, noise(np.float32))
    np.testing.assert_array_equal(nrrd.read(str(path))[0], noise(np.float32))
    scan = adapter.read_scan(path)
    assert scan.grid.difference(grid).corner_mm < 1e-9 and scan.notes == ()
    assert scan.voxels.dtype == np.float32
    np.testing.assert_array_equal(scan.voxels, noise())


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int64, np.float64])
def test_a_mask_lies_exactly_on_its_scan(tmp_path, direction, dtype):
    like = tmp_path / "scan.nrrd"
    sitk.WriteImage(image(DIRECTIONS[direction], noise()), str(like))
    path = tmp_path / "mask.seg.nrrd"
    adapter.write_like(path, noise(dtype), like=like, segments={"a": 1})
    ours, theirs = sitk.ReadImage(str(path)), sitk.ReadImage(str(like))
    assert (ours.GetOrigin(), ours.GetSpacing(), ours.GetDirection()) == (
        theirs.GetOrigin(),
        theirs.GetSpacing(),
        theirs.GetDirection(),
    )
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ours).T, noise(dtype))


def test_a_sheared_scan_and_its_mask_have_the_same_directions(tmp_path):
    like = by_hand(tmp_path / "a.nrrd", header_lines(space_directions="(1,0,0) (0,1,0) (0,0.3,2)"), raw(noise()))
    adapter.write_like(tmp_path / "m.seg.nrrd", noise(), like=like, segments={})
    _, header = nrrd.read(str(tmp_path / "m.seg.nrrd"))
    np.testing.assert_array_equal(header["space directions"], [[1, 0, 0], [0, 1, 0], [0, 0.3, 2]])


def test_a_segmentation_has_the_fields_by_which_slicer_knows_it(tmp_path):
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[1:3, 2, 3:7] = 1
    voxels[4, 5, 0] = 3
    segments = {"background": 0, "left atrium": 1, "Ödem": 2, "a\\b": 3}
    adapter.write(tmp_path / "m.seg.nrrd", voxels, grid=Grid(SHAPE, np.eye(4)), segments=segments)
    lines = (tmp_path / "m.seg.nrrd").read_bytes().split(b"\n\n")[0].decode().splitlines()
    fields = dict(line.split(":=") for line in lines if ":=" in line)
    assert [fields[f"Segment{index}_Name"] for index in range(3)] == ["left atrium", "Ödem", "a\\\\b"]
    assert [fields[f"Segment{index}_LabelValue"] for index in range(3)] == ["1", "2", "3"]
    assert [fields[f"Segment{index}_Extent"] for index in range(3)] == ["1 2 2 2 3 6", "0 -1 0 -1 0 -1", "4 4 5 5 0 0"]
    assert len({fields[f"Segment{index}_ID"] for index in range(3)}) == 3
    assert {fields[f"Segment{index}_Layer"] for index in range(3)} == {"0"}
    shown = [[round(float(part) * 255) for part in fields[f"Segment{index}_Color"].split()] for index in range(3)]
    assert shown == [list(colour(index)) for index in range(3)]
    assert fields["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    assert fields["Segmentation_SourceRepresentation"] == "Binary labelmap"
    assert fields["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"
    assert "Segment3_ID" not in fields
    read_back, header = nrrd.read(str(tmp_path / "m.seg.nrrd"))
    assert header["Segment0_Name"] == "left atrium"
    np.testing.assert_array_equal(read_back, voxels)


def test_colours_are_distinct_and_visible():
    colours = [colour(index) for index in range(15)]
    assert len(set(colours)) == 15
    assert all(0 <= part <= 255 for one in colours for part in one)
    assert colour(15) == colour(0)


def test_values_of_labels_are_read_as_they_are(tmp_path):
    lines = [*header_lines(type="uchar", endian=None), "Segment0_LabelValue:=7", "Segment0_Name:=a"]
    voxels = noise(np.uint8) % 2 * 7
    np.testing.assert_array_equal(
        adapter.read_scan(by_hand(tmp_path / "a.seg.nrrd", lines, raw(voxels))).voxels, voxels
    )


def test_names_and_endings():
    for name, stem in {"a.b.seg.nrrd": "a.b", "x.NRRD": "x", "y.nhdr": "y"}.items():
        assert adapter.can_read(Path(name)) and adapter.stem(Path(name)) == stem
    assert not adapter.can_read(Path("a.nii"))
    assert adapter.mask_suffix(Path("a.nhdr")) == ".seg.nrrd"
    assert adapter.map_suffix(Path("a.nhdr")) == ".nrrd"


@pytest.mark.parametrize(
    "space", ["right-posterior-superior", "LPI", "left-posterior-superior-time", "scanner", "x" * 90]
)
@pytest.mark.parametrize("placed", [True, False])
def test_a_space_that_is_not_defined_is_refused(tmp_path, space, placed):
    alone = {} if placed else {"space_directions": None, "space_origin": None, "spacings": "1 1 2"}
    path = by_hand(tmp_path / "a.nrrd", header_lines(space=space, **alone), raw(noise()))
    with pytest.raises(InputError, match=f"its space {space[:40]!r}.*; set it to left-posterior-superior"):
        adapter.read_scan(path)
    with pytest.raises(InputError, match="its space"):
        adapter.read_grid(path)


@pytest.mark.parametrize("centerings", [None, "cell cell cell", "node node node", "cell node none", "??? cell node"])
@pytest.mark.parametrize("side", ["2", "-2"])
def test_axis_minimums_place_a_scan_as_by_simpleitk(tmp_path, centerings, side):
    alone = {"space": None, "space_directions": None, "space_origin": None}
    lines = header_lines(**alone, spacings=f"0.5 0.6 {side}", axis_mins="10 -20 30", centerings=centerings)
    path = by_hand(tmp_path / "a.nrrd", lines, raw(noise()))
    scan = adapter.read_scan(path)
    assert_at_the_same_place(scan.grid, path)
    assert scan.notes == ("it has no space directions: its orientation is unknown, its place is that of its axis mins",)
    adapter.write_like(tmp_path / "m.nrrd", noise(), like=path)
    assert adapter.read_grid(tmp_path / "m.nrrd").matches(scan.grid)
    nifti.write(tmp_path / "m.nii.gz", noise(), grid=scan.grid)
    assert_at_the_same_place(scan.grid, tmp_path / "m.nii.gz")


@pytest.mark.parametrize("minimums", ["10 nan 30", "10 x 30", "10 20"])
def test_axis_minimums_that_are_none_are_left_aside(tmp_path, minimums):
    alone = {"space": None, "space_directions": None, "space_origin": None}
    lines = header_lines(**alone, spacings="0.5 0.6 2", axis_mins=minimums)
    scan = adapter.read_scan(by_hand(tmp_path / "a.nrrd", lines, raw(noise())))
    np.testing.assert_array_equal(scan.grid.affine[:3, 3], 0)
    assert "position and orientation are unknown" in scan.notes[0]


def test_segments_have_the_names_that_slicer_gave_them(tmp_path):
    keys = {"Segment0_Name": "spleen", "Segment0_LabelValue": "1", "Segment2_LabelValue": "4"}
    keys |= {"Segment10_Name": "li\\\\ver", "Segment10_LabelValue": "2", "Segment1_Name": "spleen"}
    keys |= {"Segment1_LabelValue": "7", "Segment3_Name": "odd"}
    keys |= {"Segment3_LabelValue": "x", "Segment4_LabelValue": "5"}
    lines = [*header_lines(), *(f"{key}:={value}" for key, value in keys.items())]
    scan = adapter.read_scan(by_hand(tmp_path / "a.seg.nrrd", lines, raw(noise())))
    assert scan.segments == {"spleen": 1, "spleen (7)": 7, "li\\ver": 2}
    assert scan.segments == adapter.read_scan(tmp_path / "a.seg.nrrd").segments
    path = tmp_path / "b.seg.nrrd"
    adapter.write(path, noise(np.uint8) % 3, grid=scan.grid, segments={"background": 0, "a\\b": 1, "Ödem": 2})
    assert adapter.read_scan(path).segments == {"a\\b": 1, "Ödem": 2}


def test_classes_of_large_values_take_no_memory(tmp_path):
    voxels = np.zeros(SHAPE, np.int32)
    voxels[1:3, 2, 3:7], voxels[4, 5, 0] = 1, 2**31 - 1
    segments = {"a": 2**31 - 1, "b": 1, "c": 100_000_000}
    tracemalloc.start()
    adapter.write(tmp_path / "m.seg.nrrd", voxels, grid=Grid(SHAPE, np.eye(4)), segments=segments)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()
    _, header = nrrd.read(str(tmp_path / "m.seg.nrrd"))
    assert [header[f"Segment{index}_Extent"] for index in range(3)] == ["4 4 5 5 0 0", "1 2 2 2 3 6", "0 -1 0 -1 0 -1"]
