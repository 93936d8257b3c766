"""`duoseg compare`: equal means for all, exact figures, extension, failures, refusals."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import duoseg
from duoseg.commands.comparing.children import run_children
from duoseg.commands.comparing.combination import Request, compute
from duoseg.commands.comparing.locks import Claims, locked
from duoseg.commands.comparing.outputs import StudyInterrupted, Unfinished
from duoseg.commands.comparing.setup import diagonal_mm
from duoseg.commands.runs import save_plan
from duoseg.config import load_config, parse
from duoseg.errors import InputError
from duoseg.methods.dtml import Dtml
from duoseg.methods.supervised import Supervised
from duoseg.scans.dataset import load_dataset
from duoseg.study.records import read_result

ENTRIES = """
[entries.longer]
method = "supervised"
steps = 1.5

[entries.soft]
method = "dtml"
settings = { k = 100.0 }

[entries.wild]
method = "dtml"
settings = { weight = 1e308 }
"""
NAMES = ["supervised-2-seed0", "longer-2-seed0", "soft-2-seed0"]


@pytest.fixture(scope="module")
def protocol(tmp_path_factory, tiny_protocol):
    path = tmp_path_factory.mktemp("protocol") / "study.toml"
    path.write_text(tiny_protocol.read_text().replace("steps = 12", "steps = 6") + ENTRIES)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def compare(phantoms, protocol, cache):
    def call(out, methods, **options):
        given = {"labelled": [2], "seeds": [0], "config": protocol, "jobs": 2, "threads": 1, **options}
        return duoseg.compare(phantoms, out, methods=methods, cache=cache, device="cpu", **given)

    return call


@pytest.fixture(scope="module")
def study(compare, tmp_path_factory) -> Path:
    """A finished study, not to be changed."""
    out = tmp_path_factory.mktemp("studies") / "study"
    compare(out, ["supervised", "longer", "soft"])
    return out


@pytest.fixture
def copy(study, tmp_path) -> Path:
    shutil.copytree(study, tmp_path / "copy")
    return tmp_path / "copy"


def table(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def name_of(row: dict[str, str]) -> str:
    return f"{row['method']}-{row['labelled']}-seed{row['seed']}"


def written(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/model.safetensors")}


def content(out: Path) -> dict:
    return json.loads((out / "study.json").read_text())


def test_scores_are_those_of_the_masks_on_the_scans_own_grids(study, phantoms):
    rows = table(study)
    cases = {case.name: case for case in load_dataset(phantoms).test}
    assert [row["case"] for row in rows] == 3 * list(cases)
    assert list(dict.fromkeys(row["method"] for row in rows)) == ["supervised", "longer", "soft"]
    for name in NAMES:
        scores = duoseg.evaluate(study / name / "masks", phantoms / "labelsTs")
        for case in scores.cases:
            (row,) = [row for row in rows if name_of(row) == name and row["case"] == case.case]
            for metric, value in case.labels[row["class"]].items():
                assert row[metric] == ("" if value is None else repr(float(value)))
            mask = nib.load(study / name / "masks" / f"{case.case}.nii.gz")
            assert np.allclose(mask.affine, nib.load(cases[case.case].images[0]).affine, atol=1e-4)
            assert float(row["diagonal_mm"]) == diagonal_mm(cases[case.case])


def test_the_diagonal_is_the_largest_distance_between_voxels(phantoms):
    case = load_dataset(phantoms).test[0]
    image = nib.load(case.images[0])
    corners = np.array(np.meshgrid(*((0, n - 1) for n in image.shape))).reshape(3, -1).T
    points = nib.affines.apply_affine(image.affine, corners)
    widest = max(np.linalg.norm(one - other) for one in points for other in points)
    assert diagonal_mm(case) == pytest.approx(widest, rel=1e-6)


def test_all_methods_get_the_same_plan_but_for_the_steps_of_their_entries(study):
    plans = {name: json.loads((study / name / "plan.json").read_text()) for name in NAMES}
    assert [plans[name].pop("steps") for name in NAMES] == [6, 9, 6]
    for plan in plans.values():
        plan.pop("reasons")
    assert plans[NAMES[0]] == plans[NAMES[1]] == plans[NAMES[2]]
    settings = load_config(study / "soft-2-seed0" / "config.toml")
    whole = {"k": 100.0, "weight": 1.0, "ramp_levels": 40, "predict": "region"}  # defaults too: they may change
    assert (settings.method, settings.methods, settings.entries) == ("dtml", {"dtml": whole}, {})


def test_a_combination_is_the_run_that_train_makes_by_hand_and_such_a_run_is_adopted(
    compare, study, phantoms, protocol, cache, tmp_path
):
    out = tmp_path / "study"
    run = out / "supervised-2-seed0"
    options = {"method": "supervised", "labelled": 2, "seed": 0, "config": protocol}
    duoseg.train(phantoms, run, cache=cache, device="cpu", threads=1, **options)
    weights = (run / "model.safetensors").read_bytes()
    assert weights == (study / "supervised-2-seed0" / "model.safetensors").read_bytes()
    compare(out, ["supervised"])
    assert (run / "model.safetensors").read_bytes() == weights
    result = read_result(run)
    assert table(out) == [row for row in table(study) if row["method"] == "supervised"]
    # What the training took is not known of a run that was not timed.
    assert result is not None and result.cost.resumed is None and result.cost.train_cpu_s is None


def test_study_json_says_what_was_compared_and_what_it_took(study, phantoms, protocol):
    told = content(study)
    data = {"path": str(phantoms), "on": "test", "folds": None, "cases": 2, "persons": 2, "unscored": []}
    assert told["data"] == data
    assert (told["steps"], told["labelled"], told["seeds"], told["against"]) == (6, [2], [0], "supervised")
    assert told["entries"]["longer"] == {"method": "supervised", "steps": {"2": 9}, "settings": {}}
    assert told["entries"]["soft"]["settings"]["k"] == 100.0 and told["entries"]["soft"]["settings"]["weight"] == 1.0
    assert [(one["name"], one["status"], one["error"]) for one in told["combinations"]] == [
        (name, "done", None) for name in NAMES
    ]
    for one in told["combinations"]:
        cost = one["cost"]
        assert cost["train_cpu_s"] > 0 and cost["train_wall_s"] > 0 and cost["predict_wall_s"] > 0
        assert not cost["resumed"] and cost["gpu_peak_mib"] is None
    costs = {one["method"]: one["cost"] for one in told["combinations"]}
    assert 1.9 < costs["soft"]["parameters"] / costs["supervised"]["parameters"] < 2.1  # two students
    assert costs["longer"]["steps"] == 9
    assert {row["method"] for row in told["comparisons"]} == {"longer", "soft"}
    for name in ("tables.md", "tables.tex", "report.html"):
        assert (study / name).stat().st_size > 0


def test_started_again_nothing_is_computed_and_the_table_stays_the_same(copy, compare):
    before, text = written(copy), (copy / "results.csv").read_bytes()
    compare(copy, ["supervised", "longer", "soft"])
    assert written(copy) == before and (copy / "results.csv").read_bytes() == text


def test_a_study_is_extended_and_what_was_finished_before_stays_in(copy, compare):
    before = written(copy)
    compare(copy, ["supervised"], labelled=[2], seeds=[0, 1])
    assert {name: written(copy)[name] for name in before} == before
    told = content(copy)
    assert [one["name"] for one in told["combinations"]] == [
        *("supervised-2-seed0", "supervised-2-seed1", "longer-2-seed0", "soft-2-seed0")
    ]
    assert len(table(copy)) == 8 and list(told["entries"]) == ["supervised", "longer", "soft"]
    assert told["seeds"] == [0, 1]


def test_results_do_not_depend_on_how_many_are_computed_side_by_side(study, compare, tmp_path):
    compare(tmp_path / "one", ["soft", "supervised"], jobs=1)
    key = lambda row: (row["method"], row["case"])  # noqa: E731
    expected = [row for row in table(study) if row["method"] != "longer"]
    assert sorted(table(tmp_path / "one"), key=key) == sorted(expected, key=key)


def test_a_failed_combination_is_told_and_the_rest_goes_on(copy, compare, run, phantoms, protocol, cache):
    with pytest.raises(Unfinished, match=r"wild-2-seed0: .*the loss term '\w+' became (inf|nan) at step") as failure:
        compare(copy, ["wild", "supervised"])
    assert list(failure.value.study.failed) == ["wild-2-seed0"]
    states = {one["name"]: (one["status"], one["error"]) for one in content(copy)["combinations"]}
    assert states["wild-2-seed0"][0] == "failed" and "became" in states["wild-2-seed0"][1]
    assert states["supervised-2-seed0"] == ("done", None) and len(table(copy)) == 6
    assert "became" in (copy / "wild-2-seed0" / "stderr.log").read_text()
    # Tried again, and failed again, by the command line.
    words = ["compare", phantoms, "--out", copy, "--methods", "wild,supervised", "--labelled", 2, "--seeds", 0]
    status, out, err = run(*words, "--config", protocol, "--cache", cache, "--threads", 1, "--device", "cpu")
    assert status == 1 and "supervised" in out and str(copy / "results.csv") in out
    assert "1 of 2 done: wild-2-seed0 failed" in err and "combinations failed" in err and "wild-2-seed0" in err
    assert "Traceback" not in err


def test_what_failed_and_is_not_yet_tried_again_stays_failed(copy, compare, monkeypatch):
    with pytest.raises(Unfinished):
        compare(copy, ["wild"])
    monkeypatch.setattr("duoseg.commands.compare.run_children", lambda *tasks, **options: True)  # at once interrupted
    with pytest.raises(StudyInterrupted):
        compare(copy, ["wild"])
    states = {one["name"]: (one["status"], one["error"]) for one in content(copy)["combinations"]}
    assert states["wild-2-seed0"][0] == "failed" and "became" in states["wild-2-seed0"][1]


def test_a_combination_that_the_system_ends_is_told(copy, compare, tmp_path, monkeypatch):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "shot.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'modules'}:{':'.join(filter(None, sys.path))}")
    monkeypatch.setattr("duoseg.commands.comparing.asked.COMBINATION", "shot")
    with pytest.raises(Unfinished, match="soft-2-seed1: it was ended by SIGKILL, as the system does to what takes too"):
        compare(copy, ["soft"], seeds=[0, 1])
    assert len(table(copy)) == 6


def test_other_settings_than_those_of_finished_combinations_are_refused_by_name(
    copy, compare, protocol, tmp_path, phantoms
):
    before = (copy / "results.csv").read_bytes()
    with pytest.raises(InputError, match=r"supervised-2-seed0: was computed .* plan\.steps was 6 and is now 7\."):
        compare(copy, ["supervised"], steps=7)
    other = tmp_path / "other.toml"
    other.write_text(protocol.read_text().replace("k = 100.0", "k = 200.0"))
    with pytest.raises(InputError, match=r"settings\.k was 100\.0 and is now 200\.0"):
        compare(copy, ["soft"], config=other)
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    label = next((data / "labelsTs").iterdir())
    mask = nib.load(label)
    nib.save(nib.Nifti1Image(np.zeros(mask.shape, np.uint8), mask.affine), label)
    with pytest.raises(InputError, match=rf"scans\.{label.name.split('.')[0]} was 'scored, content \w+' and is now"):
        duoseg.compare(data, copy, methods=["soft"], labelled=[2], seeds=[0], config=protocol, device="cpu", threads=1)
    assert (copy / "results.csv").read_bytes() == before


def test_what_another_revision_of_a_method_learned_is_neither_taken_for_done_nor_compared(copy, compare, monkeypatch):
    monkeypatch.setattr(Dtml, "revision", Dtml.revision + 1)
    with pytest.raises(InputError, match=r"soft-2-seed0: was computed .* revision was 1 and is now 2"):
        compare(copy, ["soft"])
    with pytest.raises(InputError, match=r"soft-2-seed0: belongs to this study, .* revision was 1 and would be 2"):
        compare(copy, ["soft"], seeds=[1])
    compare(copy, ["supervised"])


def test_a_result_of_a_version_without_revisions_is_of_the_first_one(copy, compare, monkeypatch):
    path = copy / "supervised-2-seed0" / "result.json"
    result = json.loads(path.read_text())
    assert result["config"].pop("revision") == 1
    path.write_text(json.dumps(result))
    compare(copy, ["supervised"])
    monkeypatch.setattr(Supervised, "revision", 2)
    with pytest.raises(InputError, match="revision was 1 and is now 2"):
        compare(copy, ["supervised"])


def test_a_begun_combination_of_other_settings_is_refused_before_anything_is_computed(copy, compare):
    (copy / "soft-2-seed0" / "result.json").unlink()
    before = written(copy)
    with pytest.raises(InputError, match=r"soft-2-seed0: .* plan\.steps was 6 and is now 7.*begin it anew"):
        compare(copy, ["soft"], steps=7)
    assert written(copy) == before


@pytest.mark.parametrize(
    ("change", "methods", "options", "told"),
    [
        ("", ["soft"], {"seeds": [1], "steps": 7}, r"study_steps was 6 and would be 7"),
        ("soft", ["soft"], {"seeds": [1]}, r"settings\.k was 100\.0 and would be 200\.0"),
        ("soft", ["soft"], {"labelled": [3]}, r"settings\.k was 100\.0 and would be 200\.0"),
        ("", ["supervised"], {"folds": 2, "labelled": [1]}, r"on was 'test' and would be 'folds'"),
    ],
)
def test_a_study_is_not_extended_by_what_is_not_comparable_and_stays_as_it_is(
    copy, compare, protocol, tmp_path, change, methods, options, told
):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    other = tmp_path / "other.toml"
    other.write_text(protocol.read_text().replace("k = 100.0", "k = 200.0") if change else protocol.read_text())
    with pytest.raises(InputError, match=told):
        compare(copy, methods, config=other, **options)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_study_is_not_extended_by_models_of_other_training_scans(copy, phantoms, protocol, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    splits = json.loads((data / "splits.json").read_text())
    splits["train"] = [splits["train"][2], *splits["train"][:2], *splits["train"][3:]]
    (data / "splits.json").write_text(json.dumps(splits))
    for labelled in (1, 2):
        with pytest.raises(InputError, match=r"scans\.\w+ was '(un)?labelled"):
            duoseg.compare(
                data, copy, methods=["dtml"], labelled=[labelled], seeds=[0], config=protocol, device="cpu", threads=1
            )


def test_what_changes_while_a_study_is_computed_is_not_trained_on_and_a_changed_scan_is_told(
    compare, phantoms, protocol, tmp_path, monkeypatch
):
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    splits = json.loads((data / "splits.json").read_text())
    label = next((data / "labelsTs").iterdir())

    def started(*words, **options):
        swapped = {**splits, "train": splits["train"][::-1]}
        (data / "splits.json").write_text(json.dumps(swapped))
        mask = nib.load(label)
        if damage:
            nib.save(nib.Nifti1Image(np.zeros(mask.shape, np.uint8), mask.affine), label)
        return run_children(*words, **options)

    monkeypatch.setattr("duoseg.commands.compare.run_children", started)
    given = {"methods": ["supervised"], "labelled": [2], "seeds": [0], "config": protocol, "device": "cpu"}
    damage = False
    duoseg.compare(data, tmp_path / "one", threads=1, **given)
    used = json.loads((tmp_path / "one" / NAMES[0] / "cases.json").read_text())
    assert used["labelled"] == splits["train"][:2]
    (data / "splits.json").write_text(json.dumps(splits))
    damage = True
    with pytest.raises(Unfinished, match=rf"scans have changed since the study was started: {label.name[:-7]}\."):
        duoseg.compare(data, tmp_path / "two", threads=1, **given)
    assert not table(tmp_path / "two")


def test_persons_are_those_of_the_data_set_now(copy, phantoms, protocol, tmp_path):
    data, before = tmp_path / "data", written(copy)
    shutil.copytree(phantoms, data)
    splits = json.loads((data / "splits.json").read_text())
    splits["subjects"] = {case.name: "one" for case in load_dataset(data).test}
    (data / "splits.json").write_text(json.dumps(splits))
    duoseg.compare(data, copy, methods=["soft"], labelled=[2], seeds=[0], config=protocol, device="cpu", threads=1)
    assert written(copy) == before and {row["person"] for row in table(copy)} == {"one"}
    assert content(copy)["data"]["persons"] == 1 and {row["n_persons"] for row in content(copy)["summary"]} == {1}


def test_a_missing_combination_stays_listed_when_a_later_call_does_not_ask_for_it(copy, compare):
    with pytest.raises(Unfinished):
        compare(copy, ["wild"], seeds=[0])
    (copy / "soft-2-seed0" / "result.json").unlink()
    compare(copy, ["supervised"])
    states = {one["name"]: one["status"] for one in content(copy)["combinations"]}
    assert states["wild-2-seed0"] == "failed" and states["soft-2-seed0"] == "waiting"
    assert "wild" in content(copy)["entries"]
    shutil.rmtree(copy / "wild-2-seed0")
    compare(copy, ["supervised"])
    assert "wild" not in content(copy)["entries"] and "wild" not in (copy / "tables.md").read_text()


def test_a_combination_that_another_command_computes_is_left_to_it(copy, compare):
    (copy / "soft-2-seed1").mkdir()
    claims = Claims(copy)
    assert claims.take("soft-2-seed1")
    study = compare(copy, ["soft"], seeds=[0, 1])
    assert study.elsewhere == 1 and not study.failed
    states = {one["name"]: one["status"] for one in content(copy)["combinations"]}
    assert states["soft-2-seed0"] == "done" and states["soft-2-seed1"] == "waiting"
    claims.release("soft-2-seed1")
    assert compare(copy, ["soft"], seeds=[0, 1]).elsewhere == 0


def test_a_command_waits_while_another_one_prepares_the_study(copy, compare):
    begun = threading.Event()

    def hold():
        with locked(copy):
            begun.set()
            time.sleep(0.5)
            (copy / "held").touch()

    holder = threading.Thread(target=hold)
    holder.start()
    begun.wait()
    compare(copy, ["soft"])
    assert (copy / "held").exists()
    holder.join()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"methods": ["dtlm"]}, "Did you mean 'dtml'"),
        ({"labelled": [4]}, "--labelled 4: there are 3 labelled training scans"),
        ({"seeds": [99999999999999999999]}, "--seeds: give one or more whole numbers from 0 to 9223372036854775807"),
        ({"on": "holdout"}, "has no holdout scans with labels"),
        ({"against": "dtml"}, "--against dtml: is not compared. Compared are supervised."),
        ({"jobs": 0}, "--jobs 0: give 1 or more"),
        ({"hours": -1.0}, "hours: -1.0 was asked for"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_computed(compare, tmp_path, options, told):
    with pytest.raises(InputError) as refusal:
        compare(tmp_path / "out", options.pop("methods", ["supervised"]), **options)
    assert told in str(refusal.value)
    assert not list((tmp_path / "out").glob("*/config.toml")) if (tmp_path / "out").exists() else True


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[entries.soft]", "[entries.soft]\nstep = 2", r"wrong\.toml: .*'entries\.soft\.step', did you mean 'steps'\?"),
        ("k = 100.0", "kk = 100.0", r"wrong\.toml: \[entries\.soft\]: unknown setting 'kk', did you mean 'k'\?"),
        ('method = "dtml"', 'method = "dtlm"', r"wrong\.toml: \[entries\.soft\]: .* Did you mean 'dtml'\?"),
        ("[plan]", "[plan]\npatc = [8, 8, 8]", r"wrong\.toml: \[plan\]: .* 'patc'; did you mean 'patch'\?"),
        ("[plan.network]", "[plan.network]\nstm = 1", r"wrong\.toml: \[plan\]: .* 'network\.stm'; did you mean 'stem'"),
        ("[entries.soft]", "[methods.cps]\nwait = 1\n[entries.soft]", r"wrong\.toml: \[methods\.cps\]: .*'weight'"),
        ("steps = 6", "steps = 6\nlabelled = 1979-05-27", r"wrong\.toml: .*1979-05-27 is a date or a time"),
    ],
)
def test_a_wrong_name_in_a_configuration_is_told_with_file_and_section_used_or_not(
    compare, protocol, tmp_path, old, new, told
):
    path = tmp_path / "wrong.toml"
    assert old in protocol.read_text()
    path.write_text(protocol.read_text().replace(old, new))
    with pytest.raises(InputError, match=told):
        compare(tmp_path / "out", ["supervised"], config=path)


def test_the_folders_of_a_run_and_of_the_data_are_no_studies(compare, study, phantoms):
    with pytest.raises(InputError, match="is a run's folder"):
        compare(study / NAMES[0], ["supervised"])
    with pytest.raises(InputError, match="is the data set's own folder"):
        compare(phantoms, ["supervised"])
    with pytest.raises(InputError, match="imagesTr holds scans of the data set"):
        compare(phantoms / "imagesTr" / "study", ["supervised"])
    assert not (phantoms / "imagesTr" / "study").exists()


def test_a_label_count_of_the_configuration_that_is_too_large_is_told_with_its_file(compare, protocol, tmp_path):
    path = tmp_path / "many.toml"
    path.write_text("labelled = 90\n" + re.sub("(?m)^labelled = .*$", "", protocol.read_text(), count=1))
    with pytest.raises(InputError, match=r"many.toml: labelled = 90: there are"):
        compare(tmp_path / "out", ["supervised"], config=path, labelled=None)


def test_what_to_compare_with_is_checked_before_anything_is_planned(compare, tmp_path, monkeypatch):
    monkeypatch.setattr("duoseg.commands.comparing.setup.plan_dataset", lambda *a, **k: pytest.fail("planned"))
    with pytest.raises(InputError, match="--against soft: is not compared"):
        compare(tmp_path / "out", ["supervised", "longer"], against="soft")


def test_what_was_only_predicted_again_was_not_resumed_and_the_memory_is_the_trainings(copy, compare):
    before = read_result(copy / NAMES[0])
    (copy / NAMES[0] / "result.json").unlink()
    (noted,) = json.loads((copy / NAMES[0] / "attempts.json").read_text())
    compare(copy, ["supervised"])
    result = read_result(copy / NAMES[0])
    assert before is not None and result is not None and result.rows == before.rows
    assert not result.cost.resumed and before.cost.peak_mib == noted["peak_mib"] > 100
    assert result.cost.train_wall_s == before.cost.train_wall_s


def another_plan(protocol, tmp_path) -> Path:
    path = tmp_path / "another.toml"
    path.write_text(protocol.read_text().replace("[plan]", "[plan]\nspacing = [3.0, 3.0, 3.0]"))
    assert path.read_text() != protocol.read_text()
    return path


def test_another_plan_is_refused_beside_what_others_have_only_begun(copy, compare, protocol, tmp_path):
    plan = (copy / "setup" / "2" / "plan.json").read_bytes()
    for name in NAMES:
        (copy / name / "result.json").unlink()
    with pytest.raises(InputError, match="belongs to this study, and what is asked for now would not be comparable"):
        compare(copy, ["boundary"], config=another_plan(protocol, tmp_path))
    assert (copy / "setup" / "2" / "plan.json").read_bytes() == plan


def test_a_combination_does_not_train_by_a_plan_that_another_call_has_put_in_place_of_its_own(
    copy, phantoms, protocol, tmp_path
):
    request = parse(Request, json.loads((copy / NAMES[0] / "request.json").read_text()), source="request")
    plan = duoseg.plan(phantoms, labelled=2, config=another_plan(protocol, tmp_path), device="cpu")
    save_plan(tmp_path / "plan.json", plan)
    request = request.model_copy(update={"out": tmp_path / "run", "plan": tmp_path / "plan.json"})
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match=r"plan\.json: has been replaced by another call"):
        compute(request, lambda event: None)
    assert not (tmp_path / "run" / "config.toml").exists()


def test_what_was_asked_for_stays_in_the_study_before_anything_of_it_is_computed(compare, tmp_path, monkeypatch):
    out = tmp_path / "study"
    with monkeypatch.context() as patch:
        patch.setattr("duoseg.commands.compare.run_children", lambda *arguments, **options: True)
        with pytest.raises(StudyInterrupted):
            compare(out, ["dtml", "boundary"], seeds=[0, 1])
        with pytest.raises(StudyInterrupted):
            compare(out, ["supervised"])
    told = content(out)
    assert len(told["combinations"]) == 5 and told["against"] == "dtml"  # what it began with
    shutil.rmtree(out / "boundary-2-seed1")
    with monkeypatch.context() as patch:
        patch.setattr("duoseg.commands.compare.run_children", lambda *arguments, **options: True)
        with pytest.raises(StudyInterrupted):
            compare(out, ["supervised"], against="supervised")
    assert len(content(out)["combinations"]) == 4 and content(out)["against"] == "supervised"


def test_masks_of_scans_that_lay_elsewhere_are_made_anew(compare, phantoms, protocol, cache, tmp_path):
    data, out = tmp_path / "data", tmp_path / "study"
    shutil.copytree(phantoms, data)
    options = {"methods": ["supervised"], "labelled": [2], "seeds": [0], "config": protocol, "device": "cpu"}
    duoseg.compare(data, out, cache=cache, threads=1, **options)
    before = (out / "results.csv").read_bytes()
    (out / "supervised-2-seed0" / "result.json").unlink()  # as after a kill while predicting
    data.rename(tmp_path / "moved")
    duoseg.compare(tmp_path / "moved", out, cache=cache, threads=1, **options)
    assert (out / "results.csv").read_bytes() == before


def test_a_study_keeps_the_threads_that_it_began_with(copy, compare, caplog):
    compare(copy, ["supervised"], threads=2)
    assert not caplog.messages and content(copy)["environment"]["threads"] == 1
    compare(copy, ["supervised"], seeds=[1], threads=None)
    result = read_result(copy / "supervised-2-seed1")
    assert result is not None and result.environment is not None and result.environment["threads"] == 1
    compare(copy, ["supervised"], seeds=[2], threads=2)
    assert any("--threads 2" in message for message in caplog.messages)
    told = content(copy)
    assert told["environment"]["threads"] == 1
    assert [words.rsplit(", ", 1)[1] for words in told["computed_with"]] == ["1 thread", "2 threads"]
    assert "cpu, 1 thread and duoseg" in (copy / "tables.md").read_text()


def test_classes_that_depend_on_which_labels_are_used_are_refused(phantoms, protocol, cache, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    (data / "dataset.json").unlink()
    names = [case.name for case in load_dataset(data).train if case.label]
    label = data / "labelsTr" / f"{names[2]}.nii.gz"
    mask = nib.load(label)
    values = np.asarray(mask.dataobj).astype(np.uint8)
    values[:2, :2, :2] = 9
    nib.save(nib.Nifti1Image(values, mask.affine), label)
    with pytest.raises(InputError, match=r"data: which classes .*2 labelled: 1; 3 labelled: 1, 9\).*dataset\.json"):
        duoseg.compare(data, tmp_path / "out", methods=["supervised"], labelled=[2, 3], seeds=[0], config=protocol)
    assert not list((tmp_path / "out").glob("setup/*/plan.json"))


def test_a_class_that_no_training_label_has_is_told(phantoms, protocol, cache, tmp_path, caplog):
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    (data / "dataset.json").unlink()
    label = sorted((data / "labelsTs").iterdir())[0]
    mask = nib.load(label)
    values = np.asarray(mask.dataobj).astype(np.uint8)
    values[:2, :2, :2] = 9
    nib.save(nib.Nifti1Image(values, mask.affine), label)
    options = {"labelled": [2], "seeds": [0], "config": protocol, "cache": cache, "device": "cpu", "threads": 1}
    duoseg.compare(data, tmp_path / "out", methods=["supervised"], **options)
    assert any(label.name in message and "value 9 belongs to no class" in message for message in caplog.messages)


def test_an_unreadable_record_of_time_costs_only_that(compare, copy):
    (copy / NAMES[0] / "result.json").unlink()
    (copy / NAMES[0] / "attempts.json").write_text('[{"wall_s": ')
    before = table(copy)
    compare(copy, ["supervised", "longer", "soft"])
    assert table(copy) == before
    result = read_result(copy / NAMES[0])
    assert result is not None and result.cost.resumed is None and result.cost.train_cpu_s is None


def test_a_study_that_goes_on_with_default_options_is_the_same_to_the_byte(compare, tmp_path):
    out, methods = tmp_path / "study", ["supervised", "soft"]
    compare(out, methods, jobs=None, threads=None)
    whole = (out / "results.csv").read_bytes()
    shutil.rmtree(out / "soft-2-seed0")  # one is left, for which a new study would have more threads
    compare(out, methods, jobs=None, threads=None)
    assert (out / "results.csv").read_bytes() == whole


def test_the_command_line_shows_the_comparison_and_is_silent_when_asked(copy, run, phantoms, protocol, cache):
    words = ["compare", phantoms, "--out", copy, "--methods", "supervised,longer,soft", "--labelled", 2, "--seeds", 0]
    words += ["--config", protocol, "--cache", cache, "--threads", 1, "--device", "cpu"]
    status, out, err = run(*words)
    assert status == 0 and "3 of 3 done" in err
    means = {row["method"]: row["mean"] for row in content(copy)["summary"] if row["metric"] == "dice"}
    for method, dice in means.items():
        assert any(line.startswith(method) and f"{100 * dice:.2f}" in line for line in out.splitlines())
    assert "minus supervised" in out and str(copy / "report.html") in out
    status, _, err = run(*words, "--quiet")
    assert (status, err) == (0, "")


def test_the_page_shows_scans_as_the_best_method_and_the_one_compared_with_have_them(study):
    means = {row["method"]: row["mean"] for row in content(study)["summary"] if row["metric"] == "dice"}
    best = max(means, key=lambda method: means[method])
    others = [method for method in sorted(means, key=lambda method: -means[method]) if method != best]
    methods = [best, "supervised" if best != "supervised" else others[0]]
    dice = {(row["method"], row["case"]): float(row["dice"]) for row in table(study)}
    ranked = sorted({row["case"] for row in table(study)}, key=lambda case: -dice[best, case])
    shown = re.findall(r"<strong>(\w+): (\w+), 2 labelled, seed 0</strong> – ([\w-]+), Dice ([\d.]+)", page_of(study))
    assert len(ranked) == 2 and shown == [
        (place, method, case, f"{dice[method, case]:.3f}")
        for place, case in zip(("Best", "Worst"), ranked, strict=True)
        for method in methods
    ]


def test_a_study_whose_scans_have_gone_still_gets_its_page_and_says_what_it_lacks(study, copy, phantoms, caplog):
    table_of_scans = copy / "setup" / "2" / "scored" / "scans.csv"
    table_of_scans.write_text(table_of_scans.read_text().replace(str(phantoms), str(phantoms.parent / "gone")))
    duoseg.report(copy)
    assert 'id="pictures"' in page_of(study) and 'id="pictures"' not in page_of(copy)
    assert "scans are not shown" in caplog.text and "gone" in caplog.text


def page_of(out: Path) -> str:
    return (out / "report.html").read_text()
