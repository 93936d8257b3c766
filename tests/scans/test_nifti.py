"""NIfTI files against nibabel and SimpleITK, and every way in which a file can be broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from duoseg.errors import InputError
from duoseg.scans.formats import can_read, format_suffix, read_grid, read_scan, write, write_like
from duoseg.scans.formats.nifti import smallest_type
from duoseg.scans.scan import Grid

SHAPE = (5, 6, 7)
RIGID = np.array([[0.0, -1.1, 0.0, 20], [0.7, 0.0, 0.0, -5], [0.0, 0.0, 3.0, 7], [0, 0, 0, 1]])
MOVED = np.array([[0.0, -1.1, 0.0, 22], *RIGID[1:]])
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])


def load(path) -> nib.Nifti1Image:
    image = nib.load(path)
    assert isinstance(image, nib.Nifti1Image)
    return image


def save(path, voxels, *, sform=(RIGID, 1), qform=(RIGID, 1), units="mm", kind=nib.Nifti1Image, change=None):
    image = kind(voxels, None)
    image.header.set_xyzt_units(units)
    image.header.set_qform(*qform)
    image.header.set_sform(*sform)
    if change:
        change(image.header)
    image.to_filename(path)
    return path


def by_simpleitk(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T


def noise(dtype=np.int16, shape=SHAPE):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_voxels_and_grid_are_those_of_nibabel_and_simpleitk(tmp_path, name, dtype):
    path = save(tmp_path / name, noise(dtype))
    scan = read_scan(path)
    assert scan.voxels.dtype == dtype
    np.testing.assert_array_equal(scan.voxels, np.asarray(load(path).dataobj))
    np.testing.assert_allclose(scan.grid.affine, load(path).affine)
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(scan.voxels, sitk.GetArrayFromImage(image).T)
    for index in [(0, 0, 0), (4, 5, 6), (1, 2, 3)]:
        world = RAS_FROM_LPS @ image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(scan.grid.affine[:3] @ [*index, 1], world, atol=1e-4)
    assert read_grid(path).matches(scan.grid)


def test_paths_may_be_text_and_scans_show_themselves_in_one_line(tmp_path):
    path = str(save(tmp_path / "a.nii.gz", noise()))
    assert can_read(path) and not can_read("a.txt")
    axes = "".join(nib.aff2axcodes(RIGID))
    assert repr(read_grid(path)) == f"Grid(5 x 6 x 7, 0.7 x 1.1 x 3 mm, {axes})"
    assert repr(read_scan(path)) == f"Scan(a.nii.gz, int16, {read_grid(path)!r})"


@pytest.mark.parametrize("read", [read_scan, read_grid])
def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch, read):
    path = save(tmp_path / "a.nii.gz", noise())

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=r"a\.nii\.gz: there is no permission to read it"):
        read(path)


@pytest.mark.parametrize("stored", [np.uint8, np.int16, np.float32])
def test_scale_factors_are_applied(tmp_path, stored):
    def scale(header):
        header.set_data_dtype(stored)
        header.set_slope_inter(0.037, -1.5)

    path = save(tmp_path / "a.nii.gz", noise(np.float64) * 0.037 - 1.5, change=scale)
    scan = read_scan(path)
    assert scan.voxels.dtype == np.float32
    np.testing.assert_allclose(scan.voxels, load(path).get_fdata(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(scan.voxels, by_simpleitk(path), rtol=1e-5, atol=1e-5)


def test_big_endian_files_become_native_arrays(tmp_path):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nib.Nifti1Image(noise(), RIGID, header).to_filename(tmp_path / "a.nii")
    scan = read_scan(tmp_path / "a.nii")
    assert scan.voxels.dtype.isnative
    np.testing.assert_array_equal(scan.voxels, noise())


def test_nifti_2_is_read_and_its_kind_kept(tmp_path):
    path = save(tmp_path / "a.nii.gz", noise(), kind=nib.Nifti2Image)
    np.testing.assert_array_equal(read_scan(path).voxels, noise())
    write_like(tmp_path / "b.nii.gz", noise() > 50, like=path)
    assert isinstance(load(tmp_path / "b.nii.gz"), nib.Nifti2Image)


def test_the_sform_comes_before_the_qform_and_their_disagreement_is_noted(tmp_path):
    moved = RIGID.copy()
    moved[0, 3] += 4
    scan = read_scan(save(tmp_path / "a.nii", noise(), qform=(moved, 1)))
    np.testing.assert_allclose(scan.grid.affine, RIGID)
    assert "4 mm" in scan.notes[0]


def test_the_qform_is_used_where_there_is_no_sform(tmp_path):
    scan = read_scan(save(tmp_path / "a.nii", noise(), sform=(MOVED, 0)))
    np.testing.assert_allclose(scan.grid.affine, RIGID, atol=1e-5)
    assert scan.notes == ()


def test_without_forms_the_voxel_sizes_are_used_and_noted(tmp_path):
    def sizes(header):
        header["pixdim"][1:4] = 0.5, 0.6, 2.0

    scan = read_scan(save(tmp_path / "a.nii", noise(), sform=(RIGID, 0), qform=(RIGID, 0), change=sizes))
    np.testing.assert_allclose(scan.grid.affine, np.diag([0.5, 0.6, 2, 1]))
    assert "neither sform nor qform" in scan.notes[0]


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001), ("unknown", 1)])
def test_lengths_are_converted_to_mm(tmp_path, unit, factor):
    path = save(tmp_path / "a.nii", noise(), units=unit)
    assert read_grid(path).spacing == pytest.approx(np.array([0.7, 1.1, 3.0]) * factor, rel=1e-5)
    assert read_grid(path).affine[:3, 3] == pytest.approx(np.array([20, -5, 7]) * factor, rel=1e-5)
    assert sitk.ReadImage(str(path)).GetSpacing() == pytest.approx(read_grid(path).spacing, rel=1e-4)


def test_one_frame_is_accepted_and_several_are_refused_with_their_number(tmp_path):
    one = save(tmp_path / "one.nii.gz", noise(shape=(*SHAPE, 1)))
    assert read_scan(one).voxels.shape == SHAPE
    write_like(tmp_path / "mask.nii.gz", noise(), like=one)
    assert load(tmp_path / "mask.nii.gz").shape == SHAPE
    with pytest.raises(InputError, match=r"several.*holds 3 volumes \(5 x 6 x 7 x 3 voxels\)"):
        read_scan(save(tmp_path / "several.nii.gz", noise(shape=(*SHAPE, 3))))


def test_a_slice_and_colours_are_refused(tmp_path):
    with pytest.raises(InputError, match="not a volume"):
        read_scan(save(tmp_path / "slice.nii", noise(shape=(5, 6))))
    colours = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError, match="colours"):
        read_scan(save(tmp_path / "rgb.nii", colours))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_named_as_such(tmp_path, name, share):
    path = save(tmp_path / name, np.random.default_rng(0).normal(size=(20, 20, 20)))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"a\.nii.*(cut short|not a NIfTI|damaged)"):
        read_scan(path)


def test_one_missing_byte_is_noticed(tmp_path):
    path = save(tmp_path / "a.nii", noise(np.uint8))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="cut short: 562 bytes are announced, the file has 561"):
        read_scan(path)


def test_compressed_zeros_cut_short_in_the_announcement_are_noticed(tmp_path):
    path = save(tmp_path / "a.nii", noise(np.uint8))
    short = tmp_path / "b.nii.gz"
    short.write_bytes(gzip.compress(path.read_bytes()[:-3]))
    with pytest.raises(InputError, match="210 bytes of voxels are announced, 207 are there"):
        read_scan(short)


@pytest.mark.parametrize("where", [0.3, 0.6, 0.9])
def test_a_flipped_bit_in_a_compressed_file_is_noticed(tmp_path, where):
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).normal(size=(20, 20, 20)))
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_scan(path)


@pytest.mark.parametrize("content", [b"", b"no scan", bytes(2000)])
def test_another_kind_of_file_is_refused(tmp_path, content):
    path = tmp_path / "a.nii"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.nii: this is not a NIfTI file"):
        read_scan(path)


def test_a_missing_file_and_an_unknown_format_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_scan(tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"a\.jpg.*not known.*\.nii\.gz"):
        read_scan(tmp_path / "a.jpg")


def test_an_affine_without_volume_is_refused(tmp_path):
    flat = RIGID.copy()
    flat[:, 2] = 0
    with pytest.raises(InputError, match="not invertible"):
        read_scan(save(tmp_path / "a.nii", noise(), sform=(flat, 1)))


@pytest.mark.parametrize("qcode", [0, 1])
def test_a_voxel_side_of_zero_is_no_millimetre(tmp_path, qcode):
    def flat(header):
        header["pixdim"][1:4] = 0.5, 0.6, 0.0

    with pytest.raises(InputError, match="not invertible"):
        read_scan(save(tmp_path / "a.nii", noise(), sform=(RIGID, 0), qform=(RIGID, qcode), change=flat))
    scan = read_scan(save(tmp_path / "b.nii", noise(), qform=(RIGID, qcode), change=flat))  # the sform decides
    np.testing.assert_allclose(scan.grid.affine, RIGID, atol=1e-5)


def test_suffixes_are_known_as_written():
    assert format_suffix(Path("x.y.NII.gz")) == ".NII.gz"
    assert can_read(Path("x.y.NII.gz"))
    assert format_suffix(Path("x.png")) == ""


@pytest.mark.parametrize("units", ["mm", "micron"])
@pytest.mark.parametrize(("qcode", "scode"), [(1, 1), (2, 4), (1, 0), (0, 3), (0, 0)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_a_mask_keeps_affine_forms_codes_and_units_of_its_scan(tmp_path, units, qcode, scode, dtype):
    def dress(header):
        header.set_slope_inter(2.0, 5.0)
        header["cal_max"] = 50

    like = save(
        tmp_path / "a.nii.gz",
        noise(dtype),
        qform=(RIGID, qcode),
        sform=(MOVED, scode),
        units=units,
        change=dress,
    )
    mask = noise() > 50
    write_like(tmp_path / "mask.nii.gz", mask, like=like)
    written, template = load(tmp_path / "mask.nii.gz"), load(like)
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(written.get_fdata(), mask)
    np.testing.assert_array_equal(written.affine, template.affine)
    for field in (
        "qform_code",
        "sform_code",
        "xyzt_units",
        "srow_x",
        "srow_y",
        "srow_z",
        "quatern_b",
        "quatern_c",
    ):
        np.testing.assert_array_equal(written.header[field], template.header[field], err_msg=field)
    for field in ("quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
        np.testing.assert_array_equal(written.header[field], template.header[field], err_msg=field)
    np.testing.assert_array_equal(written.header["pixdim"][:4], template.header["pixdim"][:4])
    assert written.header["cal_max"] == 0
    assert read_grid(tmp_path / "mask.nii.gz").matches(read_grid(like))
    # SimpleITK's own reading puts both in one place, too.
    ours, theirs = sitk.ReadImage(str(tmp_path / "mask.nii.gz")), sitk.ReadImage(str(like))
    assert (ours.GetOrigin(), ours.GetSpacing(), ours.GetDirection()) == (
        theirs.GetOrigin(),
        theirs.GetSpacing(),
        theirs.GetDirection(),
    )


def test_probabilities_are_stored_as_float32_beside_an_integer_scan(tmp_path):
    like = save(tmp_path / "a.nii", noise(np.uint8))
    values = np.random.default_rng(0).random(SHAPE)
    write_like(tmp_path / "p.nii.gz", values, like=like)
    written = load(tmp_path / "p.nii.gz")
    assert written.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(written.dataobj), values.astype(np.float32))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, "u1"),
        (0, 255, "u1"),
        (0, 256, "u2"),
        (-1, 3, "i1"),
        (-1, 200, "i2"),
        (0, 70000, "u4"),
        (0, 2**40, "i8"),
    ],
)
def test_masks_take_the_smallest_integer_type(low, high, expected):
    assert smallest_type(np.array([low, high])) == np.dtype(expected)


def test_a_mask_of_another_shape_is_refused_and_nothing_is_written(tmp_path):
    like = save(tmp_path / "a.nii", noise())
    with pytest.raises(InputError, match=r"7 x 6 x 5.*a\.nii.*5 x 6 x 7"):
        write_like(tmp_path / "mask.nii.gz", noise().T, like=like)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]


def test_a_scan_written_on_a_grid_is_read_back_by_all(tmp_path):
    write(tmp_path / "a.nii.gz", noise(np.float32), grid=Grid(SHAPE, RIGID))
    scan = read_scan(tmp_path / "a.nii.gz")
    assert scan.grid.matches(Grid(SHAPE, RIGID))
    assert scan.notes == ()
    np.testing.assert_allclose(load(tmp_path / "a.nii.gz").affine, RIGID, atol=1e-5)
    np.testing.assert_array_equal(by_simpleitk(tmp_path / "a.nii.gz"), scan.voxels)


def zero_sform(header):
    for field in ("srow_x", "srow_y", "srow_z"):
        header[field][:3] = 0


def test_an_sform_of_zeros_gives_way_to_the_qform_as_in_simpleitk(tmp_path):
    path = save(tmp_path / "a.nii", noise(), sform=(MOVED, 1), change=zero_sform)
    scan = read_scan(path)
    np.testing.assert_allclose(scan.grid.affine, RIGID, atol=1e-5)
    image = sitk.ReadImage(str(path))
    for index in [(0, 0, 0), (4, 5, 6)]:
        world = RAS_FROM_LPS @ image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(scan.grid.affine[:3] @ [*index, 1], world, atol=1e-4)
    assert scan.notes == ("its sform is all zeros; the qform was taken",)
    write_like(tmp_path / "mask.nii", np.zeros(scan.grid.shape, np.uint8), like=path)
    mask = nib.load(tmp_path / "mask.nii")
    assert mask.header["sform_code"] == 0  # no reader must take the zeros
    np.testing.assert_allclose(mask.affine, scan.grid.affine, atol=1e-5)
    write_like(tmp_path / "m.nii.gz", noise(), like=path)
    assert read_grid(tmp_path / "m.nii.gz").matches(scan.grid)


def test_an_sform_of_zeros_without_a_qform_is_named(tmp_path):
    path = save(tmp_path / "a.nii", noise(), sform=(RIGID, 1), qform=(RIGID, 0), change=zero_sform)
    with pytest.raises(InputError, match=r"a\.nii: its sform is all zeros, and no qform is set; set a valid"):
        read_scan(path)


@pytest.mark.parametrize(("degrees", "kept"), [(0.0001, True), (0.01, False), (0.09, False)])
def test_a_qform_is_written_only_where_it_says_what_the_sform_says(tmp_path, degrees, kept):
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 1] = np.sin(np.radians(degrees)), np.cos(np.radians(degrees)), 0
    grid = Grid((3, 400, 3), affine)
    assert not grid.is_sheared
    write(tmp_path / "a.nii.gz", np.zeros(grid.shape, np.uint8), grid=grid)
    scan = read_scan(tmp_path / "a.nii.gz")
    assert scan.grid.matches(grid) and scan.notes == ()
    header = load(tmp_path / "a.nii.gz").header
    np.testing.assert_allclose(header.get_zooms(), (1, 1, 2))
    qform = header.get_qform(coded=True)[0]
    assert (qform is not None) == kept
    if qform is not None:
        assert grid.difference(Grid(grid.shape, qform)).corner_mm < 0.01
