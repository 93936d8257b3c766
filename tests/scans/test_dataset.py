"""Data sets in all layouts, their splits, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from duoseg.errors import InputError
from duoseg.scans.dataset import load_dataset
from duoseg.scans.formats import read_scan
from duoseg.scans.inputs import find_inputs
from duoseg.scans.phantom_series import write_phantom_series


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"never opened")


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def describe(root: Path, **changes: object) -> None:
    content = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "spleen": 5, "liver": 2, "ignore": 7},
        "file_ending": ".nii.gz",
    }
    write_json(root / "dataset.json", {**content, **changes})


@pytest.fixture
def nnunet(tmp_path):
    for case in "abcd":
        touch(tmp_path, f"imagesTr/{case}_0000.nii.gz", f"imagesTr/{case}_0001.nii.gz")
    touch(tmp_path, "labelsTr/b.nii.gz", "labelsTr/d.nii.gz")
    touch(tmp_path, "imagesUn/u_0000.nii.gz", "imagesUn/u_0001.nii.gz")
    touch(tmp_path, "imagesTs/t_0000.nii.gz", "imagesTs/t_0001.nii.gz", "labelsTs/t.nii.gz")
    touch(tmp_path, "imagesTr/.DS_Store", "imagesTr/._a_0000.nii.gz")
    describe(tmp_path)
    return tmp_path


def plain(root: Path, names: str, labelled: str = "") -> Path:
    touch(root, *(f"images/{name}.nii.gz" for name in names), *(f"labels/{name}.nii.gz" for name in labelled))
    return root


def names(cases):
    return [case.name for case in cases]


def test_an_nnunet_folder_is_understood_without_opening_a_scan(nnunet):
    dataset = load_dataset(nnunet)
    assert dataset.channels == ("T1", "T2")
    assert list(dataset.classes.items()) == [("liver", 2), ("spleen", 5)]
    assert dataset.ignore_value == 7
    assert names(dataset.train) == ["a", "b", "c", "d", "u"]
    assert names(dataset.test) == ["t"]
    b = dataset.train[1]
    assert b.images == (nnunet / "imagesTr/b_0000.nii.gz", nnunet / "imagesTr/b_0001.nii.gz")
    assert b.label == nnunet / "labelsTr/b.nii.gz"
    assert b.subject == "b"
    assert dataset.train[0].label is None
    assert dataset.problems == ()


def test_the_first_labels_are_kept_and_no_other_label_is_reachable(nnunet):
    split = load_dataset(nnunet).split(labelled=1)
    assert names(split.labelled) == ["b"]
    assert names(split.unlabelled) == ["a", "c", "d", "u"]
    assert all(case.label is None for case in split.unlabelled)
    everything = load_dataset(nnunet).split(labelled=None, without=["b"])
    assert names(everything.labelled) == ["d"]
    assert names(everything.unlabelled) == ["a", "c", "u"]


@pytest.mark.parametrize("labelled", [-1, 0, 3])
def test_more_labels_than_there_are_cannot_be_asked_for(nnunet, labelled):
    with pytest.raises(InputError, match=f"{labelled} labelled scans.*2 of its 5 training scans"):
        load_dataset(nnunet).split(labelled=labelled)


def test_a_missing_channel_is_named_and_tolerated_only_on_request(nnunet):
    (nnunet / "imagesTr/c_0001.nii.gz").unlink()
    with pytest.raises(InputError, match=r"c_0001\.nii\.gz: channel 1 \(T2\) of 'c' is missing"):
        load_dataset(nnunet)
    dataset = load_dataset(nnunet, tolerant=True)
    assert names(dataset.train) == ["a", "b", "d", "u"]
    assert [problem.file.name for problem in dataset.problems] == ["c_0001.nii.gz"]


def test_a_channel_too_many_is_named(nnunet):
    touch(nnunet, "imagesTr/c_0002.nii.gz")
    with pytest.raises(InputError, match=r"c_0002\.nii\.gz: channel 2 is one more than the 2"):
        load_dataset(nnunet)


def test_a_label_without_image_is_a_warning(nnunet):
    touch(nnunet, "labelsTr/x.nii.gz")
    (problem,) = load_dataset(nnunet).problems
    assert (problem.severity, problem.file.name) == ("warning", "x.nii.gz")


def test_without_dataset_json_channels_are_counted_and_classes_left_open(nnunet):
    (nnunet / "dataset.json").unlink()
    dataset = load_dataset(nnunet)
    assert len(dataset.channels) == 2
    assert dataset.classes == {}


def test_the_decathlons_own_layout_and_dataset_json_are_read(tmp_path):
    touch(tmp_path, "imagesTr/la_003.nii.gz", "labelsTr/la_003.nii.gz", "imagesTs/la_001.nii.gz")
    write_json(
        tmp_path / "dataset.json",
        {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "left atrium"}},
    )
    dataset = load_dataset(tmp_path)
    assert dataset.channels == ("MRI",)
    assert dataset.classes == {"left atrium": 1}
    assert (names(dataset.train), names(dataset.test)) == (["la_003"], ["la_001"])


def test_a_plain_folder_needs_no_channel_numbers(tmp_path):
    dataset = load_dataset(plain(tmp_path, "cab", "b"))
    assert names(dataset.train) == ["a", "b", "c"]
    assert [case.label is not None for case in dataset.train] == [False, True, False]


def test_case_names_that_end_like_channel_numbers_are_told_by_their_labels(tmp_path):
    touch(tmp_path, *(f"{folder}/p_{n:04d}.nii.gz" for folder in ("images", "labels") for n in range(3)))
    dataset = load_dataset(tmp_path)
    assert names(dataset.train) == ["p_0000", "p_0001", "p_0002"]
    assert len(dataset.channels) == 1


def test_names_like_channel_numbers_are_told_by_one_label_for_all_folders(tmp_path):
    touch(tmp_path, *(f"images/pat_{n:04d}.nii.gz" for n in range(3)), "labels/pat_0000.nii.gz")
    touch(tmp_path, *(f"imagesUn/raw_{n:04d}.nii.gz" for n in range(2)), "imagesTs/pat_0003.nii.gz")
    dataset = load_dataset(tmp_path)
    assert names(dataset.train) == ["pat_0000", "pat_0001", "pat_0002", "raw_0000", "raw_0001"]
    assert names(dataset.test) == ["pat_0003"]
    assert len(dataset.channels) == 1


def test_unused_scans_are_on_no_side_wherever_they_lie(tmp_path):
    touch(tmp_path, *(f"imagesTr/{case}_0000.nii.gz" for case in "ab"), "labelsTr/a.nii.gz", "labelsTr/b.nii.gz")
    touch(
        tmp_path, *(f"imagesUn/{case}_0000.nii.gz" for case in "uv"), "imagesTs/s_0000.nii.gz", "imagesTs/t_0000.nii.gz"
    )
    (tmp_path / "splits.json").write_text(json.dumps({"unused": ["b", "u", "t"]}))
    dataset = load_dataset(tmp_path)
    assert (names(dataset.train), names(dataset.test)) == (["a", "v"], ["s"])
    assert not dataset.problems


def test_names_are_the_same_however_their_accents_are_written(tmp_path):
    touch(tmp_path, "imagesTr/M\u00fcller_0000.nii.gz", "labelsTr/Mu\u0308ller.nii.gz")
    touch(tmp_path, "imagesTs/Jose\u0301_0000.nii.gz")
    (tmp_path / "splits.json").write_text(json.dumps({"train": ["Mu\u0308ller"], "subjects": {"Jos\u00e9": "J"}}))
    dataset = load_dataset(tmp_path)
    assert names(dataset.train) == ["M\u00fcller"] and dataset.train[0].label is not None
    assert dataset.test[0].subject == "J" and not dataset.problems


def test_what_is_wrong_with_a_case_matters_only_where_it_is_used(tmp_path):
    touch(tmp_path, *(f"imagesTr/{case}_000{n}.nii.gz" for case in "abc" for n in range(2)), "labelsTr/a.nii.gz")
    touch(tmp_path, "imagesUn/u_0000.nii.gz", "imagesTs/t_0001.nii.gz")
    (tmp_path / "imagesTr" / "b_0001.nii.gz").unlink()

    def load(**splits):
        (tmp_path / "splits.json").write_text(json.dumps(splits))
        dataset = load_dataset(tmp_path, tolerant=True)
        told = {problem.file.name for problem in dataset.problems if problem.severity == "error"}
        notes = [problem.message for problem in dataset.problems if problem.severity == "note"]
        return told, [(one.case.name, one.side) for one in dataset.left_out], notes

    missing = {"b": "b_0001.nii.gz", "u": "u_0001.nii.gz", "t": "t_0000.nii.gz"}
    assert load() == ({*missing.values()}, [("b", "train"), ("u", "raw"), ("t", "test")], [])
    assert load(unused=["b", "u", "t"]) == (set(), [], [])
    listed = load(train=["a", "c"], test=[])
    assert listed[:2] == ({missing["u"]}, [("u", "raw")])
    assert "2 cases on disk are on no side and not used: b, t" in listed[2][0]
    assert load(train=["a", "c"], test=["b"])[:2] == ({missing["b"], missing["u"]}, [("b", "test"), ("u", "raw")])
    with pytest.raises(InputError, match=r"b_0001\.nii\.gz: channel 1 of 'b' is missing"):
        load_dataset(tmp_path)


def test_an_unused_scan_in_another_list_is_told(tmp_path):
    touch(tmp_path, *(f"imagesTr/{case}_0000.nii.gz" for case in "abc"), "labelsTr/a.nii.gz")
    (tmp_path / "splits.json").write_text(json.dumps({"train": ["a", "b", "c"], "unused": ["b"]}))
    with pytest.raises(InputError, match='"unused" names 1 case that is in another list, too: b'):
        load_dataset(tmp_path)


def test_channel_numbers_of_cases_that_end_in_numbers_are_told_by_the_labels(tmp_path):
    touch(tmp_path, "imagesTr/pat_0000_0000.nii.gz", "imagesTr/pat_0000.nii.gz", "imagesUn/x_0000.nii.gz")
    touch(tmp_path, "labelsTr/pat.nii.gz", "labelsTr/pat_0000.nii.gz")
    dataset = load_dataset(tmp_path)
    assert names(dataset.train) == ["pat", "pat_0000", "x"]
    assert all(case.label for case in dataset.train[:2])


def test_a_folder_without_channel_numbers_stands_beside_one_with_them(tmp_path):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTs/t.nii.gz")
    dataset = load_dataset(tmp_path)
    assert (names(dataset.train), names(dataset.test)) == (["a"], ["t"])


def test_inputs_of_one_channel_keep_numbers_that_cannot_be_channels(tmp_path):
    touch(tmp_path, *(f"images/pat_{n:04d}.nii.gz" for n in range(5)), "other/a_0000.nii.gz", "other/b_0000.nii.gz")
    many = [f"pat_{n:04d}" for n in range(5)]
    assert names(find_inputs([tmp_path / "images"], channels=("MR",))) == many
    assert names(find_inputs([tmp_path / "images/pat_0001.nii.gz"], channels=("MR",))) == ["pat_0001"]
    assert names(find_inputs([tmp_path / "other"], channels=("MR",))) == ["a", "b"]
    several = find_inputs([tmp_path / "images"], channels=("T1", "T2", "T3", "T4", "T5"))
    assert names(several) == ["pat"] and len(several[0].images) == 5


@pytest.mark.parametrize(
    ("files", "example"),
    [
        (["a_0000", "a_0001", "b_0000", "b_0001"], r"these scans have 2 by their names \(a_0000\.nii, a_0001\.nii\)"),
        (["a_0000", "b_0000", "b_0001"], r"b_0000\.nii, b_0001\.nii"),
        ([f"{case}_{n:04d}" for case in "ab" for n in range(6)], "these scans have 6"),
        (["pat_0000", "pat_0001", "pat_0002"], r"scan of its own, rename them .*such as pat-0\."),
    ],
)
def test_scans_of_several_channels_are_refused_by_a_plan_of_one(tmp_path, files, example):
    touch(tmp_path, *(f"{file}.nii" for file in files))
    with pytest.raises(InputError, match=rf"the model takes 1 channel \(MR\).*{example}"):
        find_inputs([tmp_path], channels=("MR",))


@pytest.mark.parametrize("files", [["p_0001", "p_0002"], ["p_0000", "p_0002", "q"], ["a_0007", "b_0003"]])
def test_numbers_that_start_elsewhere_or_have_gaps_are_names(tmp_path, files):
    touch(tmp_path, *(f"{file}.nii" for file in files))
    assert names(find_inputs([tmp_path], channels=("MR",))) == files


def test_an_input_with_more_channels_than_the_plan_is_told_of_the_plan(tmp_path):
    touch(tmp_path, *(f"a_{n:04d}.nii.gz" for n in range(3)))
    with pytest.raises(InputError, match="channel 2 is one more than the 2 channels of the plan"):
        find_inputs([tmp_path], channels=("T1", "T2"))


def test_inputs_of_one_name_in_two_folders_are_told_with_both_paths(tmp_path):
    touch(tmp_path, "x/a.nii.gz", "y/a.nii.gz")
    message = f"{tmp_path}/x/a.nii.gz: this and {tmp_path}/y/a.nii.gz are two scans of one name"
    with pytest.raises(InputError, match=message):
        find_inputs([tmp_path / "x", tmp_path / "y"], channels=("MR",))
    assert names(find_inputs([tmp_path / "x", tmp_path / "x/a.nii.gz"], channels=("MR",))) == ["a"]


@pytest.mark.parametrize("slip", ["b_label", "b_seg", "b_0000", "label-b", "b_Mask"])
def test_labels_with_a_slip_in_their_names_are_told_where_labels_are_missing(tmp_path, slip):
    plain(tmp_path, "abc")
    touch(tmp_path, f"labels/{slip}.nii.gz", "labels/unlike.nii.gz")
    dataset = load_dataset(tmp_path)
    assert [problem.severity for problem in dataset.problems] == ["warning", "warning"]
    told = (
        rf"no training scan has a label; 2 label files match no image \(first: .*{slip}\.nii\.gz; did you mean b\.nii"
    )
    with pytest.raises(InputError, match=told):
        dataset.split(labelled=1)
    touch(tmp_path, "labels/a.nii.gz")
    with pytest.raises(
        InputError, match=r"1 of its 3 training scans has a label; ask for 1 to 1\. 2 label files match"
    ):
        load_dataset(tmp_path).split(labelled=2)


def test_a_label_that_is_like_no_case_has_no_guess(tmp_path):
    touch(plain(tmp_path, "ab"), "labels/liver.nii.gz")
    with pytest.raises(InputError, match=r"1 label file matches no image \(first: .*liver\.nii\.gz\)"):
        load_dataset(tmp_path).split(labelled=1)


def test_what_lies_in_a_folder_of_images_and_is_not_read_is_noted_once(nnunet):
    touch(nnunet, "imagesTr/dicom/1.dcm", "imagesTr/e_0000.mha", "imagesTr/notes.txt")
    (note,) = load_dataset(nnunet).problems
    assert (note.severity, note.file) == ("warning", nnunet / "imagesTr")  # the folder may hold scans
    assert "3 files or folders were not read (first: dicom/)" in note.message


def test_a_folder_in_another_case_is_told(tmp_path):
    touch(tmp_path, "Images/a.nii.gz", "imagestr/a_0000.nii.gz")
    with pytest.raises(InputError, match=r"is not a data set.*call Images images, call imagestr imagesTr"):
        load_dataset(tmp_path)
    touch(tmp_path, "images/a.nii.gz", "Labels/a.nii.gz")
    told = {problem.file.name: problem.remedy for problem in load_dataset(tmp_path).problems}
    assert told["Labels"] == "call it labels"


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("label", "labels"), ("Labels", "labels"), ("channel_name", "channel_names"), ("fileEnding", "file_ending")],
)
def test_a_slip_in_a_key_of_the_description_is_a_warning(nnunet, slip, meant):
    describe(nnunet, **{slip: {}, "numTraining": 4, "licence": "CC0", "mylab": 1})
    (problem,) = load_dataset(nnunet).problems
    assert problem.severity == "warning"
    assert f'"{slip}"' in problem.message and f'"{meant}"' in problem.remedy


def test_data_sets_and_splits_show_themselves_in_one_line(nnunet):
    dataset = load_dataset(nnunet)
    assert repr(dataset) == f"Dataset({nnunet}: 5 training, 1 test, 2 classes)"
    assert repr(dataset.split(labelled=1)) == "Split(1 labelled, 4 unlabelled)"


def test_what_may_not_be_read_is_not_called_damaged(nnunet, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(InputError, match="imagesTr: there is no permission to read it"):
        load_dataset(nnunet)
    monkeypatch.undo()
    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=r"dataset\.json: there is no permission to read it"):
        load_dataset(nnunet)


@pytest.mark.parametrize("absolute", [False, True])
def test_a_table_lists_scans_anywhere(tmp_path, absolute):
    touch(tmp_path, "x/z.nii.gz", "x/y.nii", "l/z.nii.gz", "x/t.nii.gz", "x/h.nii.gz")
    base = f"{tmp_path}/" if absolute else ""
    table = tmp_path / "scans.csv"
    table.write_text(
        "image,label,split,subject\n"
        f"{base}x/z.nii.gz,{base}l/z.nii.gz,train,Ann\n"
        f"{base}x/y.nii,,,Bob\n"
        f"{base}x/t.nii.gz,,test,\n"
        f"{base}x/h.nii.gz,{base}l/z.nii.gz,holdout,Eve\n"
    )
    for path in (table, tmp_path):
        dataset = load_dataset(path)
        assert names(dataset.train) == ["h", "y", "z"]
        assert [case.subject for case in dataset.train] == ["Eve", "Bob", "Ann"]
        assert names(dataset.test) == ["t"]
        assert dataset.holdout == ("h",)
        assert dataset.train[2].label == tmp_path / "l/z.nii.gz"
        assert dataset.root == tmp_path


def test_the_rows_of_a_table_that_are_meant_are_predicted(tmp_path):
    touch(tmp_path, "x/a.nii", "l/a.nii", "x/raw.nii", "x/t.nii")
    table = tmp_path / "scans.csv"
    table.write_text("image,label,split\nx/a.nii,l/a.nii,train\nx/raw.nii,,train\nx/t.nii,l/a.nii,test\n")
    for rows, expected in (("test", ["t"]), ("raw", ["raw"]), ("all", ["a", "raw", "t"])):
        found = find_inputs([table], channels=("MR",), rows=rows)
        assert names(found) == expected and all(case.label is None for case in found)
    table.write_text("image,label,split\nx/a.nii,l/a.nii,train\n")
    for rows in ("test", "raw"):
        with pytest.raises(InputError, match=r"has no row .*--rows"):
            find_inputs([table], channels=("MR",), rows=rows)


def test_channels_of_a_table_that_are_called_otherwise_than_the_models_are_refused(tmp_path):
    touch(tmp_path, "x/ct.nii", "x/pet.nii")
    (tmp_path / "scans.csv").write_text("image,image_2,split\nx/pet.nii,x/ct.nii,test\n")
    names_ = {"channel_names": {"0": "PET", "1": "CT"}}
    (tmp_path / "dataset.json").write_text(json.dumps(names_))
    with pytest.raises(InputError, match=r"has the channels PET, CT, and the model is for CT, PET"):
        find_inputs([tmp_path / "scans.csv"], channels=("CT", "PET"))
    assert len(find_inputs([tmp_path / "scans.csv"], channels=("PET", "CT"))) == 1
    assert len(find_inputs([tmp_path / "scans.csv"], channels=("channel 0", "channel 1"))) == 1


def test_a_folder_of_folders_says_which_ones_to_give(tmp_path):
    touch(tmp_path, "archive/patient05/study1/a.nii")
    with pytest.raises(InputError, match=r"archive: holds folders \(patient05\) and no images.*table"):
        find_inputs([tmp_path / "archive"], channels=("MR",))


@pytest.mark.parametrize(
    "text",
    [
        "image;label;split\nx/a.nii;l/a.nii;train\nx/b, later.nii;;test\n",
        'Image,LABEL , Split\nx/a.nii,l/a.nii,train\n"x/b, later.nii",,test\n',
        "image\tlabel\tsplit\nx/a.nii\tl/a.nii\ttrain\nx/b, later.nii\t\ttest\n",
    ],
)
def test_a_table_may_be_written_as_spreadsheets_do(tmp_path, text):
    touch(tmp_path, "x/a.nii", "l/a.nii", "x/b, later.nii")
    (tmp_path / "scans.csv").write_text(text)
    dataset = load_dataset(tmp_path / "scans.csv")
    assert [case.label for case in dataset.train] == [tmp_path / "l/a.nii"]
    assert names(dataset.test) == ["b, later"]


def test_a_table_holds_several_channels_and_names_scans_by_folder_where_files_repeat(tmp_path):
    touch(tmp_path, *(f"{person}/{file}.nii.gz" for person in ("p1", "p2") for file in ("t1", "t2", "seg")))
    (tmp_path / "scans.csv").write_text(
        "image,image_2,label\np1/t1.nii.gz,p1/t2.nii.gz,p1/seg.nii.gz\np2/t1.nii.gz,p2/t2.nii.gz,\n"
    )
    dataset = load_dataset(tmp_path / "scans.csv")
    assert names(dataset.train) == ["p1_t1", "p2_t1"]
    assert dataset.train[0].images == (tmp_path / "p1/t1.nii.gz", tmp_path / "p1/t2.nii.gz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,label\na.nii,\n", "must name 'image'"),
        ("image,labels\na.nii,\n", "'labels'.*not known"),
        ("image,split\na.nii,validation\n", "row 2: the split 'validation'"),
        ("image,label\n,b.nii\n", "row 2: the column 'image' is empty"),
        ("image\na.h5\n", r"row 2: the format of .*a\.h5"),
        ("image\nabsent.nii\n", r"absent\.nii: row 2 of scans\.csv names it, but it does not exist"),
        ("image\na.nii\na.nii\n", "more than once"),
        ("image\na.nii,b.nii\n", "row 2: has more fields"),
        ("image\n", "lists no scans"),
    ],
)
def test_a_wrong_table_is_refused_with_its_row(tmp_path, text, message):
    touch(tmp_path, "a.nii")
    (tmp_path / "scans.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        load_dataset(tmp_path / "scans.csv")


def test_splits_order_training_and_move_cases(tmp_path):
    root = plain(tmp_path, "abcdef", "abc")
    touch(root, "imagesUn/u.nii.gz")
    write_json(
        root / "splits.json",
        {"train": ["d", "c", "a"], "test": ["f"], "holdout": ["a"], "subjects": {"c": "Ann", "a": 7}},
    )
    dataset = load_dataset(root)
    assert names(dataset.train) == ["d", "c", "a", "u"]
    assert [case.subject for case in dataset.train] == ["d", "Ann", "7", "u"]
    assert names(dataset.test) == ["f"]
    assert dataset.holdout == ("a",)
    assert names(dataset.split(labelled=1).labelled) == ["c"]
    assert names(dataset.split(labelled=1, without=dataset.holdout).unlabelled) == ["d", "u"]
    (note,) = dataset.problems
    assert note.severity == "note"
    assert "2 cases on disk are on no side and not used: b, e" in note.message


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": ["a", "x"], "test": ["y"]}, '"train" names 1 case.*not on disk: x'),
        ({"test": ["y"]}, '"test" names 1 case.*not on disk: y'),
        ({"holdout": ["y"]}, '"holdout" names.*y'),
        ({"subjects": {"y": "Ann"}}, '"subjects" names.*y'),
        ({"train": ["a", "b"], "test": ["b"]}, "both for training and for testing: b"),
        ({"train": ["a"], "holdout": ["b"]}, '"holdout" names.*not in "train": b'),
        ({"train": ["a", "a"]}, '"train" names a more than once'),
        ({"train": "a"}, '"train" must be a list'),
        (
            {"train": ["a"], "test": ["b"], "subjects": {"a": "Ann", "b": "Ann"}},
            "for training and for testing: Ann",
        ),
        (
            {"train": ["a", "b"], "holdout": ["b"], "subjects": {"a": "A", "b": "A"}},
            "for training and held out: A",
        ),
        ([], "one JSON object"),
    ],
)
def test_wrong_splits_are_refused_by_name(tmp_path, splits, message):
    write_json(plain(tmp_path, "ab") / "splits.json", splits)
    with pytest.raises(InputError, match=rf"splits\.json.*{message}"):
        load_dataset(tmp_path)


def test_one_name_on_both_sides_of_the_folders_is_refused(nnunet):
    for channel in (0, 1):
        touch(nnunet, f"imagesTs/b_000{channel}.nii.gz")
    with pytest.raises(InputError, match=r"1 case name.*more than one scan: b \(imagesTr, imagesTs\)"):
        load_dataset(nnunet)


@pytest.mark.parametrize("splits", [{"subjects": {"b": "Ann"}}, {"holdout": ["d"]}, {"train": ["b"], "test": ["t"]}])
@pytest.mark.parametrize("other", ["imagesTs", "imagesUn"])
def test_one_name_in_two_folders_is_refused_whatever_the_splits_say(nnunet, splits, other):
    for channel in (0, 1):
        touch(nnunet, f"{other}/b_000{channel}.nii.gz")
    write_json(nnunet / "splits.json", splits)
    with pytest.raises(InputError, match=rf"more than one scan: b \(imagesTr, {other}\)"):
        load_dataset(nnunet)
    tolerated = load_dataset(nnunet, tolerant=True)
    assert "b" not in names([*tolerated.train, *tolerated.test])
    assert [problem.severity for problem in tolerated.problems].count("error") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"background": 0, "whole": [1, 2], "core": [2]}}, "'whole'.*regions"),
        ({"labels": {"background": 0, "a": 1, "b": 1}}, "'a' and 'b' both have the value 1"),
        ({"labels": {"0": "background", "1": "a", "2": "a"}}, "two values of 'labels' have one name"),
        ({"labels": {"ignore": 0, "a": 1}}, "'ignore' has the value 0"),
        ({"labels": {"background": 1, "a": 2}}, "'background' has the value 1"),
        ({"labels": {"background": 0, "a": -1}}, "'a' has the value -1"),
        ({"labels": {"background": 0, "a": 1.5}}, "'a' has the value 1.5"),
        ({"labels": {"background": 0, "all": 1}}, "cannot be called 'all'"),
        ({"labels": ["a"]}, '"labels" must be an object'),
        ({"channel_names": {"0": "T1", "2": "T2"}}, "numbered"),
        ({"file_ending": ".h5"}, r"'\.h5' cannot be read"),
    ],
)
def test_a_wrong_description_is_refused_by_name(nnunet, changes, message):
    describe(nnunet, **changes)
    with pytest.raises(InputError, match=rf"dataset\.json.*{message}"):
        load_dataset(nnunet)


def test_broken_json_is_refused_with_its_place(nnunet):
    (nnunet / "dataset.json").write_text('{"labels": \n{,}')
    with pytest.raises(InputError, match=r"dataset\.json: is not valid JSON.*line 2"):
        load_dataset(nnunet)


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a data set"):
        load_dataset(tmp_path)
    with pytest.raises(InputError, match="no such data set"):
        load_dataset(tmp_path / "absent")
    (tmp_path / "imagesTr").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        load_dataset(tmp_path)
    shutil.rmtree(tmp_path / "imagesTr")


def test_a_folder_of_dicom_series_is_told_how_to_become_a_data_set(tmp_path):
    write_phantom_series(tmp_path / "patient1", np.ones((4, 5, 3), np.int16), np.eye(4))
    with pytest.raises(InputError, match="put the DICOM series that it holds into images, or list them in a CSV table"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("names", [("a", "b"), ("a.nii", "b.1.img"), ("a.mha", "b.nrrd")])
def test_folders_of_dicom_series_are_scans_whatever_they_are_called(tmp_path, names):
    for number, name in enumerate(names):
        write_phantom_series(tmp_path / "images" / name, np.ones((4, 5, 3), np.int16), np.eye(4), seed=number)
    dataset = load_dataset(tmp_path)
    assert [case.name for case in dataset.train] == [*names]
    assert read_scan(dataset.train[1].images[0]).grid.shape == (4, 5, 3)


def test_messages_about_a_table_name_it_and_not_its_folder(tmp_path, monkeypatch):
    touch(tmp_path, "a.nii.gz", "b.nii.gz")
    (tmp_path / "scans.csv").write_text("image,label,split\na.nii.gz,,train\nb.nii.gz,,train\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^scans\.csv: no training scan has a label"):
        load_dataset("scans.csv").split(labelled=1)


def test_the_file_ending_of_a_series_is_that_of_its_files(tmp_path):
    for number, name in enumerate(("a", "b")):
        write_phantom_series(tmp_path / "images" / name, np.ones((4, 5, 3), np.int16), np.eye(4), seed=number)
    (tmp_path / "dataset.json").write_text(json.dumps({"file_ending": ".dcm"}))
    assert [case.name for case in load_dataset(tmp_path).train] == ["a", "b"]
    (tmp_path / "dataset.json").write_text(json.dumps({"file_ending": ".nii"}))
    with pytest.raises(InputError, match=r"and end in '\.nii', as dataset\.json says"):
        load_dataset(tmp_path)
