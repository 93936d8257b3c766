"""A label of another patient, and a patient on two sides, are told by what DICOM files say of themselves."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_cases import SHAPE, edit, noise, series, setting

from duoseg.scans.checking import check_dataset
from duoseg.scans.dataset import load_dataset
from duoseg.scans.formats import write_like


def save_label(path, like) -> None:
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[4:8, 4 + len(like.name) % 2 + ord(like.name[0]) % 2 : 8, 2:5] = 1
    path.parent.mkdir(exist_ok=True)
    write_like(path, voxels, like=like, segments={"one": 1})


@pytest.fixture
def data(tmp_path):
    """Four patients for training, two with a SEG, and one for testing; all on one grid."""
    for number, case in enumerate("abcd"):
        series(tmp_path / f"imagesTr/{case}_0000", voxels=noise() + np.int16(number), seed=number)
    for case in "ab":
        save_label(tmp_path / f"labelsTr/{case}.dcm", tmp_path / f"imagesTr/{case}_0000")
    series(tmp_path / "imagesTs/t_0000", voxels=noise() + np.int16(9), seed=9)
    return tmp_path


def warnings(root) -> list[str]:
    report = check_dataset(load_dataset(root, tolerant=True))
    assert report.ok, [str(problem) for problem in report.problems]
    return [str(problem) for problem in report.problems if problem.severity == "warning"]


def of_patient(folder, name: str) -> None:
    edit(folder, setting(PatientID=name))


def test_patients_with_their_own_labels_are_no_matter(data):
    assert warnings(data) == []


def test_a_label_of_another_patient_is_told_although_it_fits(data):
    (data / "labelsTr/a.dcm").rename(data / "aside")
    (data / "labelsTr/b.dcm").rename(data / "labelsTr/a.dcm")
    (data / "aside").rename(data / "labelsTr/b.dcm")
    told = warnings(data)
    assert len(told) == 2
    assert all(
        "is of another patient than" in one and "make sure that label and image belong together" in one for one in told
    )


def test_a_label_in_other_coordinates_is_told_where_no_patient_is_named(data):
    edit(data / "imagesTr/a_0000", setting(FrameOfReferenceUID="1.2.3.4", PatientID=""))
    (told,) = warnings(data)
    assert "was drawn in other coordinates than those of a, by" in told


def test_a_label_drawn_on_a_further_channel_is_one_of_the_case(data):
    for case in "abcd":
        series(data / f"imagesTr/{case}_0001", voxels=noise() + np.int16(ord(case)), seed=ord(case))
    series(data / "imagesTs/t_0001", voxels=noise() + np.int16(50), seed=50)
    for folder in [*(data / "imagesTr").iterdir(), *(data / "imagesTs").iterdir()]:
        of_patient(folder, folder.name[0])
    for case in "ab":
        save_label(data / f"labelsTr/{case}.dcm", data / f"imagesTr/{case}_0001")
    assert warnings(data) == []


@pytest.mark.parametrize("anonymous", ["", "ANON"])
def test_patients_without_names_or_all_of_one_are_not_told(data, anonymous):
    for folder in (*(data / "imagesTr").iterdir(), data / "imagesTs/t_0000"):
        of_patient(folder, anonymous)
    for case in "ab":
        save_label(data / f"labelsTr/{case}.dcm", data / f"imagesTr/{case}_0000")
    assert warnings(data) == []


def test_a_patient_for_training_and_for_testing_is_told_without_the_identifier(data):
    of_patient(data / "imagesTr/c_0000", "Smith")
    of_patient(data / "imagesTs/t_0000", "Smith")
    (told,) = warnings(data)
    assert "1 person has scans on two sides, by PatientID: c (for training), t (for testing)" in told
    assert "Smith" not in told


def test_who_says_who_is_who_is_believed(data):
    of_patient(data / "imagesTr/c_0000", "Smith")
    of_patient(data / "imagesTs/t_0000", "Smith")
    (data / "splits.json").write_text('{"subjects": {"c": "one", "t": "another"}}')
    assert warnings(data) == []
