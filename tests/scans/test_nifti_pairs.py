"""NIfTI in two files, ``.hdr`` and ``.img``, against nibabel and SimpleITK; and the geometry notes of all NIfTI."""

from __future__ import annotations

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from duoseg.errors import InputError
from duoseg.scans.formats import nifti
from duoseg.scans.scan import Grid

SHAPE = (5, 6, 7)
RIGID = np.array([[0.0, -1.1, 0.0, 20], [0.7, 0.0, 0.0, -5], [0.0, 0.0, 3.0, 7], [0, 0, 0, 1]])


def noise(dtype=np.int16, shape=SHAPE):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def save_pair(path, voxels, kind=nib.Nifti1Pair, affine=RIGID):
    image = kind(voxels, affine)
    image.header.set_xyzt_units("mm")
    image.to_filename(path)
    return path


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("given", [".hdr", ".img"])
def test_either_file_of_a_pair_can_be_given(tmp_path, kind, ending, given):
    save_pair(tmp_path / f"a.img{ending}", noise(), kind)
    path = tmp_path / f"a{given}{ending}"
    scan = nifti.read_scan(path)
    np.testing.assert_array_equal(scan.voxels, noise())
    np.testing.assert_allclose(scan.grid.affine, nib.load(path).affine)
    assert scan.notes == ()
    assert nifti.read_grid(path).matches(scan.grid)
    assert nifti.source_files(path) == [tmp_path / f"a.hdr{ending}", tmp_path / f"a.img{ending}"]
    assert nifti.stem(path) == "a" and nifti.exists(path)
    assert nifti.mask_suffix(path) == nifti.map_suffix(path) == f".hdr{ending}"


def test_a_pair_in_a_folder_is_one_scan(tmp_path):
    save_pair(tmp_path / "a.img", noise())
    assert [path.name for path in sorted(tmp_path.iterdir()) if nifti.can_read(path)] == ["a.hdr"]
    (tmp_path / "a.hdr").unlink()
    assert nifti.can_read(tmp_path / "a.img")  # so that it is not left out without a word
    with pytest.raises(InputError, match=r"a\.img: the file a\.hdr with its header is missing"):
        nifti.read_scan(tmp_path / "a.img")


def test_a_missing_file_of_voxels_is_named(tmp_path):
    save_pair(tmp_path / "a.img", noise())
    (tmp_path / "a.img").unlink()
    for read in (nifti.read_scan, nifti.source_files):
        with pytest.raises(InputError, match=r"a\.hdr: the file a\.img with its voxels is missing"):
            read(tmp_path / "a.hdr")


def test_one_file_of_a_pair_may_be_compressed_and_names_may_be_in_capitals(tmp_path):
    save_pair(tmp_path / "a.img", noise())
    (tmp_path / "A.HDR").write_bytes((tmp_path / "a.hdr").read_bytes())
    (tmp_path / "A.IMG.GZ").write_bytes(gzip.compress((tmp_path / "a.img").read_bytes()))
    np.testing.assert_array_equal(nifti.read_scan(tmp_path / "A.HDR").voxels, noise())


def test_voxels_that_look_compressed_are_taken_as_they_are(tmp_path):
    voxels = noise(np.uint16)
    voxels[:2, 0, 0] = 0x8B1F, 8  # with these bytes begins a gzip file
    save_pair(tmp_path / "a.img", voxels)
    np.testing.assert_array_equal(nifti.read_scan(tmp_path / "a.hdr").voxels, voxels)


def test_big_endian_and_scaled_pairs_are_read(tmp_path):
    header = nib.nifti1.Nifti1PairHeader(endianness=">")
    header.set_data_dtype(">i2")
    nib.Nifti1Pair(noise(np.float64) * 0.5 - 3, RIGID, header).to_filename(tmp_path / "a.img")
    scan = nifti.read_scan(tmp_path / "a.hdr")
    assert scan.voxels.dtype == np.float32
    np.testing.assert_allclose(scan.voxels, noise() * 0.5 - 3, atol=1e-2)


