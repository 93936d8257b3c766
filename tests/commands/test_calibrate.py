"""Calibrating a run: each annotated scan is predicted unseen, and predictions then say what Dice to expect."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import duoseg
from duoseg.commands.looking import look_at
from duoseg.console import Console
from duoseg.errors import InputError
from duoseg.files import held, read_json
from duoseg.planning.reading import read_channels
from duoseg.prediction.judge import Judge
from duoseg.prediction.judgement import Judgement
from duoseg.prediction.typical import Typical, impression_of
from duoseg.scans.dataset import load_dataset
from duoseg.scans.phantoms import write_phantom_dataset
from duoseg.scores.policy import BOTH_EMPTY
from duoseg.scores.results import CaseScores


@pytest.fixture(scope="module")
def calibrated(trained: Path, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained run, calibrated."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("calibrated") / "run")
    cache = tmp_path_factory.mktemp("cache")
    duoseg.calibrate(folder, phantoms, folds=2, steps=2, cache=cache, device="cpu", threads=1)
    return folder


def test_each_annotated_scan_is_predicted_once_by_a_model_that_had_not_seen_it(calibrated):
    labelled = read_json(calibrated / "cases.json")["labelled"]
    found = read_json(calibrated / "calibration.json")
    assert sorted(scan["case"] for scan in found["scans"]) == sorted(labelled)
    assert found["folds"] == 2 and found["steps"] == 2 and found["modelled"]
    masks = {entry["case"]: entry for entry in read_json(calibrated / "calibration/masks/predictions.json")["scans"]}
    assert {entry["runs"][0] for entry in masks.values()} == {
        str(calibrated / "calibration" / fold / "run") for fold in ("fold1", "fold2")
    }
    assert not list((calibrated / "calibration").glob("fold*"))  # as large as the run, and no longer needed


def test_its_scores_are_those_of_the_cross_predicted_masks(calibrated, phantoms):
    scores = duoseg.evaluate(calibrated / "calibration" / "masks", phantoms / "labelsTr")
    dice = {case.case: case.dice_of_present for case in scores.cases}
    for scan in read_json(calibrated / "calibration.json")["scans"]:
        assert scan["dice"] == pytest.approx(dice[scan["case"]])


def test_the_page_of_the_run_shows_the_annotated_scans(calibrated):
    page = (calibrated / "report.html").read_text()
    for case in read_json(calibrated / "cases.json")["labelled"]:
        assert case in page
    assert "had not seen it" in page and 'class="layer-truth"' in page


def test_a_calibrated_run_can_be_viewed_with_the_true_masks(calibrated, monkeypatch):
    monkeypatch.setattr("duoseg.reporting.viewing.viewer_script", lambda: "niivue = {};")
    with duoseg.view(calibrated) as server:
        found = server.find(f"127.0.0.1:{server.server_port}", f"/{server.address.split('/')[3]}/volumes/0/truth.nii")
        assert found is not None and found[1]()[344:348] == b"n+1\0"


def test_predictions_say_which_dice_to_expect_least_trusted_first(run, calibrated, phantoms, tmp_path):
    status, said, _ = run("predict", calibrated, phantoms / "imagesTs", "--out", tmp_path / "masks", "--uncertainty")
    entries = read_json(tmp_path / "masks" / "predictions.json")["scans"]
    assert status == 0 and "expected Dice" in said
    for entry in entries:
        expected = entry["expected_dice"]
        assert 0 <= expected["low"] <= expected["dice"] <= expected["high"] <= 1 and expected["modelled"]
    ranked = sorted(entries, key=lambda entry: (not entry["unlike"], entry["trust"]))
    assert sorted(said.index(entry["case"]) for entry in ranked) == [said.index(entry["case"]) for entry in ranked]
    assert run("report", tmp_path / "masks")[0] == 0
    page = (tmp_path / "masks" / "report.html").read_text()
    assert "Expected Dice" in page and "no guarantee" in page
    for how in ("Every choice that was made", "Software and machine.", "Dual-Task Mutual Learning"):
        assert how in page


def test_a_calibration_of_other_weights_is_not_used(calibrated, phantoms, tmp_path, caplog):
    folder = shutil.copytree(calibrated, tmp_path / "run")
    content = read_json(folder / "calibration.json")
    (folder / "calibration.json").write_text(json.dumps({**content, "weights": "0" * 64}))
    (scan, *_) = duoseg.predict(folder, phantoms / "imagesTs", tmp_path / "masks", uncertainty=True, device="cpu")
    assert scan.judgement is not None and scan.judgement.expected is None and "duoseg calibrate" in caplog.text
    assert "had not seen it" not in duoseg.report(folder).read_text()


def test_a_model_in_memory_tells_the_dice_to_expect_as_predicted_files_do(calibrated, trained, phantoms, tmp_path):
    asked = {"uncertainty": True, "device": "cpu", "threads": 1}
    (written, *_) = duoseg.predict(calibrated, phantoms / "imagesTs", tmp_path / "masks", **asked)
    scan = read_channels(load_dataset(phantoms).test[0])
    known, unknown = (duoseg.load(run, device="cpu").predict(*scan, uncertainty=True) for run in (calibrated, trained))
    assert known.judgement == written.judgement and known.judgement.expected is not None
    assert f"expected Dice {known.judgement.expected}" in known._repr_html_()
    assert unknown.judgement == replace(known.judgement, expected=None, unlike=None)


def test_a_calibration_of_other_prediction_settings_is_not_used(calibrated, phantoms, tmp_path, caplog):
    asked = {"uncertainty": True, "mirror": True, "device": "cpu", "threads": 1}
    (scan, *_) = duoseg.predict(calibrated, phantoms / "imagesTs", tmp_path / "masks", **asked)
    assert scan.judgement is not None and scan.judgement.expected is None
    assert "other prediction settings (mirror off" in caplog.text


def test_going_on_with_predictions_makes_those_anew_that_an_earlier_calibration_judged(
    trained, calibrated, phantoms, tmp_path
):
    folder = shutil.copytree(trained, tmp_path / "run")
    asked = {"uncertainty": True, "resume": True, "device": "cpu", "threads": 1}
    assert len(duoseg.predict(folder, phantoms / "imagesTs", tmp_path / "masks", **asked)) == 2
    for name in ("calibration.json", "typical.safetensors"):
        shutil.copy(calibrated / name, folder)
    anew = duoseg.predict(folder, phantoms / "imagesTs", tmp_path / "masks", **asked)
    assert [scan.judgement.expected is not None for scan in anew] == [True, True]
    assert not duoseg.predict(folder, phantoms / "imagesTs", tmp_path / "masks", **asked)
    assert not duoseg.predict(folder, phantoms / "imagesTs", tmp_path / "masks", **(asked | {"uncertainty": False}))


def test_what_is_unlike_the_training_scans_does_not_depend_on_the_order_nor_on_who_asks(trained, tmp_path):
    data = write_phantom_dataset(tmp_path / "data", subjects=9, labelled=2, test=1, size=(24, 24, 16))
    cases = load_dataset(data).train
    model = duoseg.load(trained, device="cpu")  # dtml, whose prediction asks one student of two
    impressions = look_at(cases, model, lambda _, scan, mask, features: (scan, mask, features), None, agreement=True)
    seen = [impression_of(scan, mask.mask, features) for scan, mask, features in impressions.values()]
    typical = Typical.of(seen, [False] * len(seen), [case.person for case in cases])
    expected = {
        name: typical.unlike(impression_of(scan, mask.mask, features))
        for name, (scan, mask, features) in impressions.items()
    }
    assert sum(map(bool, expected.values())) <= 1
    for order in (cases, cases[::-1]):
        model = duoseg.load(trained, device="cpu")
        model.judge = Judge(None, typical)
        for case in order:
            judgement = model.predict(*read_channels(case), uncertainty=True).judgement
            assert judgement is not None and judgement.unlike == expected[case.name]


def test_what_encoders_make_of_a_scan_does_not_depend_on_what_they_saw_before(trained, phantoms):
    model = duoseg.load(trained, device="cpu")
    scan = model.prepare(*read_channels(load_dataset(phantoms).test[0]))
    first, again = (model.look(scan, agreement=True)[1] for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("averages", [False, True])
def test_agreement_costs_no_more_than_asking_each_student_once_and_leaves_the_mask(trained, phantoms, averages):
    model = duoseg.load(trained, device="cpu")
    (method,) = model._methods
    method.averages = averages
    scan = model.prepare(*read_channels(load_dataset(phantoms).test[0]))
    model.segment(scan, agreement=True)  # a patch of nothing is asked about once
    asked = []
    for name in ("region", "boundary"):
        getattr(method, name).register_forward_hook(lambda *_, name=name: asked.append(name))
    alone = model.segment(scan)
    once = asked.count("region")
    asked.clear()
    both = model.segment(scan, agreement=True)
    assert (asked.count("region"), asked.count("boundary")) == (once, once) and once > 0
    assert torch.equal(both.probabilities, alone.probabilities)


def test_a_method_with_an_answer_of_its_own_is_asked_for_that(trained, phantoms, monkeypatch):
    model = duoseg.load(trained, device="cpu")
    scan = model.prepare(*read_channels(load_dataset(phantoms).test[0]))
    monkeypatch.setattr(type(model._methods[0]), "probabilities", lambda method, image: [*method.members(image)][1])
    alone, both = model.segment(scan), model.segment(scan, agreement=True)
    assert torch.equal(both.probabilities, alone.probabilities)


def test_scans_in_which_nothing_was_found_tell_nothing_of_the_dice_to_expect(
    calibrated, trained, phantoms, tmp_path, monkeypatch, capsys
):
    from duoseg.commands import calibrate as command

    folder = shutil.copytree(trained, tmp_path / "run")
    evaluate = command.evaluate

    def emptied(masks, *arguments, **options):
        entries = read_json(masks / "predictions.json")["scans"]
        for entry in entries[:-1]:
            entry["volume_ml"] = dict.fromkeys(entry["volume_ml"], 0.0)
        (masks / "predictions.json").write_text(json.dumps({"scans": entries}))
        return evaluate(masks, *arguments, **options)

    monkeypatch.setattr(command, "evaluate", emptied)
    with pytest.raises(InputError, match="found something in 1 of 3 annotated scans"):
        duoseg.calibrate(folder, phantoms, folds=2, steps=2, cache=tmp_path / "cache", device="cpu", threads=1)
    model = duoseg.load(calibrated, device="cpu")
    scan = model.prepare(*read_channels(load_dataset(phantoms).test[0]))
    seen, features = model.look(scan, agreement=True)
    nothing = replace(seen, mask=np.zeros_like(seen.mask))
    judgement = model.judge.judgement(scan, nothing, features)
    assert judgement.expected is None and judgement.unlike == ()
    assert Judgement.from_json(judgement.to_json()) == replace(
        judgement, doubt=round(judgement.doubt, 4), trust=round(judgement.trust, 4)
    )


def test_a_run_that_went_on_from_another_is_calibrated_with_the_steps_of_both(
    trained, phantoms, tiny_protocol, tmp_path
):
    asked = {"cache": tmp_path / "cache", "device": "cpu", "threads": 1}
    run = duoseg.train(phantoms, tmp_path / "run", start_from=trained, config=tiny_protocol, method="dtml", **asked)
    assert read_json(run.folder / "origin.json") == {"from": str(trained), "steps": 12}
    assert f"{trained} (12 steps)" in (run.folder / "report.html").read_text()
    duoseg.calibrate(run.folder, phantoms, folds=2, **asked)
    assert read_json(run.folder / "calibration.json")["steps"] == 12  # half of 12 and 12


def test_it_can_be_done_again_after_the_data_have_moved(trained, phantoms, tmp_path, capsys):
    folder = shutil.copytree(trained, tmp_path / "run")
    asked = {"folds": 2, "steps": 2, "cache": tmp_path / "cache", "device": "cpu", "threads": 1}
    data = shutil.copytree(phantoms, tmp_path / "data")
    duoseg.calibrate(folder, data, **asked)
    found = duoseg.calibrate(folder, data.rename(tmp_path / "elsewhere"), **asked)
    entries = read_json(folder / "calibration" / "masks" / "predictions.json")["scans"]
    assert len(entries) == 3 and all("elsewhere" in entry["images"][0] for entry in entries)
    Console(quiet=False).calibrate(found)
    told = capsys.readouterr().out
    assert "fewer than 9 persons, so its 90% intervals are those of a model" in told
    assert "No scan will be told as unlike the training scans" in told  # which are too few for that


def test_a_damaged_calibration_is_told(calibrated, phantoms, tmp_path):
    folder = shutil.copytree(calibrated, tmp_path / "run")
    asked = {"uncertainty": True, "device": "cpu", "threads": 1}
    content = read_json(folder / "calibration.json")
    for scans in ([], content["scans"][:1], [{"case": "a"}], "a"):
        (folder / "calibration.json").write_text(json.dumps({**content, "scans": scans}))
        with pytest.raises(InputError, match="calibration is damaged"):
            duoseg.predict(folder, phantoms / "imagesTs", tmp_path / "masks", **asked)
    (folder / "calibration.json").write_text(json.dumps(content))
    (folder / "typical.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="calibration is damaged"):
        duoseg.predict(folder, phantoms / "imagesTs", tmp_path / "masks", **asked)


def test_without_its_annotated_scans_the_page_of_a_run_has_their_scores_alone(calibrated, tmp_path, caplog):
    folder = shutil.copytree(calibrated, tmp_path / "run")
    listed = folder / "calibration" / "masks" / "predictions.json"
    listed.write_text(listed.read_text().replace("imagesTr", "elsewhere"))
    page = duoseg.report(folder).read_text()
    assert "had not seen it" in page and 'class="layer-truth"' not in page and "is not shown" in caplog.text


def test_it_needs_the_data_of_the_run_and_two_annotated_persons(trained, phantoms, tmp_path):
    data = shutil.copytree(phantoms, tmp_path / "data")
    (case, *others) = read_json(trained / "cases.json")["labelled"]
    (data / "labelsTr" / f"{case}.nii.gz").unlink()
    with pytest.raises(InputError, match=f"{case}.*not annotated"):
        duoseg.calibrate(trained, data, device="cpu")
    alone = shutil.copytree(trained, tmp_path / "alone")
    cases = read_json(alone / "cases.json")
    (alone / "cases.json").write_text(json.dumps({"labelled": [case], "unlabelled": [*others, *cases["unlabelled"]]}))
    with pytest.raises(InputError, match="one person"):
        duoseg.calibrate(alone, phantoms, device="cpu")


def test_of_many_training_scans_every_annotated_one_is_known_again(trained, phantoms, tmp_path, monkeypatch):
    from duoseg.commands import calibrate as command

    monkeypatch.setattr(command, "MOST_TYPICAL", 4)
    folder = shutil.copytree(trained, tmp_path / "run")
    asked = {"device": "cpu", "threads": 1}
    duoseg.calibrate(folder, phantoms, folds=2, steps=2, cache=tmp_path / "cache", **asked)
    found = duoseg.predict(folder, phantoms / "imagesTr", tmp_path / "masks", uncertainty=True, **asked)
    labelled = read_json(folder / "cases.json")["labelled"]
    assert {scan.case for scan in found if scan.judgement.trained_on} == {*labelled}
    typical = load_file(folder / "typical.safetensors")
    assert len(typical["annotated"]) == 4 < len(found) and typical["annotated"].sum() == len(labelled)


def test_after_an_interruption_it_can_be_started_differently(trained, phantoms, tmp_path, monkeypatch):
    from duoseg.commands import calibrate as command

    folder = shutil.copytree(trained, tmp_path / "run")
    asked = {"cache": tmp_path / "cache", "device": "cpu", "threads": 1}
    predict = command.predict

    def stopped(runs, *arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "predict", stopped)
    with pytest.raises(KeyboardInterrupt):
        duoseg.calibrate(folder, phantoms, folds=2, steps=2, **asked)
    monkeypatch.setattr(command, "predict", predict)
    duoseg.calibrate(folder, phantoms, folds=3, steps=3, **asked)
    assert read_json(folder / "calibration.json")["steps"] == 3


def test_no_steps_are_too_few(trained, phantoms):
    with pytest.raises(InputError, match="--steps: 0 are too few"):
        duoseg.calibrate(trained, phantoms, steps=0, device="cpu")


def test_without_its_folder_the_page_of_a_run_is_that_of_any(calibrated, tmp_path, caplog):
    folder = shutil.copytree(calibrated, tmp_path / "run")
    shutil.rmtree(folder / "calibration")
    assert "had not seen it" not in duoseg.report(folder).read_text() and "are not shown" in caplog.text


def test_it_goes_on_where_it_stopped(trained, phantoms, tmp_path, monkeypatch):
    from duoseg.commands import calibrate as command

    folder = shutil.copytree(trained, tmp_path / "run")
    asked = {"folds": 2, "steps": 2, "cache": tmp_path / "cache", "device": "cpu", "threads": 1}
    predict = command.predict

    def stopped(runs, *arguments, **options):
        if Path(runs).parent.name == "fold2":
            raise KeyboardInterrupt
        return predict(runs, *arguments, **options)

    monkeypatch.setattr(command, "predict", stopped)
    with pytest.raises(KeyboardInterrupt):
        duoseg.calibrate(folder, phantoms, **asked)
    monkeypatch.undo()
    train, went_on = command.train, []
    monkeypatch.setattr(command, "train", lambda *a, **o: went_on.append(o["resume"]) or train(*a, **o))
    duoseg.calibrate(folder, phantoms, **asked)
    assert went_on == [True, True] and (folder / "calibration.json").is_file()


def test_a_class_in_neither_mask_nor_truth_raises_no_dice_to_expect(trained, phantoms, tmp_path, monkeypatch):
    from duoseg.commands import calibrate as command

    folder = shutil.copytree(trained, tmp_path / "run")
    evaluate, organ = command.evaluate, dict[str, float | None]()

    def with_an_absent_tumour(*arguments, **options):
        scores = evaluate(*arguments, **options)
        organ.update({case.case: case.dice for case in scores.cases})
        absent = {"tumour": {**BOTH_EMPTY, "volume_ml": 0.0, "reference_volume_ml": 0.0}}
        return replace(scores, cases=tuple(CaseScores(case.case, case.labels | absent) for case in scores.cases))

    monkeypatch.setattr(command, "evaluate", with_an_absent_tumour)
    duoseg.calibrate(folder, phantoms, folds=2, steps=2, cache=tmp_path / "cache", device="cpu", threads=1)
    for scan in read_json(folder / "calibration.json")["scans"]:
        assert scan["dice"] == pytest.approx(organ[scan["case"]])


def test_a_calibration_that_counted_absent_classes_as_found_is_not_used(calibrated, phantoms, tmp_path, caplog):
    folder = shutil.copytree(calibrated, tmp_path / "run")
    content = read_json(folder / "calibration.json")
    del content["dice_of"]
    (folder / "calibration.json").write_text(json.dumps(content))
    (scan, *_) = duoseg.predict(folder, phantoms / "imagesTs", tmp_path / "masks", uncertainty=True, device="cpu")
    assert scan.judgement is not None and scan.judgement.expected is None
    assert "by an earlier version; `duoseg calibrate` renews it" in caplog.text


def test_one_process_at_a_time_calibrates_a_run(trained, phantoms, tmp_path, monkeypatch):
    from duoseg.commands import calibrate as command

    folder = shutil.copytree(trained, tmp_path / "run")
    asked = {"steps": 2, "cache": tmp_path / "cache", "device": "cpu", "threads": 1}
    train, refused = command.train, []

    def second_call_meanwhile(*arguments, **options):
        begun = {path.name for path in (folder / "calibration").glob("fold*")}
        with pytest.raises(InputError, match=f"{folder}: another process is calibrating this run") as refusal:
            duoseg.calibrate(folder, phantoms, **(asked | {"steps": 3}), folds=3)
        refused.append(refusal)
        assert {path.name for path in (folder / "calibration").glob("fold*")} == begun
        return train(*arguments, **options)

    monkeypatch.setattr(command, "train", second_call_meanwhile)
    duoseg.calibrate(folder, phantoms, **asked, folds=2)
    assert len(refused) == 2 and not (folder / command.LOCK).exists()
    with held(folder / command.LOCK, "in use"), pytest.raises(InputError, match="another process"):
        duoseg.calibrate(folder, phantoms, **asked)
