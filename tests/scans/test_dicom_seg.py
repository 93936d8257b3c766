"""DICOM segmentations: written for other readers to overlay, read back by highdicom, and read from other writers."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pytest
from dicom_cases import LPS, SHAPE, affine_of, at, edit, enhanced, noise, series, setting, without
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom import dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import RLELossless, generate_uid

from duoseg.errors import InputError
from duoseg.scans.formats import dicom
from duoseg.scans.formats.palette import colour
from duoseg.scans.scan import Grid, reordered
from duoseg.version import __version__

CLASSES = {"background": 0, "liver": 1, "blob": 3}


def mask(shape=SHAPE) -> np.ndarray:
    voxels = np.zeros(shape, np.int8)
    voxels[3:8, 2:6, 1:4] = 1
    voxels[9:12, 2:6, 3:6] = 3
    return voxels


def written(tmp_path, source, voxels=None, segments=CLASSES) -> Path:
    path = tmp_path / "out" / "mask.dcm"
    dicom.write_like(path, mask() if voxels is None else voxels, like=source, segments=segments)
    return path


def by_highdicom(path) -> tuple[np.ndarray, np.ndarray]:
    """Segment numbers and RAS affine, in the axis order of `highdicom` brought to (X, Y, Z)."""
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    volume = volume.permute_spatial_axes([2, 1, 0])
    return volume.array, LPS @ volume.affine


def numbered() -> np.ndarray:
    """The mask with the numbers of its segments."""
    return np.where(mask() == 3, 2, mask())


def canonical(voxels: np.ndarray, grid: Grid) -> np.ndarray:
    """The voxels in RAS order; a highdicom volume may run against the slices of its source."""
    return reordered(voxels, grid.canonical())


def same_points(grid: Grid, affine: np.ndarray, shape: tuple[int, ...]) -> float:
    """The greatest distance in mm between corners of two grids that may be stored in other directions."""
    x, y, z = shape
    ours = grid.reordered(grid.canonical()).corners()
    other = Grid((x, y, z), affine)
    return float(np.abs(ours - other.reordered(other.canonical()).corners()).max())


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("angles", [(0, 0, 180), (0, 0, 0), (90, 0, 90), (10, 20, -30)])
def test_highdicom_reads_it_on_the_grid_of_the_source(tmp_path, modality, angles):
    source = series(tmp_path / "s", affine=affine_of(*angles), modality=modality)
    path = written(tmp_path, source)
    voxels, affine = by_highdicom(path)
    grid = dicom.read_grid(source)
    assert same_points(grid, affine, voxels.shape) < 1e-3
    np.testing.assert_array_equal(canonical(voxels, Grid(SHAPE, affine)), canonical(numbered(), grid))


def test_it_comes_back_with_the_values_of_its_classes_whatever_the_numbers_of_its_segments(tmp_path):
    source = series(tmp_path / "s")
    scan = dicom.read_scan(written(tmp_path, source))
    assert scan.voxels.dtype == np.uint8 and scan.notes == ()
    np.testing.assert_array_equal(scan.voxels, mask())
    assert dicom.read_grid(source).matches(scan.grid)
    assert dicom.read_grid(tmp_path / "out" / "mask.dcm").matches(scan.grid)


@pytest.mark.parametrize("tilt", [0, 20])
def test_tilted_and_shuffled_series_are_covered_slice_by_slice(tmp_path, tilt):
    affine = affine_of()
    affine[:3, 2] += np.tan(np.radians(tilt)) * 2.5 / 0.8 * affine[:3, 1]
    source = series(tmp_path / "s", affine=affine)
    for index, file in enumerate(sorted(source.iterdir())):
        file.rename(source / f"IM{(index * 3) % 8}")
    path = written(tmp_path, source)
    scan = dicom.read_scan(path)
    np.testing.assert_array_equal(scan.voxels, mask())
    np.testing.assert_allclose(scan.grid.affine, affine, atol=1e-6)
    places = {str(d.SOPInstanceUID): d.ImagePositionPatient for d in map(dcmread, source.iterdir())}
    for frame in dcmread(path).PerFrameFunctionalGroupsSequence:
        uid = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        np.testing.assert_allclose(
            np.array(frame.PlanePositionSequence[0].ImagePositionPatient), np.array(places[uid]), atol=1e-6
        )


@pytest.mark.parametrize("order", [range(8), [3, 0, 7, 1, 2, 6, 5, 4]])
def test_an_enhanced_source_is_covered_too(tmp_path, order):
    source = enhanced(tmp_path / "e.dcm", order=list(order))
    path = written(tmp_path, source)
    scan = dicom.read_scan(path)
    np.testing.assert_array_equal(scan.voxels, mask())
    assert dicom.read_grid(source).matches(scan.grid)
    voxels, affine = by_highdicom(path)
    assert same_points(scan.grid, affine, voxels.shape) < 1e-3
    for frame in dcmread(path).PerFrameFunctionalGroupsSequence:
        number = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        theirs = dcmread(source).PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSequence[0]
        mine = frame.PlanePositionSequence[0]
        np.testing.assert_allclose(
            np.array(mine.ImagePositionPatient), np.array(theirs.ImagePositionPatient), atol=1e-6
        )


def test_each_slice_of_each_class_is_there_and_refers_to_its_image(tmp_path):
    source = series(tmp_path / "s")
    dataset = dcmread(written(tmp_path, source))
    assert dataset.NumberOfFrames == 16 and dataset.SegmentationType == "BINARY"
    images = {dcmread(file).SOPInstanceUID for file in source.iterdir()}
    assert {
        i.ReferencedSOPInstanceUID for i in dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    } == images
    first = dcmread(source / "0001.dcm")
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        assert dataset[keyword].value == first[keyword].value
    assert dataset.SeriesInstanceUID != first.SeriesInstanceUID
    assert dataset.SeriesDescription == "Segmentation by duoseg"


def test_names_colours_and_codes_are_for_people_and_programs(tmp_path):
    segments = dcmread(written(tmp_path, series(tmp_path / "s"))).SegmentSequence
    assert [segment.SegmentLabel for segment in segments] == ["liver", "blob"]
    assert [segment.SegmentNumber for segment in segments] == [1, 2]
    assert [s.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for s in segments] == ["Liver", "Tissue"]
    assert segments[0].SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Anatomical Structure"
    for number, segment in enumerate(segments):
        found = CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue).to_rgb()
        np.testing.assert_allclose(found, colour(number), atol=1)
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("duoseg", __version__)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("Left_Atrium", "Left atrium"),
        ("tumour", "Neoplasm"),
        ("a" * 80, "Tissue"),
        ("Gefäß 左心房", "Tissue"),
    ],
)
def test_any_class_name_has_a_valid_code(tmp_path, name, meaning):
    path = written(tmp_path, series(tmp_path / "s"), (mask() > 0).astype(np.uint8), {name: 1})
    segment = dcmread(path).SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == meaning
    assert segment.SegmentLabel == name[:64]


def test_backslashes_and_names_of_patients_in_other_scripts_survive(tmp_path):
    def named(dataset, _):
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.PatientName = "Müller^Jörg"

    path = written(tmp_path, series(tmp_path / "s", named), segments={"a\\b": 1, "c": 3})
    dataset = dcmread(path)
    assert str(dataset.PatientName) == "Müller^Jörg"
    assert [segment.SegmentLabel for segment in dataset.SegmentSequence] == ["a/b", "c"]


def test_the_same_mask_has_the_same_identifiers_and_another_one_others(tmp_path):
    source = series(tmp_path / "s")
    first = dcmread(written(tmp_path, source))
    second = dcmread(written(tmp_path, source))
    other = dcmread(written(tmp_path, source, np.flip(mask(), 0)))
    keywords = ("SOPInstanceUID", "SeriesInstanceUID")
    assert all(first[keyword].value == second[keyword].value != other[keyword].value for keyword in keywords)
    of_writing = {"InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime"}
    of_writing.add("ContributingEquipmentSequence")
    assert {element.keyword for element in first if element != second[element.tag]} <= of_writing


def test_an_empty_mask_covers_the_grid_as_well(tmp_path):
    source = series(tmp_path / "s")
    scan = dicom.read_scan(written(tmp_path, source, np.zeros(SHAPE, np.uint8)))
    assert not scan.voxels.any() and dicom.read_grid(source).matches(scan.grid)


def test_slices_a_few_microns_apart_are_slices(tmp_path):
    source = series(tmp_path / "s", affine=np.diag([0.008, 0.008, 0.008, 1.0]))
    assert dicom.read_scan(source).grid.shape == SHAPE
    scan = dicom.read_scan(written(tmp_path, source))
    assert dicom.read_grid(source).matches(scan.grid) and (scan.voxels > 0).sum() == (mask() > 0).sum()


def test_a_single_slice_can_be_segmented(tmp_path):
    source = series(tmp_path / "s", voxels=noise((16, 12, 1)))
    voxels = mask((16, 12, 8))[:, :, 3:4]
    scan = dicom.read_scan(written(tmp_path, source, voxels))
    np.testing.assert_array_equal(scan.voxels, voxels)
    assert dicom.read_grid(source).matches(scan.grid)


def test_what_anonymisers_remove_is_not_needed(tmp_path):
    dropped = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate")
    source = series(tmp_path / "s", without(*dropped, "StudyTime", "ReferringPhysicianName"))
    assert dcmread(written(tmp_path, source)).PatientID == ""
    source = series(tmp_path / "t", without("FrameOfReferenceUID"))
    with pytest.raises(InputError, match=r"0001.dcm has no FrameOfReferenceUID.*; choose --format nii.gz"):
        written(tmp_path, source)


def test_masks_that_do_not_fit_are_refused(tmp_path):
    source = series(tmp_path / "s")
    path = tmp_path / "m.dcm"
    with pytest.raises(InputError, match=r"16 x 12 x 7 voxels do not fit"):
        dicom.write_like(path, mask()[:, :, :7], like=source, segments=CLASSES)
    with pytest.raises(InputError, match="without a name: 3"):
        dicom.write_like(path, mask(), like=source, segments={"liver": 1})
    with pytest.raises(InputError, match="named classes"):
        dicom.write_like(path, mask(), like=source)
    with pytest.raises(InputError, match=r"--format nii\.gz"):
        dicom.write(path, mask(), grid=dicom.read_grid(source), segments=CLASSES)
    with pytest.raises(InputError, match="is a segmentation itself"):
        dicom.write_like(path, mask(), like=written(tmp_path, source), segments=CLASSES)
    assert not path.exists()


def other_writer(path, source, array, kind=SegmentationTypeValues.BINARY, omit=False, **options) -> Path:
    """A SEG as highdicom writes it for anybody."""
    images = [dcmread(file) for file in sorted(source.glob("*.dcm"))]
    count = array.shape[3] if array.ndim == 4 else max(int(array.max()), 1)
    segmentation = Segmentation(
        images,
        array,
        kind,
        [
            SegmentDescription(n + 1, f"organ {n + 1}", codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL")
            for n in range(count)
        ],
        generate_uid(),
        1,
        generate_uid(),
        1,
        "a",
        "b",
        "1",
        "2",
        omit_empty_frames=omit,
        **options,
    )
    segmentation.save_as(path)
    return path


def labels() -> np.ndarray:
    """(slices, rows, columns), as highdicom wants them."""
    return numbered().astype(np.uint8).transpose(2, 1, 0)


@pytest.mark.parametrize("options", [{}, {"transfer_syntax_uid": RLELossless}])
def test_label_maps_of_others_are_read(tmp_path, options):
    source = series(tmp_path / "s")
    path = other_writer(tmp_path / "m.dcm", source, labels(), SegmentationTypeValues.LABELMAP, **options)
    scan = dicom.read_scan(path)
    np.testing.assert_array_equal(scan.voxels, labels().transpose(2, 1, 0))
    assert dicom.read_grid(source).matches(scan.grid)


def test_slices_that_others_leave_out_are_empty(tmp_path):
    source = series(tmp_path / "s")
    array = labels()
    array[3] = 0
    scan = dicom.read_scan(other_writer(tmp_path / "m.dcm", source, array, omit=True))
    np.testing.assert_array_equal(scan.voxels, array[1:6].transpose(2, 1, 0))
    expected = affine_of()
    expected[:3, 3] += expected[:3, 2]
    np.testing.assert_allclose(scan.grid.affine, expected, atol=1e-6)


def test_overlapping_and_fractional_segments_are_refused(tmp_path):
    source = series(tmp_path / "s")
    array = np.stack([labels() > 0, labels() > 1], axis=3).astype(np.uint8)
    with pytest.raises(InputError, match=r"segments 1 \(organ 1\) and 2 \(organ 2\) overlap in 36 voxels"):
        dicom.read_scan(other_writer(tmp_path / "m.dcm", source, array))
    shares = (labels() > 0).astype(np.float32) / 2
    with pytest.raises(InputError, match=r"shares of segments in each voxel \(FRACTIONAL\)"):
        dicom.read_scan(other_writer(tmp_path / "m.dcm", source, shares, SegmentationTypeValues.FRACTIONAL))


def test_a_segmentation_beside_its_images_does_not_disturb_and_can_be_chosen(tmp_path):
    source = series(tmp_path / "s")
    uid = dcmread(written(tmp_path, source)).SeriesInstanceUID
    (tmp_path / "out" / "mask.dcm").rename(source / "mask.dcm")
    np.testing.assert_array_equal(dicom.read_scan(source).voxels, noise())
    scan = dicom.read_scan(Path(f"{source}#{uid}"))
    np.testing.assert_array_equal(scan.voxels, mask())
    alone = dicom.read_scan(written(tmp_path, source).parent)
    np.testing.assert_array_equal(alone.voxels, scan.voxels)


def test_damaged_segmentations_are_refused(tmp_path):
    path = written(tmp_path, series(tmp_path / "s"))
    content = path.read_bytes()
    for share in (0.3, 0.9, 0.999):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(InputError, match=r"^[^\n]*mask\.dcm: [^\n]*$"):
            dicom.read_scan(path)
    path.write_bytes(content)
    edit(path.parent, lambda d, _: setattr(d.PerFrameFunctionalGroupsSequence[3], "SegmentIdentificationSequence", []))
    with pytest.raises(InputError, match="frame 4 is of segment 0"):
        dicom.read_scan(path)


def test_an_odd_source_gives_one_line(tmp_path):
    source = series(tmp_path / "s", at(4, setting(StudyInstanceUID="1.2.3")))
    with pytest.raises(InputError, match=r"^[^\n]*$"):
        written(tmp_path, source)


def test_empty_slices_that_others_leave_out_of_label_maps_are_empty(tmp_path):
    source = series(tmp_path / "s")
    array = labels()
    array[3] = 0
    path = other_writer(tmp_path / "m.dcm", source, array, SegmentationTypeValues.LABELMAP, omit=True)
    assert dcmread(path).NumberOfFrames == 4
    scan = dicom.read_scan(path)
    np.testing.assert_array_equal(scan.voxels, array[1:6].transpose(2, 1, 0))
    expected = affine_of()
    expected[:3, 3] += expected[:3, 2]
    np.testing.assert_allclose(scan.grid.affine, expected, atol=1e-6)
    assert dicom.read_grid(path).matches(scan.grid)


def test_two_slices_of_a_label_map_in_one_place_are_refused(tmp_path):
    source = series(tmp_path / "s")
    path = other_writer(tmp_path / "m.dcm", source, labels(), SegmentationTypeValues.LABELMAP)
    dataset = dcmread(path)
    frames = dataset.PerFrameFunctionalGroupsSequence
    position = frames[3].PlanePositionSequence[0].ImagePositionPatient
    frames[4].PlanePositionSequence[0].ImagePositionPatient = position
    dataset.save_as(path)
    with pytest.raises(InputError, match="2 of its slices are at the same position"):
        dicom.read_scan(path)


@pytest.mark.parametrize("value", [1_000_000_000, 2**31 - 1])
def test_large_values_of_classes_come_back(tmp_path, value):
    voxels = mask().astype(np.int32)
    voxels[voxels == 3] = value
    scan = dicom.read_scan(written(tmp_path, series(tmp_path / "s"), voxels, {"liver": 1, "blob": value}))
    np.testing.assert_array_equal(scan.voxels, voxels)
    assert scan.segments == {"liver": 1, "blob": value}


def test_segments_are_named_as_by_their_writer(tmp_path):
    source = series(tmp_path / "s")
    assert dicom.read_scan(written(tmp_path, source)).segments == {"liver": 1, "blob": 3}
    for number, kind in enumerate((SegmentationTypeValues.BINARY, SegmentationTypeValues.LABELMAP)):
        path = other_writer(tmp_path / f"{number}.dcm", source, labels(), kind)
        assert dicom.read_scan(path).segments == {"organ 1": 1, "organ 2": 2}
    assert dicom.read_scan(source).segments == {}


def test_elements_in_a_wrong_form_are_left_empty_in_the_mask(tmp_path):
    odd = {"PatientBirthDate": "1970", "PatientSex": "weird", "StudyTime": "bad"}
    source = series(tmp_path / "s")
    edit(source, lambda dataset, _: [dataset.__setitem__(k, raw(dataset, k, v)) for k, v in odd.items()])
    dataset = dcmread(written(tmp_path, source))
    assert [dataset[keyword].value for keyword in odd] == ["", "", ""] or not any(dataset[k].value for k in odd)
    np.testing.assert_array_equal(dicom.read_scan(tmp_path / "out" / "mask.dcm").voxels, mask())


def raw(dataset, keyword, value):
    """An element as bytes of a file have it, whatever its form."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    tag = Tag(tag_for_keyword(keyword))
    return RawDataElement(tag, dictionary_VR(tag), len(value), value.encode(), 0, False, True)


