"""No command writes over a file that is not its own of that kind."""

from __future__ import annotations

import json
import shutil

import pytest

import duoseg
from duoseg.errors import InputError


@pytest.fixture
def data(phantoms, tmp_path):
    return shutil.copytree(phantoms, tmp_path / "data")


@pytest.fixture
def masks(trained, data, tmp_path):
    duoseg.predict(trained, data / "imagesTs", tmp_path / "masks", device="cpu", threads=1)
    return tmp_path / "masks"


def untouched(path, write, words) -> None:
    before = path.read_bytes()
    with pytest.raises(InputError, match=words):
        write()
    assert path.read_bytes() == before


def test_scans_labels_and_lists_are_never_written_over(trained, data, masks):
    label = min((data / "labelsTr").iterdir())
    scores = {"prediction": masks, "reference": data / "labelsTs"}
    untouched(label, lambda: duoseg.report(trained, out=label), "holds no page that duoseg wrote")
    untouched(label, lambda: duoseg.plan(data, out=label), "holds no plan that duoseg wrote")
    listed = masks / "predictions.json"
    untouched(listed, lambda: duoseg.evaluate(**scores, json=listed), "holds no scores that duoseg wrote")
    untouched(label, lambda: duoseg.evaluate(**scores, csv=label), "holds no scores that duoseg wrote")
    splits = data / "splits.json"
    splits.write_text("{}")
    untouched(splits, lambda: duoseg.suggest(trained, data, json=splits), "holds no suggestions that duoseg wrote")


def test_the_same_command_writes_over_what_it_wrote(trained, data, masks, tmp_path):
    for _ in range(2):
        duoseg.report(masks, out=tmp_path / "page.html")
        duoseg.plan(data, out=tmp_path / "plan.json")
        duoseg.evaluate(masks, data / "labelsTs", json=tmp_path / "scores.json", csv=tmp_path / "scores.csv")
        duoseg.suggest(trained, data, n=1, json=tmp_path / "next.json", device="cpu", threads=1)


def test_an_empty_file_may_be_written_over(data, tmp_path):
    (tmp_path / "plan.json").touch()
    duoseg.plan(data, out=tmp_path / "plan.json")
    assert json.loads((tmp_path / "plan.json").read_text())["patch"]


def test_the_plan_of_a_run_stays_that_of_its_weights(trained, data, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "run")
    plan = folder / "plan.json"
    untouched(
        plan, lambda: duoseg.plan(data, out=plan), "lies in the folder of a run, whose plan is that of its weights"
    )


def test_scores_of_scans_that_were_trained_on_say_so(trained, data, tmp_path):
    duoseg.predict(trained, data / "imagesTr", tmp_path / "masks", device="cpu", threads=1)
    scores = duoseg.evaluate(tmp_path / "masks", data / "labelsTr")
    (problem,) = [one for one in scores.problems if one.severity == "warning"]
    used = json.loads((trained / "cases.json").read_text())["labelled"]
    assert (
        f"{len(used)} of {len(scores.cases)} scored scans have the names of scans that were trained on"
        in problem.message
    )
    assert all(name in problem.message for name in used)
    assert (
        "trained on with their annotations"
        in duoseg.report(tmp_path / "masks", reference=data / "labelsTr").read_text()
    )


def test_masks_of_other_classes_than_the_references_are_refused(trained, data, masks):
    declared = json.loads((data / "dataset.json").read_text())
    names = [name for name, value in declared["labels"].items() if value]
    declared["labels"] = {"background": 0} | {f"other {name}": index for index, name in enumerate(names, start=1)}
    (data / "dataset.json").write_text(json.dumps(declared))
    for call in (
        lambda: duoseg.evaluate(masks, data / "labelsTs"),
        lambda: duoseg.suggest(trained, data, device="cpu", threads=1),
        lambda: duoseg.calibrate(trained, data, device="cpu", threads=1),
    ):
        with pytest.raises(InputError, match=r"declares the classes other .*, and .* is for"):
            call()


def test_some_of_the_predicted_classes_may_be_scored(data, masks):
    entries = json.loads((masks / "predictions.json").read_text())
    for entry in entries["scans"]:
        entry["classes"]["another"] = 77
    (masks / "predictions.json").write_text(json.dumps(entries))
    assert duoseg.evaluate(masks, data / "labelsTs").cases


def test_masks_that_were_predicted_are_no_scans(trained, masks, tmp_path):
    with pytest.raises(InputError, match="is a mask that `duoseg predict` wrote, and no scan"):
        duoseg.predict(trained, masks, tmp_path / "again", device="cpu", threads=1)


def test_a_mask_of_anothers_is_predicted_with_a_word(trained, data, tmp_path):
    (scan, *_) = duoseg.predict(trained, data / "labelsTs", tmp_path / "masks", device="cpu", threads=1)
    assert any("holds no other values than" in note for note in scan.notes)
