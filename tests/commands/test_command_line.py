"""The command line as people and scripts meet it: exit codes, messages, files, geometry."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

import duoseg
from duoseg.cli import app
from duoseg.commands.runs import build_method, load_plan
from duoseg.config import load_config
from duoseg.errors import InputError
from duoseg.training.checkpoint import save_weights

COMMANDS = [name for name in app if not name.startswith("-")]


def test_help_answers_quickly_and_without_the_numerical_libraries():
    code = (
        "import sys\nfrom duoseg.cli import app\napp.help_print([])\n"
        "heavy = {'torch', 'SimpleITK', 'lightning_fabric', 'scipy', 'nibabel'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)
    # The claim is 0.4 s on a free machine; twice that leaves room for a busy one.
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 0.8


def test_predicting_loads_no_library_that_it_does_not_need():
    """SciPy's statistics alone take a second and 45 MiB."""
    code = (
        "import sys\nimport duoseg.commands.predict\n"
        "heavy = {'scipy.stats', 'scipy.optimize', 'lightning_fabric', 'SimpleITK'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(run, name):
    status, out, _ = run(name, "--help")
    assert status == 0
    assert f"duoseg {name}" in out and "Example" in out


def test_a_closed_standard_output_is_no_reason_to_fail(phantoms):
    words = [sys.executable, "-m", "duoseg", "check", str(phantoms)]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *words], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_whoever_reads_no_further_is_no_failure(phantoms):
    words = f"{sys.executable} -m duoseg check {phantoms} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_names_that_a_terminal_cannot_show_are_shown_by_their_numbers(phantoms, tmp_path):
    shutil.copytree(phantoms, tmp_path / "data")
    for path in [*(tmp_path / "data").rglob("phantom_001*")]:
        path.rename(path.with_name(path.name.replace("phantom_001", "müller")))
    (tmp_path / "data" / "splits.json").unlink()
    words = [sys.executable, "-m", "duoseg", "check", str(tmp_path / "data")]
    told = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=told)
    assert done.returncode == 0 and "m\\xfcller" in done.stdout, done.stderr


