"""Scores of files and folders, and the files they are written to."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import duoseg
from duoseg.errors import InputError
from duoseg.files import MOST_TEXT_BYTES
from duoseg.scans.formats import write
from duoseg.scans.scan import Grid
from duoseg.scores.evaluate import FEWEST_CASES, PROCESS_BYTES, VOXEL_BYTES, evaluate
from duoseg.scores.output import read_scores, to_json, write_csv, write_json

METRICS = ["dice", "jaccard", "hd95_mm", "assd_mm", "nsd", "volume_ml", "reference_volume_ml"]
AFFINE = np.diag([0.5, 1.0, 2.0, 1.0])


def save(path: Path, mask: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(mask, affine), path)
    return path


def block(start: int, stop: int, value: int = 1) -> np.ndarray:
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[start:stop, 2:6, 2:6] = value
    return mask


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three cases of two classes; ``b`` lacks class 2 in the prediction, ``c`` has no prediction at all."""
    two = block(1, 3) + block(4, 6, 2)
    for case in "abc":
        save(tmp_path / "labelsTs" / f"{case}.nii.gz", two)
    save(tmp_path / "masks" / "a.nii.gz", two)
    save(tmp_path / "masks" / "b.nii.gz", block(1, 3))
    labels = {"background": 0, "posterior": 2, "anterior": 1}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    return tmp_path / "masks", tmp_path / "labelsTs"


def many(tmp_path: Path, cases: int) -> tuple[Path, Path]:
    """As many cases, some of which have values without a name, and one no prediction."""
    rng = np.random.default_rng(0)
    for index in range(cases):
        save(tmp_path / "labelsTs" / f"{index}.nii.gz", block(1, 3) + block(4, 6, 2))
        mask = rng.integers(0, 4 if index % 5 == 0 else 3, (8, 8, 8)).astype(np.uint8)
        save(tmp_path / "masks" / f"{index}.nii.gz", mask)
    (tmp_path / "masks" / "0.nii.gz").unlink()
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "anterior": 1, "posterior": 2}}))
    return tmp_path / "masks", tmp_path / "labelsTs"


def test_processes_that_share_the_cases_find_what_one_finds(tmp_path: Path) -> None:
    folders, told = many(tmp_path, 2 * FEWEST_CASES), []
    shared = evaluate(*folders, threads=2, progress=lambda *numbers: told.append(numbers))
    assert shared == evaluate(*folders)
    assert len(shared.problems) == 4
    assert told == [(done, 2 * FEWEST_CASES) for done in range(1, 2 * FEWEST_CASES + 1)]


def test_more_cases_than_memory_is_there_for_are_not_read_at_once(tmp_path: Path, monkeypatch) -> None:
    folders, used = many(tmp_path, 4 * FEWEST_CASES), []

    def noted(work, items, *, processes):
        used.append(processes)
        return map(work, items)

    monkeypatch.setattr("duoseg.scores.evaluate.in_processes", noted)
    evaluate(*folders, threads=16)
    monkeypatch.setattr("duoseg.scores.evaluate.memory_limit", lambda: 4 * PROCESS_BYTES + 6 * VOXEL_BYTES * 8**3)
    evaluate(*folders, threads=16)
    monkeypatch.setattr("duoseg.scores.evaluate.memory_limit", lambda: 1)
    evaluate(*folders, threads=16)
    assert used == [4, 2, 1]


def test_a_fault_in_another_process_is_told_as_in_this_one(tmp_path: Path) -> None:
    folders = many(tmp_path, 2 * FEWEST_CASES)
    (folders[0] / "7.nii.gz").write_bytes((folders[0] / "7.nii.gz").read_bytes()[:-40])
    with pytest.raises(InputError, match=r"7\.nii\.gz"):
        evaluate(*folders, threads=2)