def test_a_series_that_no_segmentation_can_be_made_of_is_not_called_damaged(tmp_path):
    source = series(tmp_path / "s", at(4, setting(StudyInstanceUID="1.2.3")))
    with pytest.raises(InputError, match=r"no DICOM SEG can be made of .*; choose --format nii\.gz") as caught:
        written(tmp_path, source)
    assert "damaged" not in str(caught.value)
    several = tmp_path / "several"
    several.mkdir()
    for index in range(4):
        affine = affine_of()
        affine[:3, 3] += index * affine[:3, 2]
        enhanced(several / f"{index}.dcm", noise((*SHAPE[:2], 1)), affine)
    edit(several, setting(SeriesInstanceUID="1.2.3"))
    with pytest.raises(InputError, match=r"volume in 4 multi-frame files"):
        written(tmp_path, several, mask()[:, :, :4])


def test_a_single_slice_keeps_its_thickness_for_every_reader(tmp_path):
    source = series(tmp_path / "s", voxels=noise((16, 12, 1)), affine=affine_of(spacing=(0.8, 0.8, 5.0)))
    path = written(tmp_path, source, mask()[:, :, 3:4])
    assert dicom.read_grid(source).spacing == pytest.approx((0.8, 0.8, 5.0))
    assert dicom.read_grid(path).matches(dicom.read_grid(source))
    assert by_highdicom(path)[0].shape == (16, 12, 1)
    assert np.linalg.norm(by_highdicom(path)[1][:3, 2]) == pytest.approx(5.0)


