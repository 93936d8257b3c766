"""Which value is which class: a label that names its segments, against what the data set declares."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_cases import affine_of, noise, series

from duoseg.errors import InputError
from duoseg.planning.cache import prepare_cases
from duoseg.planning.fingerprint import Fingerprint, take_fingerprint
from duoseg.planning.planner import make_plan
from duoseg.planning.reading import read_images, read_label
from duoseg.scans.cases import Case
from duoseg.scans.checking import check_dataset
from duoseg.scans.dataset import Dataset, load_dataset
from duoseg.scans.formats import read_scan, write_like
from duoseg.scans.scan import Grid, Scan
from duoseg.scans.segments import by_name, disagreements, names_of_classes, with_ignored
from duoseg.scores.evaluate import evaluate

CLASSES = {"liver": 1, "spleen": 2}
SHAPE = (8, 7, 6)


def mask(case: str = "b") -> np.ndarray:
    """Liver (1) and spleen (2), of different sizes; no two scans have the same."""
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[1:6, 1:5, 1:5], voxels[6:8, 2:4, 2:4] = 1, 2
    voxels[0, 0, 0] = case == "a"
    return voxels


def swapped(case: str = "b") -> np.ndarray:
    return np.array([0, 2, 1], np.uint8)[mask(case)]


def data_set(root: Path, segments: dict[str, int] | None, *, classes=CLASSES, voxels=None) -> Path:
    """Two cases: a.seg.nrrd as declared, b.seg.nrrd with ``segments``."""
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for case, names, label in (
        ("a", CLASSES, mask("a")),
        ("b", segments, swapped() if voxels is None else voxels),
    ):
        image = root / "imagesTr" / f"{case}_0000.nii.gz"
        values = np.random.default_rng(ord(case)).normal(100, 10, SHAPE).astype(np.float32)
        nib.Nifti1Image(values, np.diag([1, 1, 2, 1.0])).to_filename(image)
        write_like(root / "labelsTr" / f"{case}.seg.nrrd", label, like=image, segments=names)
    labels = {"labels": {"background": 0, **classes}} if classes else {}
    content = {"channel_names": {"0": "MR"}, **labels}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def told(root: Path, severity: str) -> list[str]:
    report = check_dataset(load_dataset(root, tolerant=True))
    return [str(problem) for problem in report.problems if problem.severity == severity]


def fingerprint(dataset: Dataset) -> Fingerprint:
    return take_fingerprint(dataset.split(labelled=None), dataset)


def scan_of(voxels: np.ndarray, segments: dict[str, int]) -> Scan:
    return Scan(voxels, Grid(SHAPE, np.eye(4)), Path("b.seg.nrrd"), segments=segments)


@pytest.mark.parametrize("segments", [{"spleen": 1, "liver": 2}, {" Spleen": 1, "LIVER ": 2}])
def test_a_renumbered_label_is_read_by_the_names_of_its_segments(tmp_path, segments):
    root = data_set(tmp_path / "data", segments)
    dataset = load_dataset(root)
    case = next(case for case in dataset.train if case.name == "b")
    grid = read_images(case).grid
    np.testing.assert_array_equal(read_label(case, grid, dataset.classes), mask())
    np.testing.assert_array_equal(read_label(case, grid), swapped())
    assert told(root, "error") == []
    (warning,) = (text for text in told(root, "warning") if "segments" in text)
    assert "b.seg.nrrd: " in warning and "were taken by their names" in warning
    row = next(row for row in check_dataset(dataset).rows if row.case == "b")
    assert row.values == {value: pytest.approx((mask() == value).sum() * 0.002) for value in (0, 1, 2)}


def test_what_is_to_be_ignored_is_known_by_its_name_too(tmp_path):
    classes = {"tumour": 1, "oedema": 2, "ignore": 3}
    root = data_set(tmp_path, {"tumour": 1, "ignore": 2}, classes=classes, voxels=mask())
    (root / "labelsTr" / "a.seg.nrrd").unlink()
    dataset = load_dataset(root)
    (case,) = [case for case in dataset.train if case.label]
    label = read_label(case, read_images(case).grid, with_ignored(dataset.classes, dataset.ignore_value))
    np.testing.assert_array_equal(label, np.where(mask() == 2, 3, mask()))
    (error,) = told(root, "error")
    assert "'oedema' (value 2) is in none of the 1 labelled scans" in error


def test_planning_and_training_see_the_declared_values(tmp_path):
    root = data_set(tmp_path / "data", {"spleen": 1, "liver": 2})
    found = fingerprint(load_dataset(root))
    volumes = {one.name: one for one in found.anatomy}
    right = fingerprint(load_dataset(data_set(tmp_path / "right", CLASSES, voxels=mask())))
    assert volumes == {one.name: one for one in right.anatomy}


@pytest.mark.parametrize(
    ("segments", "voxels", "words"),
    [
        ({"spleen": 1, "kidney": 2}, swapped(), "'kidney' is no class"),
        ({"spleen": 1}, swapped(), "its value 2 is that of no segment"),
        ({"spleen": 1, "Spleen": 2}, swapped(), "two of its segments have one name or one value"),
    ],
)
def test_names_that_only_partly_fit_are_refused_by_all(tmp_path, segments, voxels, words):
    root = data_set(tmp_path / "data", segments, voxels=voxels)
    (error,) = told(root, "error")
    assert "b.seg.nrrd: " in error and words in error
    assert "'spleen' has the value 1, and the data set declares 'spleen' as 2" in error
    dataset = load_dataset(root)
    case = next(case for case in dataset.train if case.name == "b")
    with pytest.raises(InputError, match=r"b\.seg\.nrrd: .*declares 'spleen' as 2"):
        read_label(case, read_images(case).grid, dataset.classes)
    with pytest.raises(InputError, match=r"b\.seg\.nrrd: .*declares 'spleen' as 2"):
        fingerprint(dataset)
    with pytest.raises(InputError, match=r"b\.seg\.nrrd: .*declares 'spleen' as 2"):
        evaluate(root / "labelsTr", root / "labelsTr")


@pytest.mark.parametrize("segments", [CLASSES, {"Liver": 1}, {"Leber": 2, "Milz": 1}, {"1": 2, "2": 1}, {}])
def test_names_that_agree_or_say_nothing_change_nothing(segments):
    for classes in (CLASSES, {"1": 1, "2": 2}, {}):
        scan = scan_of(swapped(), segments)
        assert by_name(scan, classes) is scan


def test_classes_that_differ_in_case_alone_are_told_apart():
    classes = {"Node": 1, "node": 2}
    scan = by_name(scan_of(mask(), {"node": 1, "Node": 2}), classes)
    np.testing.assert_array_equal(scan.voxels, swapped())
    unclear = scan_of(mask(), {"NODE": 2})
    assert by_name(unclear, classes) is unclear


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.uint64])
def test_values_of_any_type_are_renumbered(dtype):
    scan = by_name(scan_of(mask().astype(dtype), {"liver": 1, "spleen": 2}), {"liver": 70_000, "spleen": 1})
    np.testing.assert_array_equal(scan.voxels, np.array([0, 70_000, 1])[mask()])
    assert scan.segments == {"liver": 70_000, "spleen": 1}
    broken = scan_of(mask() + 0.5, {"liver": 2, "spleen": 1})
    assert by_name(broken, CLASSES) is broken  # it is refused as fractional


def test_predictions_and_references_are_scored_by_their_names(tmp_path):
    root = data_set(tmp_path / "data", {"spleen": 1, "liver": 2})
    (tmp_path / "out").mkdir()
    like = root / "imagesTr" / "a_0000.nii.gz"
    write_like(tmp_path / "out" / "a.seg.nrrd", swapped("a"), like=like, segments={"spleen": 1, "liver": 2})
    write_like(tmp_path / "out" / "b.seg.nrrd", mask(), like=like, segments=CLASSES)
    scores = evaluate(tmp_path / "out", root / "labelsTr")
    assert all(case.labels[name]["dice"] == 1 for case in scores.cases for name in CLASSES)
    files = {problem.file for problem in scores.problems if "taken by their names" in problem.message}
    assert files == {tmp_path / "out" / "a.seg.nrrd", root / "labelsTr" / "b.seg.nrrd"}


def test_a_dicom_segmentation_is_read_by_its_names_too(tmp_path):
    source = series(tmp_path / "s", affine=affine_of())
    voxels = (noise() > 0).astype(np.uint8) + (noise() > 1500)
    write_like(tmp_path / "m.dcm", voxels, like=source, segments={"spleen": 1, "liver": 2})
    case = Case("s", (source,), tmp_path / "m.dcm", "s")
    label = read_label(case, read_scan(source).grid, CLASSES)
    np.testing.assert_array_equal(label, np.array([0, 2, 1])[voxels])


def test_without_declared_classes_values_count_and_names_that_disagree_are_errors(tmp_path):
    root = data_set(tmp_path / "data", {"spleen": 1, "liver": 2}, classes={})
    (error,) = told(root, "error")
    assert error.startswith(str(root / "labelsTr" / "b.seg.nrrd"))
    assert "'spleen' has the value 1, and 2 in a.seg.nrrd" in error
    dataset = load_dataset(root)
    case = next(case for case in dataset.train if case.name == "b")
    np.testing.assert_array_equal(read_label(case, read_images(case).grid, dataset.classes), swapped())
    assert told(data_set(tmp_path / "same", CLASSES, classes={}, voxels=mask()), "error") == []


def test_labels_that_disagree_are_refused_before_anything_is_learnt(tmp_path, caplog):
    root = data_set(tmp_path / "swapped", {"spleen": 1, "liver": 2}, classes={})
    with pytest.raises(InputError, match=r"b\.seg\.nrrd.*'spleen' has the value 1, and 2 in a\.seg\.nrrd"):
        fingerprint(load_dataset(root))
    root = data_set(tmp_path / "renamed", {"lung": 1, "spleen": 2}, classes={}, voxels=mask())
    (warning,) = told(root, "warning")
    assert "'lung' has the value 1, which is 'liver' in a.seg.nrrd" in warning
    fingerprint(load_dataset(root))
    assert warning in caplog.text


def test_names_that_nobody_gave_disagree_with_nothing():
    for first, second in (({"Segment_1": 1, "Segment_2": 2}, {"Segment_2": 1}), ({"liver": 1}, {"1": 1})):
        assert [*disagreements([(Path("a"), first), (Path("b"), second)])] == []


def test_a_segment_of_another_name_than_its_value_is_declared_with_is_noted(tmp_path):
    for name, noted in (("lung", True), ("Segment_1", False), ("liver", False)):
        root = data_set(tmp_path / name, {name: 1, "spleen": 2}, voxels=mask())
        found = [text for text in told(root, "note") if "is taken as that" in text]
        assert bool(found) == noted
        assert not noted or "'lung' has the value 1, which the data set declares as 'liver'" in found[0]


def test_a_cache_is_not_shared_by_data_sets_that_give_one_name_another_value(tmp_path):
    root = data_set(tmp_path / "data", {"spleen": 1, "liver": 2})
    dataset = load_dataset(root)
    plan = make_plan(fingerprint(dataset), device="cpu")
    first = prepare_cases(dataset.train, plan, tmp_path / "cache")
    swap = plan.model_copy(update={"classes": {"spleen": 1, "liver": 2}})
    other = prepare_cases(dataset.train, swap, tmp_path / "cache")
    assert {one.label_path for one in first}.isdisjoint(one.label_path for one in other)


def test_classes_that_nobody_declared_are_called_as_all_labels_call_them():
    named = [{"left kidney": 1, "liver": 2}, {}, {"Liver ": 2}]
    assert names_of_classes([1, 2], named) == {"left kidney": 1, "liver": 2}
    assert names_of_classes([1, 2, 3], named) == {"1": 1, "2": 2, "3": 3}  # one has no name
    assert names_of_classes([1, 2], [*named, {"spleen": 2}]) == {"1": 1, "2": 2}  # labels disagree
    assert names_of_classes([1, 2], [{"organ": 1}, {"organ": 2}]) == {"1": 1, "2": 2}
