"""Several processes, started together, train one method as one would, or not at all; or share a study."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import duoseg
from duoseg.commands.preparing import prepare_training
from duoseg.commands.runs import build_method
from duoseg.config import load_config
from duoseg.scans.dataset import load_dataset
from duoseg.training.checkpoint import load_checkpoint
from duoseg.training.log import read_log
from duoseg.training.ranks import Ranks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no processes that work together"),
]

# Behind a protocol whose last section is that of the network.
TOGETHER = """
dropout = 0.0

[plan.batch]
labelled = 4
unlabelled = 4

[plan.optimiser]
name = "sgd"
learning_rate = 0.02
momentum = 0.9
weight_decay = 0.0

[training]
checkpoint_seconds = 0.2
"""

LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
"""A machine whose own name nothing resolves can still talk to itself."""

# Trains as the command does, and writes what each process's weights are after the last step.
WATCHED = """
import hashlib, json, sys
from pathlib import Path
import duoseg
from duoseg.training import loop

options = json.loads(sys.argv[1])

class Steps(loop.Steps):
    def take(self, raw, *, step, progress):
        terms = super().take(raw, step=step, progress=progress)
        weights = b"".join(w.detach().contiguous().numpy().tobytes() for w in self._method.state_dict().values())
        file = Path(f"{options['out']}.rank{self._ranks.index}")
        file.write_text(hashlib.sha256(weights).hexdigest())
        return terms