def test_json_holds_names_keys_and_order_of_the_contract(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_json(evaluate(*folders), tmp_path / "scores.json")
    content = json.loads((tmp_path / "scores.json").read_text())
    assert list(content) == ["cases", "mean", "policy", "problems"]
    assert [case["case"] for case in content["cases"]] == ["a", "b", "c"]
    first = content["cases"][0]
    assert list(first) == ["case", "labels"]
    assert list(first["labels"]) == ["anterior", "posterior"]
    assert list(first["labels"]["anterior"]) == METRICS
    assert list(content["mean"]) == ["anterior", "posterior", "all"]
    assert list(content["mean"]["anterior"]) == [*METRICS, "n_undefined"]
    assert first["labels"]["anterior"]["reference_volume_ml"] == pytest.approx(2 * 4 * 4 / 1000)


def test_means_leave_undefined_distances_out_and_count_them(folders: tuple[Path, Path]) -> None:
    mean = to_json(evaluate(*folders))["mean"]
    assert mean["anterior"]["dice"] == pytest.approx(2 / 3)
    assert mean["posterior"]["dice"] == pytest.approx(1 / 3)
    assert mean["all"]["dice"] == pytest.approx(1 / 2)
    assert (
        mean["anterior"]["n_undefined"],
        mean["posterior"]["n_undefined"],
        mean["all"]["n_undefined"],
    ) == (1, 2, 3)
    assert mean["posterior"]["hd95_mm"] == 0.0


def test_missing_prediction_is_a_problem_and_scores_as_empty(folders: tuple[Path, Path]) -> None:
    scores = evaluate(*folders)
    missing = scores.cases[2].labels["anterior"]
    assert missing["dice"] == 0.0 and missing["hd95_mm"] is None and missing["volume_ml"] == 0.0
    (problem,) = scores.problems
    assert problem.severity == "error" and "'c'" in problem.message


def test_empty_prediction_folder_scores_every_case_as_empty(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    scores = evaluate(tmp_path / "none", folders[1])
    assert scores.means()["all"]["dice"] == 0.0 and scores.means()["all"]["hd95_mm"] is None
    assert len(scores.problems) == 3


def test_predictions_without_reference_are_noted_and_not_scored(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "z.nii.gz", block(1, 2))
    scores = evaluate(*folders)
    assert [case.case for case in scores.cases] == ["a", "b", "c"]
    assert [p.severity for p in scores.problems] == ["error", "note"]


def test_labels_are_values_where_nothing_names_them(tmp_path: Path) -> None:
    save(tmp_path / "r/labels" / "a.nii", block(1, 3, 10))
    save(tmp_path / "r/labels" / "b.nii", block(1, 3, 2))
    save(tmp_path / "p" / "a.nii", block(1, 3, 10))
    save(tmp_path / "p" / "b.nii.gz", block(1, 3, 3))
    scores = evaluate(tmp_path / "p", tmp_path / "r/labels")
    assert [list(case.labels) for case in scores.cases] == [["2", "3", "10"]] * 2
    assert scores.cases[0].labels["2"]["dice"] == 1.0  # absent from both masks
    assert scores.cases[1].labels["3"]["dice"] == 0.0  # invented


def test_two_files_pair_whatever_their_names(tmp_path: Path) -> None:
    prediction, reference = (
        save(tmp_path / "p.nii", block(1, 3)),
        save(tmp_path / "r" / "x.nii.gz", block(1, 4)),
    )
    scores = evaluate(prediction, reference)
    (case,) = scores.cases
    assert case.case == "x"
    assert case.labels["1"]["dice"] == pytest.approx(2 * 2 / 5)
    assert case.labels["1"]["hd95_mm"] == pytest.approx(0.5)
    assert scores.means()["all"]["dice"] == case.labels["1"]["dice"]


def test_named_dataset_json_and_ignore_value_are_used(tmp_path: Path) -> None:
    reference = save(tmp_path / "r" / "x.nii", block(1, 3) + block(4, 6, 7))
    prediction = save(tmp_path / "x.nii", block(1, 3) + block(4, 6, 1))
    names = tmp_path / "names" / "dataset.json"
    names.parent.mkdir()
    names.write_text(json.dumps({"labels": {"background": 0, "organ": 1, "ignore": 7}}))
    scores = evaluate(prediction, reference, dataset_json=names)
    assert scores.cases[0].labels["organ"]["dice"] == 1.0
    assert scores.policy["ignore_value"] == 7
    assert not scores.problems


def test_other_grid_is_refused_with_the_distance_in_mm(folders: tuple[Path, Path]) -> None:
    moved = AFFINE.copy()
    moved[0, 3] = 4.0
    save(folders[0] / "b.nii.gz", block(1, 3), moved)
    with pytest.raises(InputError, match=r"b\.nii\.gz.*up to 4 mm \(8 voxels\).*nearest neighbour"):
        evaluate(*folders)
    save(folders[0] / "b.nii.gz", np.zeros((8, 8, 9), np.uint8))
    with pytest.raises(InputError, match="its shape 8 x 8 x 9 is not the 8 x 8 x 8 of"):
        evaluate(*folders)


def test_a_smaller_mask_of_a_format_without_segments_is_refused_before_anything_is_scored(folders) -> None:
    told: list[object] = []
    save(folders[0] / "b.nii.gz", block(1, 3)[:, :, :6])
    with pytest.raises(InputError, match="its shape 8 x 8 x 6 is not"):
        evaluate(*folders, progress=lambda *said: told.append(said))
    assert not told


def test_a_link_to_the_references_has_the_description_beside_itself(folders, tmp_path: Path) -> None:
    expected = evaluate(*folders).cases
    (tmp_path / "store").mkdir()
    folders[1].rename(tmp_path / "store" / "references")
    folders[1].symlink_to(tmp_path / "store" / "references")
    assert [case.labels for case in evaluate(*folders).cases] == [case.labels for case in expected]


def test_a_name_that_is_no_text_is_refused_before_anything_is_scored(folders) -> None:
    try:
        os.rename(folders[0] / "a.nii.gz", os.fsencode(folders[0]) + b"/caf\xe9.nii.gz")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    with pytest.raises(InputError, match="is no text"):
        evaluate(*folders)


def test_masks_stored_in_another_axis_order_score_as_the_same_masks(folders: tuple[Path, Path]) -> None:
    mask = block(1, 3) + block(4, 6, 2)
    mask[1, 1, 1] = 0  # no symmetry
    save(folders[0] / "b.nii.gz", mask)
    expected = evaluate(*folders).cases[1].labels
    turned = nib.Nifti1Image(mask, AFFINE).as_reoriented(np.array([[1, 1], [0, -1], [2, 1]]))
    nib.save(turned, folders[0] / "b.nii.gz")
    assert evaluate(*folders).cases[1].labels == expected


def test_a_reference_stored_without_its_empty_rim_is_compared_on_the_whole_grid(tmp_path: Path) -> None:
    mask = block(1, 3)
    save(tmp_path / "p" / "x.nii", block(1, 4))
    save(tmp_path / "whole" / "x.nii", mask)
    part = AFFINE.copy()
    part[:3, 3] += part[:3, :3] @ (1, 2, 2)
    (tmp_path / "r").mkdir()
    write(tmp_path / "r" / "x.seg.nrrd", mask[1:3, 2:6, 2:6], grid=Grid((2, 4, 4), part), segments={"1": 1})
    expected = evaluate(tmp_path / "p", tmp_path / "whole").cases[0].labels
    assert evaluate(tmp_path / "p", tmp_path / "r").cases[0].labels == expected


def test_segmentations_that_are_cropped_each_to_its_own_box_are_compared_on_the_box_around_both(tmp_path: Path) -> None:
    one, other = block(1, 4), block(2, 6)
    for kind, mask, (low, high) in (("r", one, (1, 4)), ("p", other, (2, 6))):
        save(tmp_path / f"whole-{kind}" / "x.nii", mask)
        part = AFFINE.copy()
        part[:3, 3] += part[:3, :3] @ (low, 2, 2)
        (tmp_path / kind).mkdir()
        grid = Grid((high - low, 4, 4), part)
        write(tmp_path / kind / "x.seg.nrrd", mask[low:high, 2:6, 2:6], grid=grid, segments={"1": 1})
    expected = evaluate(tmp_path / "whole-p", tmp_path / "whole-r").cases[0].labels
    assert evaluate(tmp_path / "p", tmp_path / "r").cases[0].labels == expected


def test_a_mask_shifted_by_whole_voxels_is_refused(tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[:3, 3] += moved[:3, :3] @ (1, 0, 0)
    save(tmp_path / "r" / "x.nii", block(1, 3))
    save(tmp_path / "p" / "x.nii", block(1, 3), moved)
    with pytest.raises(InputError, match=r"0\.5 mm"):
        evaluate(tmp_path / "p", tmp_path / "r")


def test_distances_on_a_sheared_grid_are_those_between_points_in_the_world(tmp_path: Path) -> None:
    affine = np.array([[1, 0, 0, 3], [0, 1, 0.8, -5], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    one, other = np.zeros((6, 9, 5), np.uint8), np.zeros((6, 9, 5), np.uint8)
    one[2, 3, 1] = other[4, 4, 3] = 1
    save(tmp_path / "p" / "x.nii", one, affine)
    save(tmp_path / "r" / "x.nii", other, affine)
    apart = float(np.linalg.norm(affine[:3, :3] @ (2, 1, 2)))
    scores = evaluate(tmp_path / "p", tmp_path / "r").cases[0].labels["1"]
    assert scores["hd95_mm"] == pytest.approx(apart, abs=1e-4)  # the file's affine is float32
    assert scores["assd_mm"] == pytest.approx(apart, abs=1e-4)
    assert scores["volume_ml"] == pytest.approx(0.003, rel=1e-5)


def test_rounding_of_the_affine_is_no_difference(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "b.nii.gz", block(1, 3), AFFINE + 1e-5)
    assert evaluate(*folders).cases[1].labels["anterior"]["dice"] == 1.0


def test_unnamed_values_are_reported(folders: tuple[Path, Path]) -> None:
    save(folders[0] / "b.nii.gz", block(1, 3) + block(5, 6, 9))
    problems = evaluate(*folders).problems
    assert any(
        p.severity == "warning" and "value 9 belongs" in p.message and p.file.name == "b.nii.gz" for p in problems
    )


def test_float_masks_are_read_and_probability_maps_refused(tmp_path: Path) -> None:
    reference = save(tmp_path / "r" / "x.nii", block(1, 3).astype(np.float32))
    assert evaluate(reference, reference).means()["1"]["dice"] == 1.0
    soft = save(tmp_path / "p.nii", np.full((8, 8, 8), 0.37, np.float32))
    with pytest.raises(InputError, match=r"p\.nii.*0\.37"):
        evaluate(soft, reference)


def test_empty_masks_without_names_are_one_perfect_label(tmp_path: Path) -> None:
    empty = save(tmp_path / "r" / "x.nii", np.zeros((4, 4, 4), np.uint8))
    assert evaluate(empty, empty).means()["1"]["dice"] == 1.0


@pytest.mark.parametrize(
    ("labels", "message"),
    [({"whole": [1, 2]}, "regions"), ({"all": 1}, "'all'")],
)
def test_unusable_names_are_refused(folders: tuple[Path, Path], labels: dict, message: str) -> None:
    folders[1].joinpath("dataset.json").write_text(json.dumps({"labels": labels}))
    with pytest.raises(InputError, match=message):
        evaluate(*folders)


def test_description_without_classes_leaves_values_to_name_themselves(folders: tuple[Path, Path]) -> None:
    described = folders[1].parent / "dataset.json"
    described.write_text(json.dumps({"channel_names": {"0": "MR"}}))
    assert list(evaluate(*folders).means()) == ["1", "2", "all"]
    described.write_text(json.dumps({"labels": {"background": 0, "ignore": 2}}))
    scores = evaluate(*folders)
    assert list(scores.means()) == ["1", "all"] and scores.policy["ignore_value"] == 2
    with pytest.raises(InputError, match="no 'labels'"):
        evaluate(*folders, dataset_json=described)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 3e9])
def test_masks_with_values_that_are_no_integers_are_refused(tmp_path: Path, wrong: float) -> None:
    mask = block(1, 3).astype(np.float32)
    mask[0, 0, 0] = wrong
    path = save(tmp_path / "r" / "x.nii", mask)
    with pytest.raises(InputError, match=r"x\.nii: 1 voxel (is|has)"):
        evaluate(path, path)


def test_values_below_nothing_are_no_class(tmp_path: Path) -> None:
    mask = save(tmp_path / "r" / "x.nii", block(1, 3))
    odd = save(tmp_path / "p" / "x.nii", block(1, 3).astype(np.int16) - 2 * block(5, 6).astype(np.int16))
    with pytest.raises(InputError, match=r"p/x\.nii: holds the value -2, and no class is below 0"):
        evaluate(odd, mask)


def test_a_description_that_is_not_there_or_called_otherwise_is_told(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"none\.json: there is no such file"):
        evaluate(*folders, dataset_json=tmp_path / "none.json")
    named = tmp_path / "my.json"
    named.write_text((tmp_path / "dataset.json").read_text())
    with pytest.raises(InputError, match=r"my\.json: class names come from a file called dataset\.json; rename it"):
        evaluate(*folders, dataset_json=named)


def test_scan_in_place_of_a_mask_is_told(tmp_path: Path) -> None:
    mask = save(tmp_path / "r" / "x.nii", block(1, 3))
    scan = save(tmp_path / "p" / "x.nii", np.arange(512, dtype=np.int16).reshape(8, 8, 8))
    with pytest.raises(InputError, match=r"p/x\.nii: looks like a scan, not a mask: it holds 511 different values"):
        evaluate(scan, mask)
    with pytest.raises(InputError, match=r"p/x\.nii: looks like a scan"):
        evaluate(mask, scan)
    atlas = save(tmp_path / "r" / "y.nii", np.arange(512, dtype=np.int16).reshape(8, 8, 8) % 128)
    assert evaluate(atlas, atlas).means()["all"]["dice"] == 1.0


def test_rounding_in_a_mask_is_no_other_value(tmp_path: Path) -> None:
    exact = save(tmp_path / "r" / "x.nii", block(1, 3, 3))
    rounded = save(tmp_path / "p" / "x.nii", block(1, 3, 3) * np.float32(1 + 1e-6))
    assert evaluate(rounded, exact).means()["3"]["dice"] == 1.0


def test_volume_of_sheared_voxels_is_that_of_the_parallelepiped(tmp_path: Path) -> None:
    tilted = np.diag([1.0, 1.0, 1.0, 1.0])
    tilted[1, 2] = 0.36
    mask = save(tmp_path / "r" / "x.nii", block(1, 3), tilted)
    assert evaluate(mask, mask).means()["1"]["volume_ml"] == pytest.approx(2 * 4 * 4 / 1000)


def test_folders_that_do_not_pair_are_refused(tmp_path: Path) -> None:
    prediction = save(tmp_path / "p" / "a_0000.nii.gz", block(1, 3))
    reference = save(tmp_path / "r" / "a.nii.gz", block(1, 3))
    with pytest.raises(InputError, match=r"'a_0000' here, 'a' there"):
        evaluate(prediction.parent, reference.parent)
    with pytest.raises(InputError, match="no such file"):
        evaluate(tmp_path / "absent", reference)
    with pytest.raises(InputError, match=r"names\.json"):
        evaluate(reference, reference, dataset_json=tmp_path / "names.json")
    with pytest.raises(InputError, match="is a file but"):
        evaluate(prediction, reference.parent)
    save(tmp_path / "p" / "a_0000.nii", block(1, 3))
    with pytest.raises(InputError, match="both masks of case 'a_0000'"):
        evaluate(prediction.parent, reference.parent)


@pytest.mark.parametrize("place", ["masks/a.nii.gz", "labelsTs/b.nii.gz", "dataset.json", "scores.csv"])
def test_scores_never_take_the_place_of_what_they_are_made_of_or_of_each_other(folders, tmp_path: Path, place) -> None:
    before = (tmp_path / place).read_bytes() if (tmp_path / place).exists() else None
    with pytest.raises(InputError, match="write them elsewhere"):
        duoseg.evaluate(*folders, csv=tmp_path / "scores.csv", json=tmp_path / place)
    assert before is None or (tmp_path / place).read_bytes() == before


def test_segments_that_contradict_each_other_are_not_scored_by_their_numbers(tmp_path: Path) -> None:
    grid, both = Grid((8, 8, 8), AFFINE), block(1, 3) + block(4, 6, 2)
    write(tmp_path / "p" / "a.seg.nrrd", both, grid=grid, segments={"liver": 1, "spleen": 2})
    write(tmp_path / "r" / "a.seg.nrrd", both, grid=grid, segments={"spleen": 1, "liver": 2})
    with pytest.raises(InputError, match=r"'liver' has the value 1, and 2 in a\.seg\.nrrd"):
        evaluate(tmp_path / "p", tmp_path / "r")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1, "tumour": 2}}))
    write(tmp_path / "r" / "a.seg.nrrd", both, grid=grid, segments={"liver": 1, "tumour": 2})
    found = evaluate(tmp_path / "p", tmp_path / "r").problems
    assert any("'spleen' has the value 2, which the data set declares as 'tumour'" in one.message for one in found)