def test_what_is_no_file_is_never_replaced(run, phantoms, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link"):
        labels = phantoms / "labelsTs"
        status, _, err = run("evaluate", labels, labels, "--json", tmp_path / name)
        assert status == 1 and "is no file" in err
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()


def test_wrong_usage_exits_with_2(run):
    status, _, err = run("train", "--no-such-option")
    assert status == 2 and "no-such-option" in err


def test_wrong_input_exits_with_1_and_one_message(run, tmp_path):
    status, _, err = run("check", tmp_path / "nowhere")
    assert status == 1
    assert "nowhere" in err and "Traceback" not in err


def test_check_lists_every_case_and_passes(run, phantoms):
    status, out, _ = run("check", phantoms)
    assert status == 0
    assert out.count("unlabelled") == 4 and out.count(" test ") == 2


def test_check_fails_where_training_would_be_wrong(run, phantoms, tmp_path):
    shutil.copytree(phantoms, tmp_path / "data")
    label = next((tmp_path / "data" / "labelsTr").iterdir())
    label.write_bytes(label.read_bytes()[:100])
    status, out, _ = run("check", tmp_path / "data")
    assert status == 1 and label.name in out


def test_plan_prints_reasons_and_writes_the_plan(run, phantoms, tmp_path):
    status, out, _ = run("plan", phantoms, "--patch", "16,16,8", "--out", tmp_path / "plan.json", "--device", "cpu")
    assert status == 0
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["patch"] == [16, 16, 8]
    assert "spacing" in out and plan["reasons"]["spacing"].split()[0] in out


def test_an_unknown_protocol_key_is_refused_with_the_nearest(run, phantoms, tmp_path):
    protocol = tmp_path / "p.toml"
    protocol.write_text("[plan.optimiser]\nlearning_rat = 1\n")
    status, _, err = run("plan", phantoms, "--config", protocol)
    assert status == 1 and "learning_rate" in err
    protocol.write_text("lebelled = 3\n")
    status, _, err = run("plan", phantoms, "--config", protocol)
    assert status == 1 and "did you mean 'labelled'" in err


def test_a_run_folder_holds_what_the_design_promises(trained):
    settings, results = ("config.toml", "plan.json", "cases.json"), ("log.jsonl", "checkpoint.pt", "model.safetensors")
    for name in (*settings, *results, "environment.json", "report.html"):
        assert (trained / name).is_file(), name
    cases = json.loads((trained / "cases.json").read_text())
    assert len(cases["labelled"]) == 3 and len(cases["unlabelled"]) == 4


def test_masks_have_their_scans_geometry_and_the_smallest_type(run, trained, phantoms, tmp_path):
    status, _, _ = run("predict", trained, phantoms / "imagesTs", "--out", tmp_path / "masks", "--probabilities")
    assert status == 0
    for image_path in (phantoms / "imagesTs").iterdir():
        image = nib.load(image_path)
        mask = nib.load(tmp_path / "masks" / image_path.name.replace("_0000", ""))
        assert mask.shape == image.shape and mask.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(mask.affine, image.affine)
        for code in ("qform_code", "sform_code"):
            assert mask.header[code] == image.header[code]
        maps = list((tmp_path / "masks" / "probabilities").glob(image_path.name.split("_0000")[0] + ".*"))
        total = sum(np.asarray(nib.load(path).dataobj) for path in maps)
        np.testing.assert_allclose(total, 1, atol=1e-4)
    manifest = json.loads((tmp_path / "masks" / "predictions.json").read_text())
    assert {entry["case"] for entry in manifest["scans"]} == {
        path.name.split("_0000")[0] for path in (phantoms / "imagesTs").iterdir()
    }


def test_uncertainty_is_what_the_probabilities_leave_to_other_classes(run, trained, phantoms, tmp_path):
    scan = min((phantoms / "imagesTs").iterdir())
    plain = ("predict", trained, scan, "--out", tmp_path / "plain")
    assert run(*plain)[0] == 0 and not (tmp_path / "plain" / "uncertainty").exists()
    assert run("predict", trained, scan, "--out", tmp_path / "masks", "--probabilities", "--uncertainty")[0] == 0
    name = scan.name.split("_0000")[0]
    assert (tmp_path / "plain" / f"{name}.nii.gz").read_bytes() == (tmp_path / "masks" / f"{name}.nii.gz").read_bytes()
    maps = [np.asarray(nib.load(path).dataobj) for path in (tmp_path / "masks" / "probabilities").iterdir()]
    found = nib.load(tmp_path / "masks" / "uncertainty" / f"{name}.nii.gz")
    np.testing.assert_array_equal(found.affine, nib.load(scan).affine)
    np.testing.assert_allclose(np.asarray(found.dataobj), 1 - np.max(maps, axis=0), atol=6e-4)


def test_a_folder_of_predictions_has_a_page(run, trained, phantoms, tmp_path, caplog):
    out, scans = tmp_path / "masks", shutil.copytree(phantoms / "imagesTs", tmp_path / "scans")
    status, said, _ = run("predict", trained, scans, "--out", out, "--uncertainty")
    entries = {one["case"]: one for one in json.loads((out / "predictions.json").read_text())["scans"]}
    ranked = sorted(entries, key=lambda case: entries[case]["trust"])
    assert status == 0 and [said.index(case) for case in ranked] == sorted(said.index(case) for case in ranked)
    assert run("report", out)[0] == 0
    page = (out / "report.html").read_text()
    assert all(case in page for case in entries) and page.count("<image ") == 2 * 3 * len(entries)
    listed = json.loads((out / "predictions.json").read_text())
    (out / "predictions.json").write_text(
        json.dumps({"scans": [*listed["scans"], {"case": "stopped", "mask": "stopped.nii.gz"}]})
    )
    min(scans.iterdir()).unlink()
    assert run("report", out)[0] == 0 and "is not shown" in caplog.text
    page = (out / "report.html").read_text()
    assert page.count("<image ") == 2 * 3 * (len(entries) - 1) and "stopped" not in page
    del listed["scans"][0]["volume_ml"]
    (out / "predictions.json").write_text(json.dumps(listed))
    status, _, err = run("report", out)
    assert status == 1 and "predictions.json" in err and "has no 'volume_ml'" in err


def test_predictions_with_their_true_masks_have_a_page_of_scores(run, trained, phantoms, tmp_path):
    out = tmp_path / "masks"
    assert run("predict", trained, phantoms / "imagesTs", "--out", out, "--uncertainty")[0] == 0
    status, said, _ = run("report", out, "--reference", phantoms / "labelsTs", "--out", tmp_path / "page.html")
    assert status == 0 and "page.html" in said
    page = (tmp_path / "page.html").read_text()
    scores = duoseg.evaluate(out, phantoms / "labelsTs").means()["all"]
    assert f"{scores['dice']:.3f}" in page and "Best" in page and "Worst" in page
    assert 'class="layer-truth"' in page and 'class="layer-uncertainty"' in page and "Loss terms" in page
    assert run("evaluate", out, phantoms / "labelsTs", "--json", tmp_path / "scores.json")[0] == 0
    asked = (
        "--reference",
        phantoms / "labelsTs",
        "--scores",
        tmp_path / "scores.json",
        "--out",
        tmp_path / "again.html",
    )
    assert run("report", out, *asked)[0] == 0
    assert (tmp_path / "again.html").read_text() == page
    (tmp_path / "scores.json").write_text("{}")
    status, _, err = run("report", out, *asked)
    assert status == 1 and "holds no scores" in err


def test_a_page_of_scores_needs_the_run_and_predictions_of_one(run, trained, phantoms, tmp_path):
    status, _, err = run("report", trained, "--reference", phantoms / "labelsTs")
    assert status == 1 and "no predictions" in err
    out, moved = tmp_path / "masks", shutil.copytree(trained, tmp_path / "moved")
    assert run("predict", moved, phantoms / "imagesTs", "--out", out)[0] == 0
    shutil.rmtree(moved)
    status, _, err = run("report", out, "--reference", phantoms / "labelsTs")
    assert status == 1 and str(moved) in err and "is not there" in err


def test_a_scan_stored_in_another_axis_order_gets_the_same_mask_in_the_world(trained, phantoms, tmp_path):
    source = next((phantoms / "imagesTs").iterdir())
    image = nib.load(source)
    folder = tmp_path / "turned"
    folder.mkdir()
    turned = {}
    for codes in ("RAS", "LPS", "SAR", "PIL"):
        orientation = nib.orientations.axcodes2ornt(codes)
        now = nib.orientations.io_orientation(image.affine)
        moved = image.as_reoriented(nib.orientations.ornt_transform(now, orientation))
        assert "".join(nib.aff2axcodes(moved.affine)) == codes
        nib.save(moved, folder / f"{codes}.nii.gz")
    duoseg.predict([trained], [folder], tmp_path / "masks", device="cpu", threads=1)
    for codes in ("RAS", "LPS", "SAR", "PIL"):
        mask = nib.as_closest_canonical(nib.load(tmp_path / "masks" / f"{codes}.nii.gz"))
        turned[codes] = np.asarray(mask.dataobj)
    assert turned["RAS"].any()
    for codes in ("LPS", "SAR", "PIL"):
        np.testing.assert_array_equal(turned[codes], turned["RAS"])


def test_two_runs_are_averaged(run, trained, phantoms, tiny_protocol, tmp_path, caplog):
    second, where = tmp_path / "second", {"cache": tmp_path / "cache", "device": "cpu", "threads": 1}
    duoseg.train(phantoms, second, config=tiny_protocol, method="dtml", seed=1, **where)
    scan = next((phantoms / "imagesTs").iterdir())
    maps = {}
    for name, runs in (("first", [trained]), ("second", [second]), ("both", [trained, second])):
        assert run("predict", *runs, scan, "--out", tmp_path / name, "--probabilities")[0] == 0
        path = next((tmp_path / name / "probabilities").glob("*.background.*"))
        maps[name] = np.asarray(nib.load(path).dataobj)
    assert np.abs(maps["first"] - maps["second"]).max() > 0.01
    np.testing.assert_allclose(maps["both"], (maps["first"] + maps["second"]) / 2, atol=1e-5)
    page = duoseg.report(tmp_path / "both").read_text()
    assert all(f"dtml ({folder.name})" in page for folder in (trained, second))
    shutil.copy(trained / "model.safetensors", second)  # as if it had been trained again
    page = duoseg.report(tmp_path / "both").read_text()
    assert "other weights now" in caplog.text and "(second)" not in page
    with pytest.raises(InputError, match="second: has other weights now"):
        duoseg.report(tmp_path / "second", reference=phantoms / "labelsTs")


def test_runs_whose_classes_stand_in_another_order_are_not_averaged(trained, tmp_path):
    for name, classes in (("one", {"organ": 1, "tumour": 300}), ("other", {"tumour": 300, "organ": 1})):
        plan = json.loads((trained / "plan.json").read_text()) | {"classes": classes}
        folder = shutil.copytree(trained, tmp_path / name)
        (folder / "plan.json").write_text(json.dumps(plan))
        method = build_method(load_config(folder / "config.toml"), load_plan(folder / "plan.json"))
        save_weights(folder, method)
    assert duoseg.load(tmp_path / "one", tmp_path / "one")
    with pytest.raises(InputError, match="its plan has another 'classes'"):
        duoseg.load(tmp_path / "one", tmp_path / "other")


def test_an_answer_that_is_no_number_is_no_mask(run, trained, phantoms, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "run")
    method = build_method(load_config(folder / "config.toml"), load_plan(folder / "plan.json"))
    for weight in method.parameters():
        weight.data.fill_(1e30)
    save_weights(folder, method)
    scan = min((phantoms / "imagesTs").iterdir())
    status, _, err = run("predict", folder, scan, "--out", tmp_path / "masks")
    assert status == 1 and f"{scan}: the networks' answer is no number" in err.replace("\n", "")
    assert not list((tmp_path / "masks").glob("*.nii.gz"))


def test_the_largest_component_is_kept_where_that_is_asked_for(run, trained, phantoms, tmp_path):
    scan = min((phantoms / "imagesTs").iterdir())
    masks = {}
    for name in ("--largest-component", "--no-largest-component"):
        assert run("predict", trained, scan, "--out", tmp_path / name, name)[0] == 0
        masks[name] = np.asarray(nib.load(next((tmp_path / name).glob("*.nii.gz"))).dataobj)
    one, all_of_it = masks.values()
    corners = np.ones((3, 3, 3))
    for value in set(np.unique(all_of_it)) - {0}:
        bodies, count = ndimage.label(all_of_it == value, corners)
        sizes = np.bincount(bodies.ravel())[1:]
        assert count > 1, "the phantom's mask has to be in pieces for this test to say something"
        np.testing.assert_array_equal(one == value, bodies == 1 + sizes.argmax())


def test_predictions_say_which_run_made_which_mask(run, trained, phantoms, tmp_path):
    scans = sorted((phantoms / "imagesTs").iterdir())
    assert run("predict", trained, scans[0], "--out", tmp_path / "masks")[0] == 0
    assert run("predict", trained, scans[1], "--out", tmp_path / "masks", "--mirror")[0] == 0
    entries = json.loads((tmp_path / "masks" / "predictions.json").read_text())["scans"]
    assert [entry["settings"]["mirror"] for entry in entries] == [False, True]


def test_references_are_never_replaced(run, trained, phantoms, tmp_path):
    shutil.copytree(phantoms, tmp_path / "data")
    labels = {path: path.read_bytes() for path in (tmp_path / "data" / "labelsTs").iterdir()}
    status, _, err = run("predict", trained, tmp_path / "data" / "imagesTs", "--out", tmp_path / "data" / "labelsTs")
    assert status == 1 and "choose another --out" in err
    assert all(path.read_bytes() == content for path, content in labels.items())


def test_no_command_offers_an_empty_value_in_place_of_its_option(run):
    for name in COMMANDS:
        assert "--empty-" not in run(name, "--help")[1], name


def test_every_command_takes_device_threads_and_quiet(run):
    for name in COMMANDS:
        _, out, _ = run(name, "--help")
        assert all(option in out for option in ("--device", "--threads", "--quiet")), name
    assert run("check", "x", "--threads", "0")[0] == 2


def test_brackets_in_names_are_printed_as_they_are(capsys):
    from duoseg.commands.predict import PredictedScan
    from duoseg.console import Console

    Console(quiet=True).predict([PredictedScan("scan[old]", Path("x"), {"left [mm]": 1.0})], Path("y"))
    out = capsys.readouterr().out
    assert "scan[old]" in out and "left [mm] (ml)" in out


def test_misspelt_method_settings_are_refused(run, phantoms, tiny_protocol, tmp_path):
    protocol = tmp_path / "p.toml"
    protocol.write_text(tiny_protocol.read_text() + "\n[methods.dtlm]\nk = 20\n")
    status, _, err = run("train", phantoms, "--config", protocol, "--out", tmp_path / "run")
    assert status == 1 and "Did you mean 'dtml'" in err


def test_a_mask_never_replaces_its_scan(run, trained, phantoms, tmp_path):
    source = next((phantoms / "imagesTs").iterdir())
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(source.read_bytes())
    status, _, err = run("predict", trained, scan, "--out", tmp_path)
    assert status == 1 and "not written by `duoseg predict`" in err
    assert scan.read_bytes() == source.read_bytes()


def test_predict_tells_runs_from_images(run, trained, phantoms, tmp_path):
    status, _, err = run("predict", phantoms / "imagesTs", "--out", tmp_path / "x")
    assert status == 1 and "is not a run folder" in err
    status, _, err = run("predict", trained, "--out", tmp_path / "x")
    assert status == 1 and "nothing to predict" in err


def test_perfect_masks_score_one(run, phantoms, tmp_path):
    out = tmp_path / "scores.json"
    status, text, _ = run(
        "evaluate", phantoms / "labelsTs", phantoms / "labelsTs", "--json", out, "--csv", tmp_path / "s.csv"
    )
    assert status == 0 and "Dice" in text
    scores = json.loads(out.read_text())
    assert list(scores) == ["cases", "mean", "policy", "problems"]
    assert scores["mean"]["all"]["dice"] == 1 and scores["mean"]["all"]["hd95_mm"] == 0
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 3


def test_the_report_of_a_run_is_one_page(run, trained, tmp_path):
    status, out, _ = run("report", trained, "--out", tmp_path / "page.html")
    assert status == 0 and "page.html" in out
    page = (tmp_path / "page.html").read_text()
    assert "mutual" in page and "<svg" in page


def test_the_demo_ends_with_both_scores_and_a_page(run, tmp_path):
    status, out, _ = run("demo", "--out", tmp_path / "demo", "--steps", "2", "--threads", "1", "--device", "cpu")
    assert status == 0
    assert "supervised" in out and "duo" in out
    page = Path(out.strip().splitlines()[-1].removeprefix("Report: "))
    assert page.is_file() and "<svg" in page.read_text()


def test_a_model_in_memory_predicts_arrays(trained, phantoms):
    from duoseg.scans.formats import read_scan

    scan = read_scan(next((phantoms / "imagesTs").iterdir()))
    model = duoseg.load(trained, device="cpu")
    prediction = model.predict(scan.voxels[None], scan.grid)
    assert prediction.mask.shape == scan.grid.shape
    assert set(np.unique(prediction.mask)) <= {0, *model.plan.classes.values()}


def test_a_folder_that_cannot_be_written_is_named(run, phantoms, tiny_protocol, tmp_path):
    (tmp_path / "file").write_text("in the way")
    status, _, err = run("train", phantoms, "--config", tiny_protocol, "--out", tmp_path / "file" / "run")
    assert status == 1 and str(tmp_path / "file") in err and "Traceback" not in err


def test_a_label_that_belongs_to_no_image_is_told_before_planning(run, phantoms, tmp_path, caplog):
    shutil.copytree(phantoms, tmp_path / "data")
    label = next((tmp_path / "data" / "labelsTr").iterdir())
    shutil.copy(label, label.with_name("stray.nii.gz"))
    assert run("plan", tmp_path / "data", "--device", "cpu")[0] == 0
    assert "stray" in caplog.text


def test_a_missing_prediction_is_scored_as_empty_and_fails(run, phantoms, tmp_path):
    shutil.copytree(phantoms / "labelsTs", tmp_path / "masks")
    next((tmp_path / "masks").glob("*.nii.gz")).unlink()
    status, out, _ = run("evaluate", tmp_path / "masks", phantoms / "labelsTs")
    assert status == 1 and "0.500" in out and "has no prediction" in out


def test_a_damaged_scan_does_not_keep_the_others_from_their_masks(run, trained, phantoms, tmp_path):
    scans = tmp_path / "scans"
    shutil.copytree(phantoms / "imagesTs", scans)
    damaged, sound = sorted(scans.iterdir())
    damaged.write_bytes(damaged.read_bytes()[:200])
    status, _, err = run("predict", trained, scans, "--out", tmp_path / "masks")
    assert status == 1 and damaged.name in err and "1 of 2 scans" in err
    assert [path.name for path in (tmp_path / "masks").glob("*.nii.gz")] == [sound.name.replace("_0000", "")]


def test_tables_are_never_cut_on_a_narrow_terminal(capsys, monkeypatch):
    from rich.console import Console as RichConsole

    from duoseg.console import Console

    console = Console(quiet=True)
    monkeypatch.setattr(console, "_out", RichConsole(width=40, highlight=False))
    rows = [["a rather long name", "59 x 57 x 32", "12345.67", "verdict"]]
    console._table(["case", "shape", "spare", "last"], rows, text_columns=1, dispensable=["spare"])
    words = capsys.readouterr().out.split()
    assert {"rather", "59", "57", "32", "verdict"} <= set(words) and "12345.67" not in words


def test_the_plan_is_printed_with_its_values(run, phantoms):
    _, out, _ = run("plan", phantoms, "--patch", "16,16,8", "--device", "cpu", "--quiet")
    assert "patch  16 x 16 x 8" in out


def test_every_file_of_a_run_can_be_read_by_others(trained):
    assert {path.stat().st_mode & 0o777 for path in trained.iterdir() if path.is_file()} == {
        (trained / "plan.json").stat().st_mode & 0o777
    }


def test_wrong_requests_are_told_before_the_scans_are_read(run, phantoms, tmp_path):
    for options in (["--method", "nothing", "--out", tmp_path / "run"], ["--out", __file__ + "/run"]):
        status, _, err = run("train", phantoms, *options)
        assert status == 1 and "plan" not in err.split("duoseg:")[0]
    status, _, err = run("evaluate", phantoms / "labelsTs", phantoms / "labelsTs", "--json", __file__ + "/x.json")
    assert status == 1 and "choose another place" in err


def test_single_paths_and_single_channels_are_taken_as_they_are(trained, phantoms, tmp_path):
    from duoseg.scans.formats import read_scan

    scans = duoseg.predict(str(trained), str(phantoms / "imagesTs"), tmp_path / "masks", device="cpu", threads=1)
    assert len(scans) == 2
    scan = read_scan(next((phantoms / "imagesTs").iterdir()))
    assert duoseg.load(trained, device="cpu").predict(scan.voxels, scan.grid).mask.shape == scan.grid.shape


def test_a_plan_for_other_classes_than_the_data_set_declares_is_refused(run, phantoms, tmp_path):
    assert run("plan", phantoms, "--patch", "16,16,8", "--out", tmp_path / "plan.json", "--device", "cpu")[0] == 0
    plan = json.loads((tmp_path / "plan.json").read_text())
    plan["classes"] = {"liver": 1, "spleen": 2}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    status, _, err = run("train", phantoms, "--plan", tmp_path / "plan.json", "--out", tmp_path / "run", "--quiet")
    assert status == 1 and "liver (1), spleen (2)" in err and "atrium (1)" in err
