"""Labels, persons, masks and classes that were taken for others: what a check says of ordinary mistakes."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from duoseg.errors import InputError
from duoseg.scans.checking import check_dataset
from duoseg.scans.dataset import load_dataset
from duoseg.scans.phantoms import write_phantom_dataset
from duoseg.scans.strays import by_spelling, like_name


@pytest.fixture
def data(tmp_path):
    """Four scans of one grid, with a label each, and no word on classes."""
    random = np.random.default_rng(0)
    for number, case in enumerate("abcd"):
        save(tmp_path / f"imagesTr/{case}_0000.nii.gz", random.normal(size=(9, 9, 8)).astype(np.float32))
        save(tmp_path / f"labelsTr/{case}.nii.gz", label(number))
    return tmp_path


def save(path, voxels, affine=None) -> None:
    path.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)


def label(number: int) -> np.ndarray:
    voxels = np.zeros((9, 9, 8), np.uint8)
    voxels[2 : 4 + number, 2:5, 2:5] = 1
    voxels[2:4, 6:8, 2:5] = 2
    return voxels


def told(root, severity="warning") -> list[str]:
    report = check_dataset(load_dataset(root, tolerant=True))
    return [str(problem) for problem in report.problems if problem.severity == severity]


def table(data, *rows: str) -> object:
    path = data / "scans.csv"
    path.write_text("\n".join(["image,label,split,subject", *rows]) + "\n")
    return path


def test_sound_data_are_told_nothing(data):
    assert told(data, "error") == told(data) == []


@pytest.mark.parametrize("stored_anew", [False, True])
def test_one_mask_is_not_the_label_of_two_persons(data, stored_anew):
    other = "a" if not stored_anew else "b"
    if stored_anew:
        save(data / "labelsTr/b.nii.gz", label(0).astype(np.int16))
    listed = ["imagesTr/a_0000.nii.gz,labelsTr/a.nii.gz,,", f"imagesTr/b_0000.nii.gz,labelsTr/{other}.nii.gz,,"]
    assert any("the same mask is the label of 2 scans: a, b" in one for one in told(table(data, *listed), "error"))
    follow_up = [f"{row}Ann" for row in listed]
    assert told(table(data, *follow_up), "error") == []


def test_labels_with_the_names_of_other_scans_are_told(data):
    swapped = table(
        data,
        "imagesTr/a_0000.nii.gz,labelsTr/b.nii.gz,,",
        "imagesTr/b_0000.nii.gz,labelsTr/a.nii.gz,,",
        "imagesTr/c_0000.nii.gz,labelsTr/c.nii.gz,,",
    )
    found = told(swapped)
    assert len(found) == 2 and all(
        "has the name of another scan; make sure that they were not exch" in one for one in found
    )


def test_a_label_on_the_grid_of_another_scan_is_told_which(data):
    for case, shift in (("a", 5.0), ("b", 50.0)):
        affine = np.diag([1.0, 1.0, 1.0, 1.0])
        affine[:3, 3] = shift
        for path in (data / f"imagesTr/{case}_0000.nii.gz", data / f"labelsTr/{case}.nii.gz"):
            save(path, np.asarray(nib.load(path).dataobj), affine)
    a, b = data / "labelsTr/a.nii.gz", data / "labelsTr/b.nii.gz"
    a.rename(data / "aside.nii.gz")
    b.rename(a)
    (data / "aside.nii.gz").rename(b)
    assert any("lies exactly on the grid of b, and not on that of a" in one for one in told(data))


def test_persons_that_differ_in_capitals_or_leading_zeros_are_told(data):
    rows = ("imagesTr/a_0000.nii.gz,labelsTr/a.nii.gz,train,Ann", "imagesTr/b_0000.nii.gz,labelsTr/b.nii.gz,test,ann")
    assert any("on two sides if these are one: Ann and ann" in one for one in told(table(data, *rows)))
    rows = (rows[0].replace("Ann", "04711"), rows[1].replace("ann", "4711"))
    assert any("04711 and 4711" in one for one in told(table(data, *rows)))


def test_a_mask_among_the_scans_is_told(data):
    save(data / "imagesTr/e_0000.nii.gz", label(3).astype(np.float32))
    assert any("e_0000.nii.gz: holds no other values than 0, 1, 2, as a mask does" in one for one in told(data))


def test_phantoms_are_no_masks(tmp_path):
    write_phantom_dataset(tmp_path, subjects=2, labelled=1, test=1, size=(24, 24, 16))
    assert not any("as a mask does" in one for one in told(tmp_path))


def test_one_file_as_image_and_label_is_refused(data):
    with pytest.raises(InputError, match=r"row 2: names .*a_0000\.nii\.gz as image and as label"):
        load_dataset(table(data, "imagesTr/a_0000.nii.gz,imagesTr/a_0000.nii.gz,,"))


def test_a_label_whose_only_value_no_other_label_has_is_told(data):
    save(data / "labelsTr/d.nii.gz", (label(3) > 0).astype(np.uint8) * 255)
    assert any(
        "d.nii.gz: has the value 255 alone, and no other label has it: they have 1, 2" in one for one in told(data)
    )


@pytest.mark.parametrize("decathlon", [False, True])
def test_a_class_that_counts_from_0_is_told_and_the_background_is_not(data, decathlon):
    def told_of(name):
        labels = {name: 0, "spleen": 1, "kidney": 2}
        labels = {str(value): name for name, value in labels.items()} if decathlon else labels
        (data / "dataset.json").write_text(json.dumps({"labels": labels}))
        return told(data)

    assert any("the label 'liver' has the value 0, which is the background's" in one for one in told_of("liver"))
    for name in ("background", "Clear Label", "bg", "Hintergrund"):
        assert told_of(name) == []


@pytest.mark.parametrize(
    ("there", "slip"),
    [("labelsTr", "labelTr"), ("labelsTr", "labels"), ("imagesTs", "imageTs"), ("labelsTs", "labelTs")],
)
def test_folders_with_nearly_known_names_are_told(data, there, slip):
    if there.endswith("Ts"):
        (data / slip).mkdir()
    else:
        (data / there).rename(data / slip)
    assert any(f"{slip}: this folder is not read; call it {there}" in one for one in told(data))


def test_a_scan_without_air_among_ct_is_told(data):
    (data / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}}))
    random = np.random.default_rng(1)
    for case in "abcd":
        low = 0 if case == "d" else -1000
        save(data / f"imagesTr/{case}_0000.nii.gz", random.integers(low, 900, (9, 9, 8)).astype(np.int16))
    (found,) = told(data)
    assert "d_0000.nii.gz: has no negative values, and 3 of 4 scans of the channel 'CT' have those of air" in found


@pytest.mark.parametrize("cell", [r"scans\P1\a.nii.gz", r"D:\scans\a.nii.gz", "D:/scans/a.nii.gz"])
def test_paths_of_windows_are_told_as_that(data, cell):
    with pytest.raises(InputError, match=r"row 2: the column 'image' holds a path of Windows .* write / between"):
        load_dataset(table(data, f"{cell},,,"))


def test_empty_columns_of_a_spreadsheet_mean_nothing(data):
    path = data / "scans.csv"
    path.write_text("image;label;;\nimagesTr/a_0000.nii.gz;labelsTr/a.nii.gz;;\n")
    assert [case.name for case in load_dataset(path).train] == ["a"]


def test_a_folder_one_too_high_is_told_with_what_it_holds(data):
    with pytest.raises(InputError, match=r"imagesTr is a folder, and no DICOM series lies in it.*holds a_0000"):
        load_dataset(table(data, "imagesTr,,,"))


@pytest.mark.parametrize("name", ["B", "b_label", "label-B"])
def test_labels_that_are_spelled_a_little_differently_are_told_what_to_be_called(data, name):
    (data / "labelsTr/b.nii.gz").rename(data / f"labelsTr/{name}.nii.gz")
    assert any("rename it to b.nii.gz" in one for one in told(data))


def test_numbers_with_other_zeros_are_the_same_name_but_not_other_numbers():
    cases = by_spelling(["pat_01", "pat_02", "pat_011"])
    assert [like_name(name, cases) for name in ("Pat-1", "pat2", "PAT_11", "pat_03")] == [
        "pat_01",
        "pat_02",
        "pat_011",
        "",
    ]