def test_csv_has_a_row_per_case_and_label_and_empty_cells_where_undefined(folders, tmp_path: Path) -> None:
    write_csv(evaluate(*folders), tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["case"], row["label"]) for row in rows[:2]] == [("a", "anterior"), ("a", "posterior")]
    assert list(rows[0]) == ["case", "label", *METRICS]
    assert rows[3]["hd95_mm"] == "" and float(rows[3]["dice"]) == 0.0


def test_table_shows_means_and_on_request_cases(folders: tuple[Path, Path]) -> None:
    scores = evaluate(*folders, tolerance_mm=2.0)
    means = scores.table()
    assert [row[0] for row in means.rows] == ["anterior", "posterior", "all"]
    assert "NSD 2 mm" in means.columns and means.rows[0][1] == "0.667" and means.rows[1][-1] == "2"
    every = scores.table(cases=True)
    assert len(every.rows) == 3 * 2 + 3
    assert all(len(row) == len(every.columns) for row in every.rows)
    assert every.rows[3][4] == "-"


def test_progress_is_told_of_every_case(folders: tuple[Path, Path]) -> None:
    told: list[tuple[int, int]] = []
    evaluate(*folders, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_mask_of_nearly_the_name_of_a_reference_is_offered(tmp_path):
    voxels = np.ones((3, 3, 3), np.uint8)
    for name in ("truth/Pat_01", "truth/x", "masks/pat_1", "masks/x"):
        path = tmp_path / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    (problem,) = [
        one for one in duoseg.evaluate(tmp_path / "masks", tmp_path / "truth").problems if one.severity == "error"
    ]
    assert "rename that of 'pat_1' if it is meant" in problem.remedy


@pytest.mark.parametrize(
    "damaged",
    ["{", "[]", '{"scans": 5}', '{"scans": [{"case": "a", "runs": null}]}', '{"scans": [{"case": "a", "classes": 1}]}'],
)
def test_masks_beside_a_damaged_list_of_predictions_are_scored_with_a_warning(folders, damaged: str) -> None:
    plain = duoseg.evaluate(*folders)
    assert not any("predictions.json" in str(problem) for problem in plain.problems)  # which is not there
    (folders[0] / "predictions.json").write_text(damaged)
    scores = duoseg.evaluate(*folders)
    assert scores.cases == plain.cases
    (problem,) = [one for one in scores.problems if one.file == folders[0] / "predictions.json"]
    assert problem.severity == "warning" and "unknown of which classes and scans" in problem.message


def test_scores_of_very_many_scans_and_classes_are_read_again(folders, tmp_path: Path) -> None:
    scores = evaluate(*folders)
    write_json(scores, tmp_path / "scores.json")
    with (tmp_path / "scores.json").open("a") as file:
        file.write(" " * MOST_TEXT_BYTES)  # as long as hundreds of thousands of rows, and read in less time
    assert read_scores(tmp_path / "scores.json") == scores
