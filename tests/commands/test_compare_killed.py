"""Studies that are killed, interrupted, or fitted into hours."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import duoseg
from duoseg.commands.comparing.asked import COMBINATION_SECONDS, Measured, Work
from duoseg.commands.comparing.attempts import Attempts
from duoseg.commands.comparing.children import Ended, Task, run_children
from duoseg.commands.comparing.hours import stored_choice
from duoseg.commands.comparing.steps import choose_steps
from duoseg.errors import InputError
from duoseg.planning.budget import START_SECONDS
from duoseg.study.grid import Combination, Entry
from duoseg.training.checkpoint import load_checkpoint
from duoseg.training.log import read_log

linux = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")


def at_work(where: Path) -> list[int]:
    """Processes of combinations whose request lies in a folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0") if process.name.isdigit() else []
        except OSError:  # it has ended
            continue
        if any(word.startswith(f"{where}/") and word.endswith(".json") for word in words):
            found.append(int(process.name))
    return found


def wait_until(true, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def protocol(tmp_path_factory, tiny_protocol):
    path = tmp_path_factory.mktemp("protocol") / "study.toml"
    text = tiny_protocol.read_text().replace("steps = 12", "steps = 50")
    path.write_text(text + "\n[training]\ncheckpoint_seconds = 0.3\n")
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def start(data: Path, out: Path, protocol: Path, cache: Path, *, jobs: int = 2, **options) -> subprocess.Popen:
    words = ["compare", data, "--out", out, "--methods", "supervised,dtml", "--labelled", 2, "--seeds", 0]
    words += ["--config", protocol, "--cache", cache, "--threads", 1, "--jobs", jobs, "--device", "cpu", "--quiet"]
    command = [sys.executable, "-m", "duoseg", *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, **options)


def steps_done(out: Path) -> int:
    return sum(int(log[-1]["step"]) for run in out.glob("*-seed0") if (log := read_log(run)))


@linux
@pytest.mark.slow
def test_a_study_that_is_killed_three_times_gives_the_table_of_one_that_is_not(phantoms, protocol, cache, tmp_path):
    whole = start(phantoms, tmp_path / "whole", protocol, cache)
    assert whole.wait(timeout=240) == 0
    out, draw = tmp_path / "killed", random.Random(0)

    for kill in ("the command", "its process group", "the command", "interrupt"):
        process = start(phantoms, out, protocol, cache, start_new_session=True)
        goal = steps_done(out) + draw.randint(4, 18)
        wait_until(lambda goal=goal: steps_done(out) >= goal or len(list(out.glob("*/result.json"))) == 2)
        if kill == "the command":
            process.kill()
        elif kill == "its process group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        if kill == "interrupt":
            assert process.returncode == 130 and "The same command goes on from there" in errors
            for run in out.glob("*-seed0"):  # the children have saved their last step
                assert load_checkpoint(run)["step"] == read_log(run)[-1]["step"]
        wait_until(lambda: not at_work(out), seconds=5)  # children end with their parent
        assert not (out / "report.html").exists() or kill == "interrupt"
    last = start(phantoms, out, protocol, cache)
    assert last.wait(timeout=240) == 0
    assert (out / "results.csv").read_bytes() == (tmp_path / "whole" / "results.csv").read_bytes()
    costs = [one["cost"] for one in json.loads((out / "study.json").read_text())["combinations"]]
    assert any(cost["resumed"] for cost in costs)
    assert all(cost["train_wall_s"] is None or cost["train_wall_s"] > 0 for cost in costs)


def test_an_attempt_that_was_killed_before_its_first_step_was_not_timed(tmp_path):
    def noted() -> list[dict]:
        return json.loads((tmp_path / "attempts.json").read_text())

    Attempts(tmp_path)
    assert noted() == [{**dict.fromkeys(("wall_s", "cpu_s", "peak_mib", "gpu_peak_mib")), "resumed": False}]
    (tmp_path / "config.toml").touch()  # what a begun training has
    second = Attempts(tmp_path)
    second.noting(lambda *told: None)("train", 7, 20)
    assert [one["wall_s"] is None for one in noted()] == [True, False] and noted()[1]["resumed"]
    total = second.total
    assert total is not None and (total.wall_s, total.cpu_s, total.peak_mib, total.resumed) == (None, None, None, True)


def test_the_times_of_all_attempts_that_were_timed_are_added(tmp_path):
    first = Attempts(tmp_path)
    first.noting(lambda *told: None)("train", 1, 20)
    (tmp_path / "config.toml").touch()
    second = Attempts(tmp_path)
    second.note()
    total, before = second.total, json.loads((tmp_path / "attempts.json").read_text())
    assert total is not None and total.wall_s == sum(one["wall_s"] for one in before) > 0
    assert total.resumed and total.peak_mib is not None


@pytest.mark.slow
def test_two_commands_in_one_folder_give_the_table_of_one(phantoms, protocol, cache, tmp_path):
    assert start(phantoms, tmp_path / "one", protocol, cache).wait(timeout=240) == 0
    out = tmp_path / "two"
    both = [start(phantoms, out, protocol, cache, jobs=1) for _ in range(2)]
    for process in both:
        assert process.wait(timeout=240) == 0, process.stderr.read()
    assert (out / "results.csv").read_bytes() == (tmp_path / "one" / "results.csv").read_bytes()
    for run in out.glob("*-seed0"):
        steps = [record["step"] for record in read_log(run)]
        assert steps == sorted(set(steps))
    combinations = json.loads((out / "study.json").read_text())["combinations"]
    assert [one["status"] for one in combinations] == ["done", "done"]
    assert not any(one["cost"]["resumed"] for one in combinations)


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Writes a module that children can run."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{':'.join(filter(None, sys.path))}")

    def write(name: str, text: str) -> str:
        (folder / f"{name}.py").write_text(text)
        return name

    return write


