"""Checking: each planted mistake is found with its file, its size and a remedy; none hides another."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from duoseg.errors import InputError
from duoseg.scans import checking
from duoseg.scans.checking import check_dataset
from duoseg.scans.dataset import load_dataset
from duoseg.scans.phantom_series import write_phantom_series
from duoseg.scans.texts import number_text

SHAPE = (8, 9, 10)
AFFINE = np.diag([1.0, 1.5, 2.0, 1.0])


def load(path: Path) -> nib.Nifti1Image:
    volume = nib.load(path)
    assert isinstance(volume, nib.Nifti1Image)
    return volume


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(voxels, affine).to_filename(path)


def image(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def label(number: int = 0) -> np.ndarray:
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[2:4, 2 + number : 4 + number, 2:4] = 1
    voxels[5:7, 5:7, 5:6] = 2
    return voxels


@pytest.fixture
def data(tmp_path):
    for seed, case in enumerate("abcd"):
        save(tmp_path / f"imagesTr/{case}_0000.nii.gz", image(seed))
    for number, case in enumerate("ab"):
        save(tmp_path / f"labelsTr/{case}.nii.gz", label(number))
    save(tmp_path / "imagesTs/t_0000.nii.gz", image(9))
    save(tmp_path / "labelsTs/t.nii.gz", label(2))
    (tmp_path / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "MR"}, "labels": {"background": 0, "one": 1, "two": 2, "ignore": 9}})
    )
    return tmp_path


def check(root, **options):
    return check_dataset(load_dataset(root, tolerant=True), **options)


def only(report, severity="error"):
    (problem,) = report.problems
    assert problem.severity == severity
    assert problem.remedy
    assert report.ok is (severity != "error")
    return problem


def test_a_sound_data_set_has_no_problems_and_a_full_table(data):
    done = []
    report = check(data, progress=lambda *count: done.append(count))
    assert report.ok
    assert report.problems == ()
    headings, rows = report.format()
    assert headings == ("case", "role", "shape", "spacing (mm)", "axes", "channels", "label (ml)", "verdict")
    assert rows[0] == ("a", "labelled", "8 x 9 x 10", "1.00 x 1.50 x 2.00", "RAS", "1", "one 0.024, two 0.012", "ok")
    assert [row[:2] for row in rows[1:]] == [
        ("b", "labelled"),
        ("c", "unlabelled"),
        ("d", "unlabelled"),
        ("t", "test"),
    ]
    assert done == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_each_file_is_read_once_and_labels_beyond_the_first_n_never(data, monkeypatch):
    read = []

    def counted(path, real=checking.read_scan):
        read.append(path.relative_to(data).as_posix())
        return real(path)

    monkeypatch.setattr(checking, "read_scan", counted)
    (data / "labelsTr/b.nii.gz").write_bytes(b"garbage")
    report = check(data, labelled=1)
    assert report.ok
    assert report.rows[1].role == "unlabelled"
    assert len(read) == len(set(read))
    assert "labelsTr/b.nii.gz" not in read
    assert "labelsTr/a.nii.gz" in read


def test_one_file_for_two_channels_is_told(data):
    image = "imagesTr/a_0000.nii.gz"
    (data / "scans.csv").write_text(f"image,image_2,label\n{image},{image},labelsTr/a.nii.gz\n")
    (data / "dataset.json").unlink()
    report = check(data / "scans.csv")
    (problem,) = [problem for problem in report.problems if "2 channels" in problem.message]
    assert problem.severity == "warning" and problem.file == data / "imagesTr/a_0000.nii.gz"


def test_volumes_beyond_a_litre_are_written_out():
    assert [number_text(value) for value in (0.0512, 18.234, 99.94, 1523.4)] == ["0.0512", "18.2", "99.9", "1523"]


def test_more_labels_than_there_are_is_an_error_of_the_request(data):
    with pytest.raises(InputError, match="3 labelled scans"):
        check(data, labelled=3)


def test_a_label_of_another_shape(data):
    save(data / "labelsTr/a.nii.gz", label()[:, :-1])
    problem = only(check(data))
    assert problem.file == data / "labelsTr/a.nii.gz"
    assert "8 x 8 x 10" in problem.message
    assert "8 x 9 x 10" in problem.message


def test_a_label_in_another_place_is_measured_in_mm_and_voxels(data):
    moved = AFFINE.copy()
    moved[0, 3] = 3.5
    save(data / "labelsTr/a.nii.gz", label(), moved)
    assert "up to 3.5 mm (3.5 voxels)" in only(check(data)).message


def test_a_label_with_another_spacing_says_so(data):
    save(data / "labelsTr/a.nii.gz", label(), np.eye(4))
    assert "1 x 1 x 1 mm rather than 1 x 1.5 x 2 mm" in only(check(data)).message


def test_a_label_in_another_axis_order_is_not_mistaken_for_another_place(data):
    other = nib.Nifti1Image(label(), AFFINE).as_reoriented([[2, 1], [0, -1], [1, 1]])
    other.to_filename(data / "labelsTr/a.nii.gz")
    message = only(check(data), "note").message
    assert "the same points" in message
    assert f"{''.join(nib.aff2axcodes(other.affine))} rather than RAS" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda voxels: np.where(voxels == 2, 4, voxels), "4 voxels.*not declare: 4"),
        (lambda voxels: voxels * 0.5, "8 voxels have fractional values such as 0.5"),
        (
            lambda voxels: np.where(voxels == 2, -3, voxels.astype(np.int16)),
            r"4 voxels.* negative values \(-3\)",
        ),
        (lambda voxels: np.where(voxels == 2, np.nan, voxels), "4 voxels are NaN"),
        (lambda voxels: np.where(voxels == 2, 3e9, voxels), r"4 voxels have values beyond 32-bit.*3e\+09"),
    ],
)
def test_wrong_label_values_are_counted(data, change, message):
    save(data / "labelsTr/a.nii.gz", change(label()))
    told = only(check(data)).message
    assert re.search(message, told), told


def test_labels_stored_as_float_or_with_rounding_or_ignored_voxels_are_fine(data):
    save(data / "labelsTr/a.nii.gz", label() * np.float64(1.0000001))
    save(data / "labelsTr/b.nii.gz", np.where(label() == 0, 9, label()).astype(np.int32))
    report = check(data)
    assert report.problems == ()
    assert "ignore" in report.format()[1][1][6]


def test_an_empty_label_is_a_warning(data):
    save(data / "labelsTr/a.nii.gz", label() * 0)
    report = check(data)
    assert "is empty" in only(report, "warning").message
    assert report.format()[1][0][-2:] == ("empty", "1 warning")


def test_a_class_that_no_labelled_scan_shows_is_an_error_even_if_test_scans_do(data):
    for number, case in enumerate("ab"):
        save(data / f"labelsTr/{case}.nii.gz", np.minimum(label(number), 1))
    assert "'two' (value 2) is in none of the 2 labelled" in only(check(data)).message


def test_no_label_at_all_is_an_error(data):
    for case in "ab":
        (data / f"labelsTr/{case}.nii.gz").unlink()
    assert "no training scan has a label" in only(check(data)).message


def test_an_image_in_the_place_of_a_label_fills_no_screen_with_its_values(data):
    save(data / "labelsTr/a.nii.gz", np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.int16))
    (row,) = [cells for cells in check(data).format()[1] if cells[0] == "a"]
    assert "class 20: " in row[6] and row[6].endswith(" and 699 more")


def test_voxels_that_are_not_finite_are_counted(data):
    voxels = image(0)
    voxels[0, 0, :3] = np.nan, np.inf, -np.inf
    save(data / "imagesTr/a_0000.nii.gz", voxels)
    told = only(check(data), "warning").message
    assert "3 of 720 voxels (0.42%) are NaN or infinite; the lowest finite value is taken" in told


def test_an_image_without_any_finite_voxel_is_an_error(data):
    save(data / "imagesTr/a_0000.nii.gz", image(0) * np.nan)
    assert "all voxels are NaN" in only(check(data)).message


def test_a_constant_image_is_an_error(data):
    save(data / "imagesTr/a_0000.nii.gz", image(0) * 0 + 7)
    assert "all voxels have the value 7" in only(check(data)).message


def test_a_spacing_unlike_the_others_is_a_warning_whatever_the_axis_order(data):
    save(data / "imagesTr/c_0000.nii.gz", image(2), AFFINE @ np.diag([1, 1, 5, 1]))
    order = AFFINE[:, [2, 1, 0, 3]]
    save(data / "imagesTr/d_0000.nii.gz", image(3), order)
    problem = only(check(data), "warning")
    assert problem.file.name == "c_0000.nii.gz"
    assert "factor of 5" in problem.message
    assert [row.verdict for row in check(data).rows] == ["ok", "ok", "1 warning", "ok", "ok"]
    assert "1 x 1.5 x 10 mm" in problem.message


def test_a_truncated_file_and_a_four_dimensional_one_are_told_and_the_rest_is_checked(data):
    cut = data / "imagesTr/a_0000.nii.gz"
    cut.write_bytes(cut.read_bytes()[:500])
    save(data / "imagesTr/c_0000.nii.gz", image(2, (*SHAPE, 2)))
    save(data / "labelsTr/b.nii.gz", label() * 4)
    report = check(data)
    told = {problem.file.name: problem.message for problem in report.problems}
    assert set(told) == {"a_0000.nii.gz", "c_0000.nii.gz", "b.nii.gz"}
    assert "cut short" in told["a_0000.nii.gz"]
    assert "2 volumes" in told["c_0000.nii.gz"]
    assert [row.verdict for row in report.rows] == ["1 error", "1 error", "1 error", "ok", "ok"]
    assert report.format()[1][0][2:5] == ("-", "-", "-")


def test_problems_of_the_layout_are_told_with_all_others(data):
    save(data / "imagesTr/c_0001.nii.gz", image(2))
    save(data / "labelsTr/x.nii.gz", label())
    save(data / "labelsTr/a.nii.gz", label() * 4)
    report = check(data)
    assert [problem.severity for problem in report.problems] == ["error", "error", "warning"]
    assert [(row.case, row.channels, row.verdict) for row in report.rows if row.verdict != "ok"] == [
        ("a", 1, "1 error"),
        ("c", 2, "1 error"),
    ]
    assert repr(report) == "CheckReport(5 cases: 2 errors, 1 warning)"
    assert {problem.file.name for problem in report.problems} == {"c_0001.nii.gz", "a.nii.gz", "x.nii.gz"}


def test_persons_and_cases_on_both_sides_and_absent_names_are_told(data):
    (data / "splits.json").write_text(
        json.dumps({"train": ["a", "b", "z"], "test": ["b", "t"], "subjects": {"a": "Ann", "t": "Ann"}})
    )
    messages = " | ".join(problem.message for problem in check(data).problems if problem.severity == "error")
    assert "not on disk: z" in messages
    assert "both for training and for testing: b" in messages
    assert "for training and for testing: Ann" in messages


def test_the_same_image_in_training_and_test_is_an_error_in_any_storage(data):
    copy = load(data / "imagesTr/c_0000.nii.gz").as_reoriented([[2, 1], [0, -1], [1, 1]])
    nib.Nifti1Image(copy.get_fdata(), copy.affine).to_filename(data / "imagesTs/t_0000.nii.gz")
    (data / "labelsTs/t.nii.gz").unlink()
    message = only(check(data)).message
    assert "c (unlabelled), t (test)" in message


def test_the_same_image_twice_in_training_is_a_warning(data):
    save(data / "imagesTr/d_0000.nii.gz", image(2))
    assert "c (unlabelled), d (unlabelled)" in only(check(data), "warning").message


def test_channels_on_different_grids_and_repeated_channels_are_told(tmp_path):
    moved = AFFINE.copy()
    moved[2, 3] = 4
    save(tmp_path / "imagesTr/a_0000.nii.gz", image(0))
    save(tmp_path / "imagesTr/a_0001.nii.gz", image(1), moved)
    save(tmp_path / "imagesTr/b_0000.nii.gz", image(2))
    save(tmp_path / "imagesTr/b_0001.nii.gz", image(2))
    save(tmp_path / "labelsTr/a.nii.gz", label())
    told = {problem.file.name: problem for problem in check(tmp_path).problems}
    assert "4 mm (4 voxels)" in told["a_0001.nii.gz"].message
    assert "the same voxels as b_0000.nii.gz, another channel of the same case" in told["b_0001.nii.gz"].message
    assert len(told) == 2


@pytest.mark.parametrize("test", [False, True])
def test_a_case_without_one_of_its_channels_stays_in_the_table(tmp_path, test):
    for seed, case in enumerate("abc"):
        for channel in (0, 1):
            save(tmp_path / f"imagesTr/{case}_{channel:04d}.nii.gz", image(2 * seed + channel))
        save(tmp_path / f"labelsTr/{case}.nii.gz", label(seed))
    (tmp_path / "imagesTr/b_0000.nii.gz").unlink()
    if test:
        (tmp_path / "splits.json").write_text(json.dumps({"train": ["a", "c"], "test": ["b"]}))
    report = check(tmp_path)
    assert "channel 0 of 'b' is missing" in only(report).message
    rows = {row.case: row for row in report.rows}
    assert (rows["b"].role, rows["b"].channels) == ("test" if test else "labelled", 1)
    assert rows["b"].grid is not None and rows["b"].verdict == "1 error"
    assert rows["a"].verdict == rows["c"].verdict == "ok"


def test_a_row_of_a_table_whose_file_is_absent_stays_in_the_report(tmp_path):
    save(tmp_path / "a.nii", image(0))
    save(tmp_path / "seg.nii", label())
    (tmp_path / "scans.csv").write_text("image,label,split\na.nii,seg.nii,\nb.nii,,test\n")
    report = check(tmp_path)
    assert [(row.case, row.role, row.channels, row.verdict) for row in report.rows] == [
        ("a", "labelled", 1, "ok"),
        ("b", "test", 0, "1 error"),
    ]


@pytest.mark.parametrize(
    ("classes", "noted"),
    [
        (("kidney", "other_kidney"), True),
        (("KidneyLeft", "KidneyRight"), False),
        (("anterior", "posterior"), False),
        (("big", "kidney"), False),
    ],
)
def test_classes_of_nearly_equal_volume_may_be_two_sides(data, classes, noted):
    (data / "dataset.json").write_text(json.dumps({"labels": {classes[0]: 1, classes[1]: 2}}))
    for number, case in enumerate("ab"):
        voxels = label(number)
        voxels[5:7, 5:7, 6:7] = 2 if classes[0] != "big" else 0  # 8 voxels of each, or 8 and 4
        voxels[2, 2, 2] = 0
        save(data / f"labelsTr/{case}.nii.gz", voxels)
    report = check(data)
    if not noted:
        assert report.problems == ()
        return
    problem = only(report, "note")
    assert "'kidney', 'other_kidney' have nearly equal volumes" in problem.message
    assert "mirror_axes = []" in problem.remedy


def test_classes_without_names_are_told_from_their_volumes(data):
    (data / "dataset.json").unlink()
    assert check(data).format()[1][0][6] == "class 1: 0.024, class 2: 0.012"


def test_one_voxel_is_not_called_voxels(data):
    voxels = label()
    voxels[0, 0, 0] = 77
    save(data / "labelsTr/a.nii.gz", voxels)
    assert "1 voxel has values that" in only(check(data)).message


def test_labels_that_match_no_image_are_told_where_none_is_left(data):
    for case in "ab":
        (data / f"labelsTr/{case}.nii.gz").rename(data / f"labelsTr/{case}_seg.nii.gz")
    report = check(data)
    assert "2 label files match no image" in report.problems[0].remedy
    assert "did you mean a.nii.gz?" in report.problems[0].remedy


def test_sheared_axes_are_a_warning(data):
    tilted = AFFINE.copy()
    tilted[1, 2] = 2 * np.tan(np.radians(20))
    save(data / "imagesTr/c_0000.nii.gz", image(2), tilted)
    assert "20 degrees off right angles" in only(check(data), "warning").message


def test_more_classes_than_can_be_told_apart_are_an_error(tmp_path):
    save(tmp_path / "images/a.nii.gz", image(0))
    save(tmp_path / "labels/a.nii.gz", np.arange(720, dtype=np.int16).reshape(SHAPE) % 129)
    report = check(tmp_path)
    assert not report.ok
    assert "there are 128 classes; at most 127" in report.problems[0].message


def test_labelled_voxels_outside_the_images_content_are_counted(data):
    voxels = image(0)
    voxels[:3] = 0
    save(data / "imagesTr/a_0000.nii.gz", voxels)
    ignored = label()
    ignored[0, 0, :5] = 9
    save(data / "labelsTr/a.nii.gz", ignored)
    problem = only(check(data), "warning")
    assert problem.file.name == "a.nii.gz"
    assert "4 of 12 labelled voxels lie outside" in problem.message


def test_voxels_that_are_nan_count_as_the_air_that_they_become(data):
    voxels = np.abs(image(0)).astype(np.float32)
    voxels[4, 5, 5] = 0
    voxels[:3] = np.nan
    save(data / "imagesTr/a_0000.nii.gz", voxels)
    messages = [problem.message for problem in check(data).problems if problem.severity == "warning"]
    assert any("labelled voxels lie outside" in message for message in messages)


def test_values_of_ct_under_another_name_are_noted_once(data):
    for seed, case in enumerate("abc"):
        save(data / f"imagesTr/{case}_0000.nii.gz", image(seed) - 1100)
    assert "in 3 of 5 scans" in only(check(data), "note").message
    names = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").write_text(json.dumps({**names, "channel_names": {"0": "CTA"}}))
    assert not [problem for problem in check(data).problems if problem.severity == "note"]


def test_missing_form_codes_are_a_warning(data):
    volume = load(data / "imagesTr/c_0000.nii.gz")
    bare = nib.Nifti1Image(image(2), None, volume.header)
    bare.header["qform_code"] = bare.header["sform_code"] = 0
    bare.to_filename(data / "imagesTr/c_0000.nii.gz")
    assert "neither sform nor qform" in only(check(data), "warning").message


def test_memory_does_not_grow_with_the_number_of_scans(tmp_path):
    def peak(count):
        for number in range(count):
            save(tmp_path / f"images/{number:03d}.nii", image(number, (24, 24, 24)))
        save(tmp_path / "labels/000.nii", np.ones((24, 24, 24), np.uint8))
        dataset = load_dataset(tmp_path)
        tracemalloc.start()
        check_dataset(dataset)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    few, many = peak(3), peak(30)
    assert many - few < 27 * 8_000  # a scan has 55 kB


def test_labels_that_are_not_read_are_told(data):
    (data / "labelsTr" / "a.nii.gz.part").write_bytes(b"half")
    told = only(check(data), "warning")
    assert told.file == data / "labelsTr" and "a.nii.gz.part" in told.message


def test_values_that_no_network_can_compute_with_count_as_infinite(data):
    voxels = image(0).astype(np.float64)
    voxels[0, 0, 0] = 1e39
    save(data / "imagesTr/a_0000.nii.gz", voxels)
    assert "1 of 720 voxels" in only(check(data), "warning").message


def test_slices_of_a_series_that_lie_loose_among_the_images_are_no_scans(data):
    write_phantom_series(data / "imagesTr", np.ones((4, 5, 3), np.int16), np.eye(4))
    (data / "dataset.json").unlink()  # it says that all files are NIfTI
    told = [problem for problem in check(data).problems if problem.severity == "error"]
    assert any("3 files in imagesTr are slices of one DICOM series" in problem.message for problem in told), told
