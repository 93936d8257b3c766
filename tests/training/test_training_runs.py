"""Whole trainings on small phantoms: resume is exact, changed settings are refused, unlabelled truth is never read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from pydantic import create_model

import duoseg
from duoseg.commands import choosing
from duoseg.errors import InputError
from duoseg.methods.base import Stage
from duoseg.methods.dtml import Dtml
from duoseg.model.draws import MOST_SEED
from duoseg.training.checkpoint import load_checkpoint, save_checkpoint
from duoseg.training.interruption import Interrupted
from duoseg.training.log import read_log
from duoseg.training.spans import spans


def train(data, out, protocol, cache, **options):
    return duoseg.train(data, out, config=protocol, cache=cache, device="cpu", threads=1, **options)


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


def command(data: Path, out: Path, protocol: Path, cache: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "duoseg", "train", str(data), "--out", str(out), "--config", str(protocol)),
        *("--cache", str(cache), "--device", "cpu", "--threads", "1", *more),
    ]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def wait_for_step(run: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while not (read_log(run) and read_log(run)[-1]["step"] >= step):
        assert time.monotonic() < deadline, "the training does not advance"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def long_protocol(tmp_path_factory, tiny_protocol):
    """Long enough to be killed in its middle; a checkpoint about every half second."""
    path = tmp_path_factory.mktemp("protocol") / "long.toml"
    text = tiny_protocol.read_text().replace("steps = 12", "steps = 150")
    path.write_text(text + "\n[training]\ncheckpoint_seconds = 0.5\n")
    return path


@pytest.fixture(scope="module")
def uninterrupted(phantoms, long_protocol, cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(phantoms, out, long_protocol, cache)
    return out


def test_killed_twice_and_resumed_gives_the_same_weights_to_the_byte(
    phantoms, long_protocol, cache, uninterrupted, tmp_path
):
    out = tmp_path / "killed"
    resume: tuple[str, ...] = ()
    for step in (20, 70):
        process = subprocess.Popen(command(phantoms, out, long_protocol, cache, "--quiet", *resume))
        wait_for_step(out, step)
        process.send_signal(signal.SIGKILL)
        process.wait()
        resume = ("--resume",)
    subprocess.run(command(phantoms, out, long_protocol, cache, "--quiet", "--resume"), check=True)
    assert weights(out) == weights(uninterrupted)
    assert [record["step"] for record in read_log(out)] == list(range(1, 151))


def test_an_interrupt_saves_the_last_step_and_exits_with_130(phantoms, long_protocol, cache, uninterrupted, tmp_path):
    out = tmp_path / "interrupted"
    process = subprocess.Popen(command(phantoms, out, long_protocol, cache), stderr=subprocess.PIPE, text=True)
    wait_for_step(out, 10)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in errors and "Traceback" not in errors
    done = load_checkpoint(out)["step"]
    assert done == read_log(out)[-1]["step"] < 150
    train(phantoms, out, long_protocol, cache, resume=True)
    assert weights(out) == weights(uninterrupted)


def test_an_interrupt_while_a_step_is_reported_loses_no_step(phantoms, tiny_protocol, cache, tmp_path, monkeypatch):
    monkeypatch.setattr("duoseg.training.loop.REPORT_SECONDS", 0.0)

    def interrupt(what, done, total, detail=""):
        if what == "train" and done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(phantoms, tmp_path, tiny_protocol, cache, progress=interrupt)
    assert load_checkpoint(tmp_path)["step"] == read_log(tmp_path)[-1]["step"] >= 5


def test_a_network_and_its_adversary_both_go_on_exactly(phantoms, tiny_protocol, cache, tmp_path, monkeypatch):
    monkeypatch.setattr("duoseg.training.loop.REPORT_SECONDS", 0.0)

    def interrupt(what, done, total, detail=""):
        if what == "train" and done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    train(phantoms, tmp_path / "whole", tiny_protocol, cache, method="sassnet")
    with pytest.raises(Interrupted):
        train(phantoms, tmp_path / "two", tiny_protocol, cache, method="sassnet", progress=interrupt)
    train(phantoms, tmp_path / "two", tiny_protocol, cache, method="sassnet", resume=True)
    whole, two = (load_checkpoint(tmp_path / name) for name in ("whole", "two"))
    assert any(name.startswith("adversary.") for name in whole["method"])
    for name, weight in whole["method"].items():
        assert torch.equal(weight, two["method"][name]), name
    assert len(whole["optimiser"]["states"]) == 2


def test_a_run_keeps_the_settings_that_were_defaults_when_it_began(
    phantoms, tiny_protocol, cache, tmp_path, monkeypatch
):
    train(phantoms, tmp_path / "run", tiny_protocol, cache, method="dtml")
    kept = tomllib.loads((tmp_path / "run" / "config.toml").read_text())["methods"]["dtml"]
    assert kept == {"k": 1500.0, "weight": 1.0, "ramp_levels": 40, "predict": "region"}
    # Of a later version, with another default: the run's own settings stay, and those given anew are compared.
    softer = create_model("Settings", __base__=Dtml.Settings, k=(float, 20.0))
    monkeypatch.setattr(Dtml, "Settings", softer)
    duoseg.train(phantoms, tmp_path / "run", resume=True, cache=cache, device="cpu", threads=1)
    with pytest.raises(InputError, match=r"config\.methods\.dtml\.k was 1500\.0 and is now 20\.0"):
        train(phantoms, tmp_path / "run", tiny_protocol, cache, method="dtml", resume=True)


def test_a_run_of_a_version_that_left_out_defaults_goes_on(phantoms, tiny_protocol, cache, tmp_path):
    train(phantoms, tmp_path, tiny_protocol, cache, method="dtml")
    state = load_checkpoint(tmp_path)
    assert state["identity"]["config"]["methods"].pop("dtml")
    assert state["identity"]["plan"]["batch"].pop("accumulate") == 1
    state["step"] = 6  # so that steps are taken, from the state of the one optimiser that there was
    (state["optimiser"],) = state["optimiser"]["states"]
    save_checkpoint(tmp_path, state)
    train(phantoms, tmp_path, tiny_protocol, cache, method="dtml", resume=True)


def test_a_loss_term_cannot_have_the_name_of_something_else_in_the_log(
    phantoms, tiny_protocol, cache, tmp_path, monkeypatch
):
    forward = Dtml.forward
    monkeypatch.setattr(Dtml, "forward", lambda *given: {"loss": sum(forward(*given).values())})
    with pytest.raises(InputError, match="The method calls a loss term 'loss', which the log uses"):
        train(phantoms, tmp_path, tiny_protocol, cache, method="dtml")


def test_the_largest_seed_trains(phantoms, tiny_protocol, cache, tmp_path):
    train(phantoms, tmp_path / "run", tiny_protocol, cache, seed=MOST_SEED)
    with pytest.raises(InputError, match="seed"):
        train(phantoms, tmp_path / "larger", tiny_protocol, cache, seed=MOST_SEED + 1)


def test_resume_names_the_settings_that_differ(phantoms, tiny_protocol, cache, tmp_path):
    out = tmp_path / "run"
    train(phantoms, out, tiny_protocol, cache, method="dtml")
    with pytest.raises(InputError, match=r"config\.training\.seed was 0 and is now 7"):
        duoseg.train(phantoms, out, seed=7, resume=True, cache=cache, device="cpu", threads=1)
    with pytest.raises(InputError, match=r"these settings differ: config\.method was 'dtml' and is now 'sassnet'\."):
        duoseg.train(phantoms, out, method="sassnet", resume=True, cache=cache, device="cpu", threads=1)
    with pytest.raises(InputError, match=r"plan\.steps was 12 and is now 13"):
        duoseg.train(phantoms, out, steps=13, resume=True, cache=cache, device="cpu", threads=1)


def test_a_second_run_in_the_same_folder_is_refused(phantoms, tiny_protocol, cache, tmp_path):
    out = tmp_path / "run"
    train(phantoms, out, tiny_protocol, cache)
    before = weights(out)
    with pytest.raises(InputError, match="already holds a run"):
        train(phantoms, out, tiny_protocol, cache)
    assert weights(out) == before


def test_a_training_that_is_refused_leaves_no_folder(phantoms, tiny_protocol, cache, tmp_path):
    with pytest.raises(InputError, match="no method"):
        train(phantoms, tmp_path / "run", tiny_protocol, cache, method="dtlm")
    assert not (tmp_path / "run").exists()


def test_resuming_nothing_is_refused(phantoms, tiny_protocol, cache, tmp_path):
    with pytest.raises(InputError, match="no run to resume"):
        train(phantoms, tmp_path / "none", tiny_protocol, cache, resume=True)


def test_a_damaged_checkpoint_is_refused_by_name(phantoms, tiny_protocol, cache, tmp_path):
    out = tmp_path / "run"
    train(phantoms, out, tiny_protocol, cache)
    (out / "checkpoint.pt").write_bytes((out / "checkpoint.pt").read_bytes()[:200])
    with pytest.raises(InputError, match=r"checkpoint\.pt: the checkpoint cannot be read"):
        duoseg.train(phantoms, out, resume=True, cache=cache, device="cpu", threads=1)


def with_all_labels(phantoms: Path, folder: Path) -> Path:
    """The phantoms with a (made up) label file beside every unlabelled scan as well."""
    shutil.copytree(phantoms, folder)
    labels = {path.name for path in (folder / "labelsTr").iterdir()}
    for image in (folder / "imagesTr").iterdir():
        name = image.name.replace("_0000", "")
        if name not in labels:
            scan = nib.load(image)
            mask = (np.asarray(scan.dataobj) > np.median(scan.dataobj)).astype(np.uint8)
            nib.save(nib.Nifti1Image(mask, scan.affine), folder / "labelsTr" / name)
    return folder


def test_unlabelled_truth_is_never_read(phantoms, tiny_protocol, tmp_path):
    """With garbage for the labels beyond the first N, the plan and the weights stay the same to the byte."""
    data = with_all_labels(phantoms, tmp_path / "data")
    train(data, tmp_path / "clean", tiny_protocol, tmp_path / "cache", method="dtml", labelled=3)
    labelled = json.loads((tmp_path / "clean" / "cases.json").read_text())["labelled"]
    spoilt = [path for path in (data / "labelsTr").iterdir() if path.name.split(".")[0] not in labelled]
    assert len(spoilt) == 4
    for path in spoilt:
        path.write_bytes(b"this is no label")
    train(data, tmp_path / "garbage", tiny_protocol, tmp_path / "cache2", method="dtml", labelled=3)
    for name in ("plan.json", "cases.json", "model.safetensors"):
        assert (tmp_path / "clean" / name).read_bytes() == (tmp_path / "garbage" / name).read_bytes(), name


def test_an_unlabelled_image_matters_to_dtml_and_not_to_supervised(phantoms, tiny_protocol, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    plan = tmp_path / "plan.json"
    duoseg.plan(data, config=tiny_protocol, out=plan, device="cpu")
    methods = ("dtml", "supervised")

    def run(name):
        for method in methods:
            train(data, tmp_path / name / method, None, tmp_path / "cache", method=method, plan=plan)

    run("before")
    unlabelled = json.loads((tmp_path / "before" / "dtml" / "cases.json").read_text())["unlabelled"]
    for case in unlabelled:
        path = data / "imagesTr" / f"{case}_0000.nii.gz"
        scan = nib.load(path)
        nib.save(nib.Nifti1Image(np.asarray(scan.dataobj)[::-1].copy(), scan.affine, scan.header), path)
    run("after")
    assert weights(tmp_path / "before" / "dtml") != weights(tmp_path / "after" / "dtml")
    assert weights(tmp_path / "before" / "supervised") == weights(tmp_path / "after" / "supervised")


def test_a_loss_that_is_not_finite_stops_with_step_and_term(phantoms, tiny_protocol, cache, tmp_path):
    protocol = tmp_path / "wild.toml"
    protocol.write_text(
        tiny_protocol.read_text() + '\n[plan.optimiser]\nname = "sgd"\nlearning_rate = 1e30\nclip_norm = 0\n'
    )
    with pytest.raises(InputError, match=r"the loss term 'region' became nan at step \d+"):
        train(phantoms, tmp_path / "run", protocol, cache, method="supervised")


def test_training_can_start_from_another_runs_weights(phantoms, tiny_protocol, cache, tmp_path):
    train(phantoms, tmp_path / "first", tiny_protocol, cache, method="supervised")
    train(phantoms, tmp_path / "second", tiny_protocol, cache, method="supervised", start_from=tmp_path / "first")
    first, second = (read_log(tmp_path / name)[0]["loss"] for name in ("first", "second"))
    assert second < first
    with pytest.raises(InputError, match=r"holds no network 'boundary' \(it has: student\)|\(it has: region\)"):
        train(phantoms, tmp_path / "third", tiny_protocol, cache, method="duo", start_from=tmp_path / "first")


@pytest.mark.parametrize("option", ["start_from", "plan"])
def test_a_wrong_path_is_told_before_any_scan_is_looked_at(
    phantoms, tiny_protocol, cache, tmp_path, monkeypatch, option
):
    for work in ("require_apart", "plan_dataset"):
        monkeypatch.setattr(choosing, work, lambda *_, **__: pytest.fail("it began to work"))
    with pytest.raises(InputError, match="nowhere"):
        train(phantoms, tmp_path / "run", tiny_protocol, cache, **{option: tmp_path / "nowhere"})


def test_steps_are_divided_among_stages_without_gap_or_overlap():
    stages = [Stage("a", 0.3), Stage("b", 0.3), Stage("c", 0.4)]
    for steps in (7, 10, 1500):
        found = spans(stages, steps)
        assert [found[0].first, found[-1].last] == [0, steps]
        assert all(one.last == other.first for one, other in pairwise(found))
        assert [list(one.schedule) for one in found] == [list(range(one.first, one.last)) for one in found]


def test_a_stage_that_goes_on_shares_the_schedule_of_the_one_before():
    stages = [Stage("a", 0.2), Stage("b", 0.3, anew=False), Stage("c", 0.1), Stage("d", 0.4, anew=False)]
    found = spans(stages, 10)
    assert [one.begins_anew for one in found] == [True, False, True, False]
    assert [one.schedule for one in found] == [range(5), range(5), range(5, 10), range(5, 10)]
    assert spans([Stage("first", anew=False)], 10)[0].begins_anew  # from what should it go on?


def test_two_stages_of_which_the_second_goes_on_train_as_one(phantoms, tiny_protocol, cache, tmp_path, monkeypatch):
    """With the same batches, weights are the same: rate and momentum know nothing of the boundary."""
    from duoseg.methods.supervised import Supervised

    def run(name, *stages):
        monkeypatch.setattr(Supervised, "stages", stages)
        train(phantoms, tmp_path / name, tiny_protocol, cache, method="supervised")
        return weights(tmp_path / name), [record["learning_rate"] for record in read_log(tmp_path / name)]

    whole = run("whole", Stage("all", batch="labelled"))
    goes_on = run("goes-on", Stage("a", 0.5, batch="labelled"), Stage("b", 0.5, batch="labelled", anew=False))
    anew = run("anew", Stage("a", 0.5, batch="labelled"), Stage("b", 0.5, batch="labelled"))
    assert goes_on == whole
    assert anew[1] != whole[1]


def test_the_log_holds_every_term_of_every_step(phantoms, tiny_protocol, cache, tmp_path):
    train(phantoms, tmp_path / "run", tiny_protocol, cache, method="dtml")
    records = read_log(tmp_path / "run")
    assert [record["step"] for record in records] == list(range(1, 13))
    for record in records:
        assert record["loss"] == pytest.approx(record["region"] + record["boundary"] + record["mutual"], rel=1e-6)


def test_a_log_with_a_damaged_line_is_that_of_all_other_steps(phantoms, tiny_protocol, cache, tmp_path):
    train(phantoms, tmp_path / "run", tiny_protocol, cache, method="supervised")
    log = tmp_path / "run" / "log.jsonl"
    lines = log.read_text().splitlines()
    log.write_text("\n".join([*lines[:7], "\0" * 40, *lines[8:], ""]))
    whole = [step for step in range(1, len(lines) + 1) if step != 8]
    assert [record["step"] for record in read_log(tmp_path / "run")] == whole
    train(phantoms, tmp_path / "run", None, cache, resume=True)
    assert [record["step"] for record in read_log(tmp_path / "run")] == whole


def test_the_checkpoint_of_a_hundred_thousand_scans_can_be_read(phantoms, tiny_protocol, cache, tmp_path):
    train(phantoms, tmp_path / "run", tiny_protocol, cache, method="supervised", steps=1)
    state = load_checkpoint(tmp_path / "run")
    names = [f"1.2.840.113619.2.5.1762583153.215519.978957063.{number:018d}" for number in range(100_000)]
    state["identity"] |= {"contents": dict.fromkeys(names, "0123456789abcdef")}
    save_checkpoint(tmp_path, state)
    assert len(load_checkpoint(tmp_path)["identity"]["contents"]) == 100_000


def test_code_of_a_method_that_changed_under_one_revision_is_told_when_a_run_goes_on(
    phantoms, tiny_protocol, cache, tmp_path, caplog, monkeypatch
):
    train(phantoms, tmp_path / "run", tiny_protocol, cache, method="supervised")
    train(phantoms, tmp_path / "run", None, cache, resume=True)
    assert "other code" not in caplog.text
    kept = tmp_path / "run" / "environment.json"
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"method_code": "0123456789abcdef"}))
    train(phantoms, tmp_path / "run", None, cache, resume=True)
    assert "run: was trained with other code of the method 'supervised'" in caplog.text
    assert json.loads(kept.read_text())["method_code"].startswith(
        "0123456789abcdef+"
    )  # so that it is told the next time, too


def test_two_trainings_into_one_folder_do_not_mix(phantoms, long_protocol, tiny_protocol, cache, tmp_path):
    process = subprocess.Popen(command(phantoms, tmp_path / "run", long_protocol, cache, "--quiet"))
    try:
        wait_for_step(tmp_path / "run", 1)
        with pytest.raises(InputError, match="run: another process is training in this folder"):
            train(phantoms, tmp_path / "run", None, cache, resume=True)
    finally:
        process.kill()
        process.wait()
    train(phantoms, tmp_path / "other", tiny_protocol, cache, method="supervised")
    assert not [path for path in (tmp_path / "other").iterdir() if path.name.startswith(".")]


def test_the_weights_of_a_run_without_its_configuration_are_never_replaced(phantoms, tiny_protocol, cache, tmp_path):
    train(phantoms, tmp_path / "run", tiny_protocol, cache, method="supervised")
    (tmp_path / "run" / "config.toml").unlink()
    before = weights(tmp_path / "run")
    for resume in (True, False):
        with pytest.raises(InputError, match=r"holds model\.safetensors of a run whose config\.toml is missing"):
            train(phantoms, tmp_path / "run", tiny_protocol, cache, method="supervised", resume=resume)
    assert weights(tmp_path / "run") == before


def test_a_plan_without_unlabelled_patches_is_refused_where_unlabelled_scans_are_to_teach(
    phantoms, tiny_protocol, cache, tmp_path
):
    duoseg.plan(phantoms, config=tiny_protocol, out=tmp_path / "plan.json")
    plan = json.loads((tmp_path / "plan.json").read_text())
    plan["batch"] |= {"labelled": 4, "unlabelled": 0}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(InputError, match=r"duo learns from unlabelled scans, .* Plan anew"):
        train(phantoms, tmp_path / "run", None, cache, method="duo", plan=tmp_path / "plan.json")
    train(phantoms, tmp_path / "run", None, cache, method="supervised", plan=tmp_path / "plan.json", steps=2)


def test_weights_of_other_channels_or_classes_are_no_beginning(phantoms, tiny_protocol, cache, tmp_path):
    train(phantoms, tmp_path / "first", tiny_protocol, cache, method="supervised")
    plan = json.loads((tmp_path / "first" / "plan.json").read_text())
    classes = {f"not {name}": value for name, value in plan["classes"].items()}
    renamed = [{**plan["normalisation"][0], "channel": "T9"}]
    for part, changes in (
        ("classes", {"classes": classes}),
        ("channels", {"channels": ["T9"], "normalisation": renamed}),
    ):
        (tmp_path / "first" / "plan.json").write_text(json.dumps({**plan, **changes}))
        with pytest.raises(InputError, match=f"first: its {part} are .*--from needs the same, in the same order"):
            train(phantoms, tmp_path / "run", tiny_protocol, cache, method="supervised", start_from=tmp_path / "first")


def test_a_run_that_goes_on_needs_no_run_that_it_began_with_and_takes_no_other(
    phantoms, tiny_protocol, cache, tmp_path, monkeypatch
):
    train(phantoms, tmp_path / "first", tiny_protocol, cache, method="supervised")
    shutil.copytree(tmp_path / "first", tmp_path / "other")
    train(phantoms, tmp_path / "run", tiny_protocol, cache, method="supervised", start_from=tmp_path / "first", seed=1)
    shutil.rmtree(tmp_path / "first")
    train(phantoms, tmp_path / "run", None, cache, start_from=tmp_path / "first", resume=True)
    with pytest.raises(InputError, match=r"run: began with the weights of .*first.*leave out --from"):
        train(phantoms, tmp_path / "run", None, cache, start_from=tmp_path / "other", resume=True)
    with pytest.raises(InputError, match="other: began with weights of its own"):
        train(phantoms, tmp_path / "other", None, cache, start_from=tmp_path / "run", resume=True)


def test_a_checkpoint_is_loaded_without_running_code_in_it(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"step": Harmful()}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_run_killed_before_its_first_checkpoint_resumes_from_its_own_beginning(
    phantoms, long_protocol, tiny_protocol, cache, tmp_path
):
    """Also where it began from another run's weights, which need not be named again."""
    train(phantoms, tmp_path / "first", tiny_protocol, cache, method="dtml")
    start = ("--from", str(tmp_path / "first"), "--quiet")
    rare = tmp_path / "rare.toml"
    rare.write_text(long_protocol.read_text().replace("checkpoint_seconds = 0.5", "checkpoint_seconds = 60"))
    subprocess.run(command(phantoms, tmp_path / "whole", rare, cache, *start), check=True)
    process = subprocess.Popen(command(phantoms, tmp_path / "killed", rare, cache, *start))
    wait_for_step(tmp_path / "killed", 5)
    process.kill()
    process.wait()
    assert load_checkpoint(tmp_path / "killed")["step"] == 0
    train(phantoms, tmp_path / "killed", None, cache, resume=True)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_weights_that_are_not_finite_are_never_saved(phantoms, tiny_protocol, cache, tmp_path, monkeypatch):
    from duoseg.methods.supervised import Supervised

    def spoil(self, progress):
        with torch.no_grad():
            next(self.parameters()).fill_(float("nan"))

    monkeypatch.setattr(Supervised, "after_step", spoil)
    protocol = tmp_path / "one.toml"
    protocol.write_text(tiny_protocol.read_text().replace("steps = 12", "steps = 1"))
    with pytest.raises(InputError, match="weights became infinite or undefined at step 1"):
        train(phantoms, tmp_path / "run", protocol, cache, method="supervised")
    assert load_checkpoint(tmp_path / "run")["step"] == 0
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_cluster_job_of_several_tasks_trains_all_the_same(phantoms, tiny_protocol, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_NAME", "segmentation")
    train(phantoms, tmp_path / "run", tiny_protocol, cache, method="supervised")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_and_resuming_on_cuda(phantoms, tiny_protocol, cache, tmp_path):
    duoseg.train(phantoms, tmp_path / "run", config=tiny_protocol, cache=cache, method="dtml", device="cuda")
    duoseg.train(phantoms, tmp_path / "run", cache=cache, resume=True, device="cuda")
    assert np.isfinite([record["loss"] for record in read_log(tmp_path / "run")]).all()