loop.Steps = Steps
duoseg.train(**options, device="cpu", threads=1)
"""


@pytest.fixture(scope="module")
def protocol(tmp_path_factory, tiny_protocol):
    path = tmp_path_factory.mktemp("protocol") / "together.toml"
    path.write_text(tiny_protocol.read_text().replace("steps = 12", "steps = 8") + TOGETHER)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def torchrun(processes: int, *words: object, **options) -> subprocess.Popen:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
    return subprocess.Popen(
        [*map(str, launch), *map(str, words)],
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **LOOPBACK},
        **options,
    )


def srun(step: int, rank: int, *words: object) -> subprocess.Popen:
    """One of the two processes of a step of a SLURM job on this machine."""
    told = {"STEP_NUM_TASKS": 2, "STEP_TASKS_PER_NODE": 2, "STEP_NODELIST": "localhost", "NODELIST": "localhost"}
    told |= {"JOB_ID": 4321, "STEP_ID": step, "PROCID": rank, "LOCALID": rank, "NODEID": 0}
    return subprocess.Popen(
        [sys.executable, "-m", "duoseg", *map(str, words)],
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **{f"SLURM_{name}": str(value) for name, value in told.items()}, **LOOPBACK},
    )


def together(processes: int, data: Path, out: Path, *words: object, **options) -> subprocess.Popen:
    command = ("-m", "duoseg", "train", data, "--out", out, "--device", "cpu", "--threads", 1, "--quiet", *words)
    return torchrun(processes, *command, **options)


def well_begun(data: Path, out: Path, protocol: Path, cache: Path, deadline: float) -> subprocess.Popen:
    """Two processes that train together, and have saved a step."""
    job = together(2, data, out, "--config", protocol, "--cache", cache, "--steps", 3000)
    while not (out / "config.toml").is_file() or load_checkpoint(out)["step"] == 0:
        assert time.monotonic() < deadline and job.poll() is None
        time.sleep(0.1)
    return job


def losses(run: Path) -> list[float]:
    return [record["loss"] for record in read_log(run)]


def test_processes_that_train_together_prepare_a_part_of_the_scans_each(phantoms, protocol, tmp_path, monkeypatch):
    split = load_dataset(phantoms).split(labelled=2)
    plan = duoseg.plan(phantoms, labelled=2, config=protocol, device="cpu")
    learner, there = build_method(load_config(protocol).with_options(method="dtml"), plan), []
    monkeypatch.setattr(Ranks, "wait", lambda ranks: there.append({file.name for file in tmp_path.glob("*.prepared")}))
    cases = [*split.labelled, *split.unlabelled]
    for index in range(2):
        prepared, more = prepare_training(
            [learner], split, plan, tmp_path, cores=1, ranks=Ranks(index, 2), progress=None
        )
        assert [case.name for case in (*prepared, *more)] == [case.name for case in cases]
    assert {name.split(".")[0] for name in there[0]} == {case.name for case in cases[::2]}


def test_commands_that_were_started_together_share_a_study(phantoms, protocol, cache, tmp_path):
    words = ("--methods", "supervised,dtml", "--labelled", 2, "--seeds", 0, "--cache", cache, "--jobs", 1)
    process = torchrun(
        2,
        *("-m", "duoseg", "compare", phantoms, "--config", protocol, "--out", tmp_path / "study", *words),
        *("--threads", 1, "--device", "cpu", "--quiet"),
    )
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    with (tmp_path / "study" / "results.csv").open() as stream:
        assert {row["method"] for row in csv.DictReader(stream)} == {"supervised", "dtml"}


@pytest.mark.parametrize("method", ["dtml", "duo"])
def test_two_and_four_processes_learn_what_one_learns(method, phantoms, protocol, cache, tmp_path):
    # A slope of 1,500 magnifies every rounding; with views, each process takes its own turns.
    settings = {"dtml": {"k": 20.0}, "duo": {"views": []}}[method]
    config = tmp_path / "config.toml"
    config.write_text(
        protocol.read_text() + f"\n[methods.{method}]\n" + "".join(f"{k} = {v}" for k, v in settings.items())
    )
    options = {"data": str(phantoms), "config": str(config), "method": method, "cache": str(cache)}
    duoseg.train(**options, out=tmp_path / "one", device="cpu", threads=1)
    script = tmp_path / "watched.py"
    script.write_text(WATCHED)
    for count in (2, 4):
        out = tmp_path / f"of-{count}"
        process = torchrun(count, script, json.dumps({**options, "out": str(out)}))
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 0, said
        # Sums in another order: the differences are those of 32 bits, and grow with the steps.
        assert losses(out) == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
        weights = {Path(f"{out}.rank{rank}").read_text() for rank in range(count)}
        assert len(weights) == 1
        assert (out / "report.html").is_file() and (out / "model.safetensors").is_file()


def test_two_steps_of_one_slurm_job_train_side_by_side_and_quietly(phantoms, protocol, cache, tmp_path):
    words = ("--config", protocol, "--cache", cache, "--device", "cpu", "--threads", 1, "--steps", 2, "--quiet")
    jobs = [
        srun(step, rank, "train", phantoms, "--out", tmp_path / str(step), *words)
        for step in range(2)
        for rank in range(2)
    ]
    said = [job.communicate(timeout=240)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 4, said
    assert said == [""] * 4
    for step in range(2):
        assert read_log(tmp_path / str(step))[-1]["step"] == 2
        assert (tmp_path / str(step) / "model.safetensors").is_file()


def test_a_batch_that_cannot_be_shared_is_refused_once_and_nothing_is_written(phantoms, protocol, cache, tmp_path):
    process = together(3, phantoms, tmp_path / "run", "--config", protocol, "--cache", cache)
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert said.count("3 processes cannot share a batch of 4 labelled and 4 unlabelled patches evenly") == 1
    assert "a batch of 6 and 6" in said
    assert not (tmp_path / "run" / "config.toml").exists()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_a_killed_process_ends_the_job_in_words_and_another_number_goes_on(phantoms, protocol, cache, tmp_path):
    out = tmp_path / "run"
    deadline = time.monotonic() + 120
    job = well_begun(phantoms, out, protocol, cache, deadline)
    children = [int(child) for child in Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()]
    os.kill(children[-1], signal.SIGKILL)
    said, _ = job.communicate(timeout=60)
    assert job.returncode != 0
    assert "another of the 2 processes has ended" in said and "--resume goes on" in said
    before = load_checkpoint(out)["step"]

    words = ("train", phantoms, "--out", out, "--resume", "--device", "cpu", "--threads", 1, "--quiet")
    alone = subprocess.Popen([sys.executable, "-m", "duoseg", *map(str, words)], stderr=subprocess.PIPE, text=True)
    while load_checkpoint(out)["step"] <= before:
        assert time.monotonic() < deadline + 60 and alone.poll() is None
        time.sleep(0.1)
    alone.send_signal(signal.SIGINT)
    _, said = alone.communicate(timeout=60)
    assert "the state is saved" in said


def test_a_request_to_terminate_stops_all_after_the_same_step_and_saves(phantoms, protocol, cache, tmp_path):
    out = tmp_path / "run"
    deadline = time.monotonic() + 120
    job = well_begun(phantoms, out, protocol, cache, deadline)
    before = load_checkpoint(out)["step"]
    job.terminate()
    said, _ = job.communicate(timeout=60)
    assert job.returncode != 0 and "the state is saved" in said and "has ended" not in said
    assert load_checkpoint(out)["step"] >= before
    assert load_checkpoint(out)["step"] == read_log(out)[-1]["step"]