@pytest.mark.parametrize("slices", [(0, 2, 5), (1, 4, 6)])
def test_gaps_of_several_slices_are_whole_steps_where_no_spacing_is_told(tmp_path, slices):
    """As of a tilted gantry, where other programs leave empty slices out and tell no spacing."""
    affine = affine_of()
    affine[:3, 2] += np.tan(np.radians(20)) * 2.5 / 0.8 * affine[:3, 1]
    source = series(tmp_path / "s", affine=affine)
    array = np.zeros_like(labels())
    array[list(slices), 2:6, 3:8] = 1
    path = other_writer(tmp_path / "m.dcm", source, array, omit=True)
    assert "SpacingBetweenSlices" not in dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    scan = dicom.read_scan(path)
    np.testing.assert_array_equal(scan.voxels, array[slices[0] : slices[-1] + 1].transpose(2, 1, 0))
    image = dicom.read_scan(source)
    placed = scan.onto(image.grid)
    assert placed is not None
    np.testing.assert_array_equal(placed.voxels, array.transpose(2, 1, 0))


def test_a_palette_only_paints_the_numbers_of_a_label_map(tmp_path):
    source = series(tmp_path / "s")
    path = other_writer(tmp_path / "m.dcm", source, labels(), SegmentationTypeValues.LABELMAP)
    dataset = dcmread(path)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    dataset.save_as(path)
    np.testing.assert_array_equal(dicom.read_scan(path).voxels, labels().transpose(2, 1, 0))