@pytest.mark.parametrize("like", ["a.img", "a.img.gz", "a.nii"])
@pytest.mark.parametrize("name", ["m.hdr", "m.img", "m.hdr.gz", "m.nii.gz"])
def test_a_mask_lies_exactly_on_its_scan(tmp_path, like, name):
    if like == "a.nii":
        nib.Nifti1Image(noise(), RIGID).to_filename(tmp_path / like)
    else:
        save_pair(tmp_path / like, noise())
    mask = noise() > 50
    nifti.write_like(tmp_path / name, mask, like=tmp_path / like, segments={"a": 1})
    written = nib.load(tmp_path / name)
    np.testing.assert_array_equal(written.affine, nib.load(tmp_path / like).affine)
    np.testing.assert_array_equal(np.asarray(written.dataobj), mask)
    assert nifti.read_scan(tmp_path / name).notes == ()
    ours, theirs = sitk.ReadImage(str(tmp_path / name)), sitk.ReadImage(str(tmp_path / like))
    assert (ours.GetOrigin(), ours.GetDirection()) == (theirs.GetOrigin(), theirs.GetDirection())
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_nifti_2_stays_so_in_a_pair_and_a_grid_can_be_written(tmp_path):
    save_pair(tmp_path / "a.img", noise(), nib.Nifti2Pair)
    nifti.write_like(tmp_path / "m.hdr", noise(), like=tmp_path / "a.hdr")
    assert isinstance(nib.load(tmp_path / "m.hdr"), nib.Nifti2Pair)
    nifti.write(tmp_path / "n.hdr", noise(), grid=Grid(SHAPE, RIGID))
    np.testing.assert_allclose(nib.load(tmp_path / "n.hdr").affine, RIGID, atol=1e-6)


def test_analyze_is_refused_because_it_has_no_orientation(tmp_path):
    nib.AnalyzeImage(noise(), np.diag([0.7, 1.1, 3, 1])).to_filename(tmp_path / "a.img")
    with pytest.raises(
        InputError, match=r"a\.hdr: .*ANALYZE 7\.5, which does not say where left and right are; convert"
    ):
        nifti.read_scan(tmp_path / "a.hdr")


def test_a_header_that_contradicts_the_name_is_refused_with_the_right_name(tmp_path):
    save_pair(tmp_path / "a.img", noise())
    (tmp_path / "b.nii").write_bytes((tmp_path / "a.hdr").read_bytes() + (tmp_path / "a.img").read_bytes())
    with pytest.raises(InputError, match=r"b\.nii: .*voxels lie in another file; rename it to b\.hdr"):
        nifti.read_scan(tmp_path / "b.nii")
    nib.Nifti1Image(noise(), RIGID).to_filename(tmp_path / "c.nii")
    (tmp_path / "a.hdr").write_bytes((tmp_path / "c.nii").read_bytes())
    with pytest.raises(InputError, match=r"a\.hdr: .*voxels lie in the same file; rename it to a\.nii"):
        nifti.read_scan(tmp_path / "a.hdr")


@pytest.mark.parametrize(("shift", "noted"), [(0.05, False), (0.2, True)])
def test_forms_that_differ_by_more_than_a_tenth_of_a_mm_are_noted(tmp_path, shift, noted):
    image = nib.Nifti1Image(noise(), RIGID * [[5], [5], [5], [1]])  # voxels of 15 mm: the rule is in mm
    moved = image.affine.copy()
    moved[0, 3] += shift
    image.header.set_qform(moved, 1)
    image.header.set_sform(image.affine, 1)
    image.to_filename(tmp_path / "a.nii")
    notes = nifti.read_scan(tmp_path / "a.nii").notes
    assert notes == (("sform and qform disagree by up to 0.2 mm; the sform was taken",) if noted else ())


