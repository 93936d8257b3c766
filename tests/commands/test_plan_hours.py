"""`duoseg plan --hours`: measured here, kept as it is by training, and about as long as it says."""

from __future__ import annotations

import json
import logging
import re
import time

import pytest

import duoseg
from duoseg.cli import main
from duoseg.errors import InputError
from duoseg.training.log import read_log

HOURS = 0.009


@pytest.mark.slow
def test_hours_give_a_plan_that_training_takes_as_it_is_and_that_lasts_about_as_long(phantoms, tmp_path, capsys):
    path = tmp_path / "plan.json"
    began = time.monotonic()
    with pytest.raises(SystemExit, match="0"):
        main(["plan", str(phantoms), "--hours", str(HOURS), "--threads", "1", "--out", str(path), "--device", "cpu"])
    assert time.monotonic() - began < 120
    told = json.loads(path.read_text())
    assert "a step of duo takes" in told["reasons"]["hours"] and "Measuring took" in told["reasons"]["hours"]
    assert "As many as fit" in told["reasons"]["steps"]
    assert "Given up" in capsys.readouterr().out

    run = duoseg.train(phantoms, tmp_path / "run", plan=path, cache=tmp_path / "cache", device="cpu", threads=1)
    assert run.plan.model_dump(mode="json") == told
    planned = HOURS * 3600 - 20
    assert planned / 2 < read_log(tmp_path / "run")[-1]["seconds"] < planned * 2


def test_what_was_asked_for_is_kept_and_named(phantoms, tmp_path):
    plan = duoseg.plan(phantoms, hours=0.05, steps=60, patch=(16, 16, 8), device="cpu", threads=1)
    assert (plan.steps, plan.patch) == (60, (16, 16, 8))
    assert "Kept as asked for: steps, patch." in plan.reasons["hours"]
    assert "As asked for" in plan.reasons["steps"]


def test_steps_that_cannot_fit_are_refused_with_the_time_that_they_take(phantoms, tmp_path):
    with pytest.raises(InputError, match=r"the 10000000 steps that were asked for would take [\d,.]+ h even with"):
        duoseg.plan(phantoms, hours=0.05, steps=10_000_000, device="cpu", threads=1)


@pytest.mark.parametrize("hours", [0, -1, float("nan"), float("inf"), "soon"])
def test_hours_that_are_none_are_refused_before_the_scans_are_read(hours, phantoms, monkeypatch):
    monkeypatch.setattr("duoseg.scans.formats.nifti.read_scan", lambda path: pytest.fail("a scan was read"))
    with pytest.raises(InputError, match=r"hours: .* must be a positive, finite number"):
        duoseg.plan(phantoms, hours=hours, device="cpu")


def test_without_hours_nothing_is_measured_and_the_plan_is_the_same_to_the_byte(phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr("duoseg.commands.hours.measure_step", lambda *a, **k: pytest.fail("a step was measured"))
    texts = []
    for name in ("a", "b"):
        duoseg.plan(phantoms, device="cpu", out=tmp_path / name)
        texts.append((tmp_path / name).read_bytes())
    assert texts[0] == texts[1] and b'"hours"' not in texts[0]


def test_a_patch_beyond_the_memory_is_warned_of_and_with_hours_refused_untried(phantoms, monkeypatch, caplog):
    huge = (192, 192, 192)
    monkeypatch.setattr("duoseg.commands.hours.available_bytes", lambda device: 1_000_000_000)
    with caplog.at_level(logging.WARNING, logger="duoseg"):
        duoseg.plan(phantoms, patch=huge, device="cpu")
    assert "192 x 192 x 192 voxels will need about" in caplog.text
    patch = re.search(r"What would fit: `duoseg plan --patch ([\d,]+)`", caplog.text)[1]
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="duoseg"):
        duoseg.plan(phantoms, patch=tuple(map(int, patch.split(","))), device="cpu")
    assert "memory" not in caplog.text
    monkeypatch.setattr("duoseg.commands.hours.measure_step", lambda *a, **k: pytest.fail("a step was tried"))
    with pytest.raises(InputError, match=r"needs about [\d.]+ GB of memory \(1 GB available\); give a smaller --patch"):
        duoseg.plan(phantoms, patch=huge, hours=1, device="cpu")


@pytest.mark.parametrize("there", [290, 217])
def test_the_patch_that_is_said_to_fit_does_with_the_network_that_is_planned_for_it(
    phantoms, monkeypatch, caplog, tmp_path, there
):
    monkeypatch.setattr("duoseg.commands.hours.available_bytes", lambda device: there * 10**6)
    duoseg.plan(phantoms, patch=(64, 64, 48), spacing=(0.5, 0.5, 0.5), device="cpu", threads=1)
    found = re.search(r"`duoseg plan --patch ([0-9,]+)`", caplog.text)
    assert found
    caplog.clear()
    x, y, z = map(int, found[1].split(","))
    duoseg.plan(phantoms, patch=(x, y, z), spacing=(0.5, 0.5, 0.5), device="cpu", threads=1)
    assert "available" not in caplog.text


def test_a_patch_that_no_memory_could_hold_is_refused(phantoms):
    for hours in (None, 1):
        with pytest.raises(InputError, match="memory"):
            duoseg.plan(phantoms, patch=(65536, 65536, 65536), hours=hours, device="cpu")


def test_steps_beyond_all_counting_are_no_want_of_memory(phantoms):
    with pytest.raises(InputError, match=r"asks for .* and 2e\+09 steps; at most") as refusal:
        duoseg.plan(phantoms, hours=1, steps=2_000_000_000, device="cpu", threads=1)
    assert "memory" not in str(refusal.value)


def test_a_plan_made_with_a_configuration_is_trained_with_it_as_it_is(phantoms, tiny_protocol, tmp_path, caplog):
    settings = tmp_path / "settings.toml"
    settings.write_text('method = "supervised"\nlabelled = 2\n' + tiny_protocol.read_text())
    path = tmp_path / "plan.json"
    made = duoseg.plan(phantoms, config=settings, hours=1, out=path, device="cpu", threads=1)
    assert "a step of supervised takes" in made.reasons["hours"]
    with caplog.at_level(logging.WARNING, logger="duoseg"):
        run = duoseg.train(
            phantoms, tmp_path / "run", plan=path, config=settings, cache=tmp_path / "cache", device="cpu", threads=1
        )
    assert run.plan == made and (run.config.method, run.config.labelled) == ("supervised", 2)
    assert "[plan]" not in caplog.text


def test_a_plan_file_wins_over_the_configuration_and_what_is_not_used_is_named(
    phantoms, tiny_protocol, tmp_path, caplog
):
    path = tmp_path / "plan.json"
    made = duoseg.plan(phantoms, config=tiny_protocol, out=path, device="cpu")
    other = tmp_path / "other.toml"
    other.write_text(tiny_protocol.read_text().replace("16, 16, 8", "8, 8, 8").replace("[4, 8]", "[8, 8]"))
    with caplog.at_level(logging.WARNING, logger="duoseg"):
        run = duoseg.train(
            phantoms, tmp_path / "run", plan=path, config=other, cache=tmp_path / "cache", device="cpu", threads=1
        )
    assert run.plan == made
    assert "patch, network.channels" in caplog.text and "[plan]" in caplog.text