def run_all(tmp_path: Path, modules: list[str], jobs: int = 1) -> tuple[list, list[Ended]]:
    tasks = [Task(name, name, tmp_path / "request.json", tmp_path / f"{name}.log") for name in modules]
    told, ends = [], []
    interrupted = run_children(
        tasks,
        jobs=jobs,
        environment=lambda slot: {"SLOT": str(slot)},
        told=lambda task, slot, event: told.append((task.name, slot, event)),
        ended=ends.append,
    )
    assert not interrupted
    return told, ends


def test_children_tell_by_lines_and_their_ends_are_told_with_the_reason(tmp_path, modules):
    names = [
        modules("well", "import os\nprint('{\"slot\": %s}' % os.environ['SLOT'], flush=True)\n"),
        modules("raises", "print('{\"done\": 1}', flush=True)\nraise RuntimeError('no such luck')\n"),
        modules("says", 'import sys\nprint(\'{"error": "the scan is empty"}\', flush=True)\nsys.exit(1)\n'),
        modules("mute", "import sys\nsys.exit(3)\n"),
        modules("shot", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"),
    ]
    told, ends = run_all(tmp_path, names)
    assert told == [("well", 0, {"slot": 0}), ("raises", 0, {"done": 1})]
    errors = {one.task.name: one.error for one in ends}
    assert list(errors) == names and errors["well"] is None
    assert errors["raises"].endswith("RuntimeError: no such luck")
    assert errors["says"] == "the scan is empty" and errors["mute"] == "it ended with status 3"
    assert errors["shot"].startswith("it was ended by SIGKILL")
    assert "RuntimeError" in (tmp_path / "raises.log").read_text()


def test_as_many_children_as_asked_for_run_at_once_each_in_its_own_slot(tmp_path, modules):
    text = "import os, time\nprint('{\"began\": %f}' % time.time(), flush=True)\ntime.sleep(0.6)\n"
    names = [modules(f"sleeps{i}", text) for i in range(4)]
    told, ends = run_all(tmp_path, names, jobs=2)
    assert len(ends) == 4 and {slot for _, slot, _ in told} == {0, 1}
    began = sorted(event["began"] for _, _, event in told)
    assert began[2] - began[0] >= 0.6 and began[3] - began[1] >= 0.6


def work(seeds: int, *, step_s: float = 0.1, predict_s: float = 0.5, factor: float = 1.0) -> list[Work]:
    entries = [Entry("supervised", "supervised"), Entry("dtml", "dtml", factor)]
    return [
        Work(Combination.of(entry.name, 4, seed), entry, Measured(step_s, predict_s), scans=10)
        for seed in range(seeds)
        for entry in entries
    ]


def test_the_chosen_steps_are_the_most_that_fit_and_the_same_for_all():
    hours, spent = 0.5, 60.0
    chosen = choose_steps(work(3), hours=hours, spent_s=spent, jobs=2, usual=10_000, asked=None)
    # By hand: two at a time, three rounds.
    usable = 0.9 * hours * 3600 - spent - START_SECONDS
    assert chosen.steps == int((usable / 3 - COMBINATION_SECONDS - 10 * 0.5) / 0.1 + 1e-9)
    assert "as many as fit (usual: 10000)" in chosen.reason and "6 combinations" in chosen.reason
    slower = choose_steps(work(3, factor=3.0), hours=hours, spent_s=spent, jobs=2, usual=10_000, asked=None)
    assert slower.steps < chosen.steps
    assert choose_steps(work(3), hours=5, spent_s=0, jobs=2, usual=300, asked=None).steps == 300


def test_hours_that_do_not_suffice_are_told_with_what_would():
    with pytest.raises(InputError) as refusal:
        choose_steps(work(3, step_s=5), hours=0.22, spent_s=0, jobs=2, usual=1000, asked=None)
    assert "the 50 steps, the fewest that teach anything" in str(refusal.value)
    assert "or 2 of 3 seeds, which fit" in str(refusal.value)
    needed = float(str(refusal.value).split("at least --hours ")[1].split(",")[0])
    assert choose_steps(work(3, step_s=5), hours=needed, spent_s=0, jobs=2, usual=1000, asked=None).steps >= 50
    with pytest.raises(InputError, match="compare less: fewer methods"):
        choose_steps(work(1, step_s=50), hours=0.1, spent_s=0, jobs=2, usual=1000, asked=None)


def test_steps_that_were_asked_for_are_kept_or_refused_with_how_many_would_fit():
    chosen = choose_steps(work(1), hours=1, spent_s=0, jobs=2, usual=10, asked=700)
    assert chosen.steps == 700 and "as asked for" in chosen.reason
    with pytest.raises(InputError, match=r"the 100000 steps that were asked for .* leave out --steps: \d+ would fit"):
        choose_steps(work(1), hours=1, spent_s=0, jobs=2, usual=10, asked=100_000)


@pytest.mark.slow
def test_hours_are_measured_once_and_the_choice_is_taken_when_the_study_goes_on_or_grows(
    phantoms, tiny_protocol, cache, tmp_path, monkeypatch, caplog
):
    protocol = tmp_path / "long.toml"
    protocol.write_text(tiny_protocol.read_text().replace("steps = 12", "steps = 100000"))
    options = {"labelled": [2], "seeds": [0], "config": protocol, "cache": cache, "threads": 1, "jobs": 1}

    def compare(methods, out=tmp_path / "s", hours: float | None = 0.02, **more):
        return duoseg.compare(phantoms, out, methods=methods, hours=hours, device="cpu", **options, **more)

    began = time.monotonic()
    study = compare(["supervised"])
    assert time.monotonic() - began < 1.6 * 0.02 * 3600  # other work may begin beside it
    steps = study.content["steps"]
    assert 50 <= steps < 100_000
    assert read_log(tmp_path / "s" / "supervised-2-seed0")[-1]["step"] == steps
    told = study.content["hours"]
    assert set(told) == {"hours", "steps", "reason"} and told["steps"] == steps and "measured here" in told["reason"]
    with monkeypatch.context() as patched:
        patched.setattr("duoseg.commands.comparing.hours.measure", lambda *a: pytest.fail("measured again"))
        again = compare(["supervised"])
        assert again.content["steps"] == steps and again.content["hours"] == told
        with pytest.raises(
            InputError, match=rf"hours.json: the study's steps \({steps}\) were chosen for --hours 0.02"
        ):
            compare(["supervised"], hours=0.03)
        with pytest.raises(InputError, match=f"--steps 70: the study began with {steps} steps"):
            compare(["supervised"], steps=70)
    grown = compare(["supervised", "boundary"])
    assert read_log(tmp_path / "s" / "boundary-2-seed0")[-1]["step"] == steps
    assert grown.content["hours"]["reason"].startswith(told["reason"] + " Joined later: 1 combination of")
    assert "the study's steps were chosen before it grew, and stay" in caplog.text


def test_a_study_that_began_without_hours_is_not_fitted_into_some_and_nothing_is_written(
    phantoms, tiny_protocol, cache, tmp_path, monkeypatch
):
    options = {"labelled": [2], "seeds": [0], "config": tiny_protocol, "cache": cache, "threads": 1, "device": "cpu"}
    duoseg.compare(phantoms, tmp_path / "s", methods=["supervised"], **options)
    monkeypatch.setattr("duoseg.commands.comparing.hours.measure", lambda *a: pytest.fail("measured"))

    def written():
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*") if path.name != ".lock"}

    before = written()
    with pytest.raises(InputError, match="was begun without hours, and its steps stay"):
        duoseg.compare(phantoms, tmp_path / "s", methods=["supervised", "boundary"], hours=0.1, **options)
    assert written() == before


def test_a_damaged_choice_of_steps_is_refused_with_what_to_do(tmp_path):
    assert stored_choice(tmp_path, 2.0) is None
    (tmp_path / "setup").mkdir()
    (tmp_path / "setup" / "hours.json").write_text('{"hours": 2.0}')
    with pytest.raises(InputError, match=r"hours.json.*put it back, or remove it and give --steps"):
        stored_choice(tmp_path, 2.0)