@pytest.mark.parametrize(("degrees", "noted"), [(0.05, False), (0.5, True), (20, True)])
def test_sheared_axes_are_noted_and_kept(tmp_path, degrees, noted):
    affine = np.diag([1.0, 1, 2, 1])
    affine[1, 2] = 2 * np.tan(np.radians(degrees))
    image = nib.Nifti1Image(noise(), None)
    image.header.set_sform(affine, 1)
    image.to_filename(tmp_path / "a.nii")
    scan = nifti.read_scan(tmp_path / "a.nii")
    np.testing.assert_allclose(scan.grid.affine, affine, rtol=1e-6)
    assert len(scan.notes) == noted
    if noted:
        assert scan.notes[0] == (
            f"its axes are {degrees:.3g} degrees off right angles, as after a tilted gantry; "
            "it is resampled on its true affine"
        )
        nifti.write(tmp_path / "b.nii", noise(), grid=scan.grid)
        written = nifti.read_scan(tmp_path / "b.nii")
        assert written.grid.matches(scan.grid) and written.notes == scan.notes


def test_a_qform_that_contradicts_itself_does_not_hide_a_good_sform(tmp_path):
    path = tmp_path / "a.nii"
    nib.Nifti1Image(noise(), RIGID).to_filename(path)
    content = bytearray(path.read_bytes())
    content[252] = 1  # the code of the qform
    content[256:260] = struct.pack("<f", 3)  # a sine
    path.write_bytes(content)
    scan = nifti.read_scan(path)
    np.testing.assert_allclose(scan.grid.affine, RIGID, rtol=1e-6)
    assert scan.notes == ("its qform contradicts itself; the sform was taken",)
    content[254] = 0
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.nii: the file is damaged"):
        nifti.read_scan(path)


def test_a_form_code_that_nifti_does_not_define_is_refused(tmp_path):
    path = tmp_path / "a.nii"
    nib.Nifti1Image(noise(), RIGID).to_filename(path)
    content = bytearray(path.read_bytes())
    content[254] = 77
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.nii: its sform_code is 77, which NIfTI does not define"):
        nifti.read_scan(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_keep_their_size(tmp_path, dtype):
    nib.Nifti1Image(noise(dtype), RIGID).to_filename(tmp_path / "a.nii")
    scan = nifti.read_scan(tmp_path / "a.nii")
    np.testing.assert_array_equal(scan.voxels, noise())
    assert scan.voxels.dtype == dtype


def test_long_floats_are_read_or_refused_by_name(tmp_path):
    path = tmp_path / "a.nii"
    nib.Nifti1Image(noise(np.complex128), RIGID).to_filename(path)
    content = bytearray(path.read_bytes())
    content[70:72] = struct.pack("<h", 1536)
    path.write_bytes(content)
    if nib.Nifti1Header(bytes(content[:348]), check=False).get_data_dtype().kind == "f":
        assert nifti.read_scan(path).voxels.dtype == np.float64
        return
    with pytest.raises(InputError, match=r"a\.nii: its voxels are of the type float128"):
        nifti.read_scan(path)


def test_complex_voxels_are_refused(tmp_path):
    nib.Nifti1Image(noise(np.complex64), RIGID).to_filename(tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"a\.nii: its voxels are colours or complex numbers"):
        nifti.read_scan(tmp_path / "a.nii")


def test_a_file_that_holds_more_than_its_header_announces_is_noted(tmp_path):
    nib.Nifti1Image(noise(), RIGID).to_filename(tmp_path / "a.nii")
    with (tmp_path / "a.nii").open("ab") as file:
        file.write(bytes(59))
    assert nifti.read_scan(tmp_path / "a.nii").notes == ()
    with (tmp_path / "a.nii").open("ab") as file:
        file.write(bytes(61))
    (note,) = nifti.read_scan(tmp_path / "a.nii").notes
    assert note == "the file holds 120 bytes (2 slices) more than its header announces; they were ignored"
