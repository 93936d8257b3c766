"""How `duoseg compare` divides a machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from duoseg.commands.comparing.asked import Asked, Measured
from duoseg.commands.comparing.machine import Machine, make_machine
from duoseg.commands.comparing.setup import build_meta, make_setups
from duoseg.config import load_config
from duoseg.scans.dataset import load_dataset
from duoseg.study.folds import divide
from duoseg.study.grid import find_entries, make_grid
from duoseg.training.memory import estimate_bytes

ENTRIES = find_entries(["supervised", "dtml"], {})


@pytest.fixture(scope="module")
def setup(phantoms, tiny_protocol, tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    settings = load_config(tiny_protocol)
    dataset = load_dataset(phantoms)
    setups = make_setups(dataset, out, divide(dataset), [2], settings, device="cpu", cache=out / "cache")
    return setups, settings


def machine(setup, device="cpu", *, count=10, jobs=None, threads=None, before=None) -> Machine:
    return make_machine(device, setup[0], ENTRIES, setup[1], count=count, jobs=jobs, threads=threads, before=before)


def test_a_cpu_has_a_job_of_one_thread_for_each_core_and_no_more_than_there_is_to_do(setup, monkeypatch):
    monkeypatch.setattr("duoseg.commands.comparing.machine.cores", lambda: 6)
    assert machine(setup) == Machine(jobs=6, threads=1)
    assert machine(setup, count=2) == Machine(jobs=2, threads=1)
    assert machine(setup, jobs=2) == Machine(jobs=2, threads=3)
    assert machine(setup, threads=3) == Machine(jobs=2, threads=3)
    assert machine(setup, jobs=4) == Machine(jobs=4, threads=1)
    assert machine(setup, jobs=2, threads=5) == Machine(jobs=2, threads=5)
    assert machine(setup, jobs=20) == Machine(jobs=10, threads=1)
    assert machine(setup, jobs=6, count=2) == Machine(jobs=2, threads=1)


def test_the_longest_is_computed_first_as_far_as_anyone_knows(setup, phantoms, tmp_path):
    entries = [*ENTRIES, replace(ENTRIES[0], name="longer", factor=1.5)]
    parts = divide(load_dataset(phantoms))
    grid = make_grid(entries, [2], [0, 1], [None])
    asked = Asked(tmp_path, setup[1], entries, grid, setup[0], parts, "test", None, "cpu")
    assert [(one.method, one.seed) for one in asked.in_turn(grid)][:3] == [
        ("longer", 0),
        ("supervised", 0),
        ("dtml", 0),
    ]
    seconds = {"supervised": 1.0, "longer": 1.0, "dtml": 2.0}
    timed = replace(asked, measured={(name, 2): Measured(step_s, 1.0) for name, step_s in seconds.items()})
    assert [(one.method, one.seed) for one in timed.in_turn(grid)] == [
        (name, seed) for seed in (0, 1) for name in ("dtml", "longer", "supervised")
    ]
    assert timed.work(grid)[0].seconds(100) > timed.work(grid)[1].seconds(100)


def test_a_study_goes_on_with_the_threads_that_it_began_with(setup, monkeypatch):
    monkeypatch.setattr("duoseg.commands.comparing.machine.cores", lambda: 6)
    assert machine(setup, count=1, before=2) == Machine(jobs=1, threads=2)
    assert machine(setup, jobs=3, before=1) == Machine(jobs=3, threads=1)
    assert machine(setup, threads=4, before=1) == Machine(jobs=1, threads=4)


def test_jobs_are_no_more_than_fit_into_the_memory_with_the_largest_method(setup, monkeypatch):
    monkeypatch.setattr("duoseg.commands.comparing.machine.cores", lambda: 6)
    largest = estimate_bytes(build_meta(setup[1], ENTRIES[1], setup[0][0]), setup[0][0].plan)
    monkeypatch.setattr("duoseg.commands.comparing.machine.PROCESS_BYTES", 0)
    monkeypatch.setattr("duoseg.commands.comparing.machine.available_bytes", lambda device: int(3.5 * largest / 0.9))
    assert machine(setup).jobs == 3
    monkeypatch.setattr("duoseg.commands.comparing.machine.available_bytes", lambda device: 1)
    assert machine(setup).jobs == 1


@pytest.mark.parametrize(("visible", "names"), [("", ("0", "1", "2")), ("5, 7", ("5", "7")), ("GPU-a", ("GPU-a",))])
def test_each_gpu_has_a_job_that_sees_no_other(setup, monkeypatch, visible, names):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = machine(setup, "cuda")
    assert found.jobs == len(names)
    seen = [found.environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(len(names) + 1)]
    assert tuple(seen) == (*names, names[0])
    assert "CUDA_VISIBLE_DEVICES" not in machine(setup).environment(0)


@pytest.mark.parametrize(
    ("gpus", "here", "names"), [(5, 0, ("0", "2", "4")), (5, 1, ("1", "3")), (1, 0, ("0",)), (1, 1, ("0",))]
)
def test_commands_that_were_started_together_have_gpus_of_their_own(setup, monkeypatch, gpus, here, names):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    told = {"TORCHELASTIC_RUN_ID": "x", "RANK": here, "WORLD_SIZE": 2, "LOCAL_RANK": here, "LOCAL_WORLD_SIZE": 2}
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))
    assert machine(setup, "cuda").gpus == names


def test_gpus_that_slurm_has_divided_are_not_divided_again(setup, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    for name, value in {"STEP_NUM_TASKS": 2, "PROCID": 1, "LOCALID": 1, "GPUS_PER_TASK": 2}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    assert machine(setup, "cuda").gpus == ("2", "3")


def test_a_study_that_goes_on_reads_no_scan_to_know_that_it_has_not_changed(setup, phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr("duoseg.planning.known.SETTLED_SECONDS", -1.0)
    dataset = load_dataset(phantoms)
    asked = (dataset, tmp_path / "study", divide(dataset), [2], setup[1])
    (tmp_path / "cache").mkdir()
    (first,) = make_setups(*asked, device="cpu", cache=tmp_path / "cache")
    monkeypatch.setattr("duoseg.planning.cache.hash_source", lambda path: pytest.fail(f"{path} was read"))
    (again,) = make_setups(*asked, device="cpu", cache=tmp_path / "cache")
    assert again.scans == first.scans


def test_a_plan_is_made_once_and_anew_where_its_settings_changed(setup, phantoms, tmp_path, monkeypatch):
    parts, settings = divide(load_dataset(phantoms)), setup[1]
    asked = (load_dataset(phantoms), tmp_path / "study", parts, [2])
    where = {"device": "cpu", "cache": tmp_path / "cache"}
    (first,) = make_setups(*asked, settings, **where)
    assert not list(tmp_path.iterdir())  # planning alone writes nothing
    first.write()
    with monkeypatch.context() as patched:
        patched.setattr("duoseg.commands.comparing.setup.plan_dataset", lambda *a, **k: pytest.fail("planned again"))
        (again,) = make_setups(*asked, settings, **where)
    assert again == first
    other = settings.model_copy(update={"plan": {**settings.plan, "patch": [8, 8, 8]}})
    (changed,) = make_setups(*asked, other, **where)
    assert changed.plan.patch == (8, 8, 8)
