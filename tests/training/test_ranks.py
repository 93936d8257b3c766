"""How a process finds out that it is one of several, and what it does of a batch."""

from __future__ import annotations

import os
from ast import literal_eval
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment

from duoseg.errors import InputError
from duoseg.model.everywhere import everywhere
from duoseg.planning.plan import BatchPlan
from duoseg.training.engine import join_fabric
from duoseg.training.places import Place, find_place, without_place
from duoseg.training.ranks import Agreement, Launch, Ranks, find_launch, require_divisible
from duoseg.training.srun import Step


@pytest.fixture
def started(monkeypatch):
    """Sets the variables of a launcher, and only those."""
    for name in list(os.environ):
        if name.startswith(("TORCHELASTIC_", "SLURM_", "MASTER_")):
            monkeypatch.delenv(name)

    def set_variables(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    return set_variables


def test_a_plain_process_is_alone(started):
    started()
    launch = find_launch()
    assert isinstance(launch.environment, LightningEnvironment)
    assert (launch.count, launch.first) == (1, True)


def test_torchrun_says_how_many_there_are_on_how_many_machines(started):
    started(TORCHELASTIC_RUN_ID="x", WORLD_SIZE=6, LOCAL_WORLD_SIZE=3, RANK=4, LOCAL_RANK=1)
    launch = find_launch()
    assert isinstance(launch.environment, TorchElasticEnvironment)
    assert (launch.here, launch.machines, launch.first) == (3, 2, False)


def test_srun_says_how_many_there_are_on_how_many_machines(started):
    started(SLURM_STEP_NUM_TASKS=8, SLURM_PROCID=5, SLURM_NODEID=1, SLURM_LOCALID=1)
    with pytest.raises(InputError, match="without saying how many on each machine"):
        find_launch()
    started(SLURM_STEP_TASKS_PER_NODE="4(x2)")
    launch = find_launch()
    assert isinstance(launch.environment, Step)
    assert (launch.here, launch.machines, launch.first) == (4, 2, False)
    asked = launch.environment
    assert (asked.global_rank(), asked.local_rank(), asked.node_rank(), asked.world_size()) == (5, 1, 1, 8)


def test_machines_with_unlike_numbers_of_processes_cannot_train_together_but_share_scans(started):
    started(
        SLURM_STEP_NUM_TASKS=7, SLURM_STEP_TASKS_PER_NODE="2(x2),3", SLURM_PROCID=6, SLURM_NODEID=2, SLURM_LOCALID=2
    )
    assert (find_place().sharing, find_place().alike) == (3, False)
    with pytest.raises(InputError, match="7 processes, not as many on each machine"):
        find_launch()


def test_steps_of_one_job_meet_at_ports_of_their_own(started):
    started(SLURM_STEP_NUM_TASKS=2, SLURM_STEP_TASKS_PER_NODE="1(x2)", SLURM_PROCID=0, SLURM_NODELIST="gpu[01-04]")
    ports = set()
    for job, step in ((123_456, 0), (123_456, 1), (123_457, 0)):
        started(SLURM_JOB_ID=job, SLURM_STEP_ID=step, SLURM_STEP_NODELIST="gpu[03-04]")
        environment = find_launch().environment
        assert environment.main_address == "gpu03"
        ports.add(environment.main_port)
    assert len(ports) == 3
    assert all(1_024 < port < 32_768 for port in ports)
    started(MASTER_ADDR="here", MASTER_PORT=4_000)
    environment = find_launch().environment
    assert (environment.main_address, environment.main_port) == ("here", 4_000)


@pytest.mark.parametrize(
    "variables",
    [
        {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": 6, "LOCAL_WORLD_SIZE": 3, "RANK": 4, "LOCAL_RANK": 1},
        {"SLURM_STEP_NUM_TASKS": 8, "SLURM_PROCID": 1, "SLURM_LOCALID": 1},
    ],
)
def test_what_one_of_several_starts_can_be_alone(started, monkeypatch, variables):
    started(**variables)
    assert find_place().index == int(variables.get("RANK", 1))
    monkeypatch.setattr("os.environ", without_place(os.environ))
    assert find_place() == Place()
    assert os.environ.keys() > variables.keys() - {"TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS"}


def test_a_command_in_a_job_that_srun_did_not_start_is_alone(started):
    started(SLURM_NTASKS=8, SLURM_PROCID=0)
    assert find_launch().count == 1


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_everything_is_somebodys_share_once(count):
    shares = [Ranks(index, count).share(range(4, 10)) for index in range(count)]
    assert [position for share in shares for position in share] == list(range(4, 10))
    assert len({len(share) for share in shares}) == 1


def test_a_batch_is_refused_unless_both_kinds_divide():
    batch = BatchPlan(labelled=2, unlabelled=6, foreground_share=0.5)
    require_divisible(batch, 2)
    with pytest.raises(InputError, match=r"3 processes .* 2 labelled and 6 unlabelled .* a batch of 3 and 6"):
        require_divisible(batch, 3)


def test_alone_everything_stays_as_it_is():
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    assert everywhere(values) is values
    terms = {"a": torch.tensor(1.0)}
    assert Ranks().mean(terms) is terms
    agreement = Agreement(Ranks())
    assert [agreement.on(wanted, True) for wanted in (False, True)] == [(False, True), (True, True)]
    agreement.settle()


def _saves(index: int, folder: str) -> None:
    """A step a second; one of two processes, whose clocks differ by one, wants to save after ten."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/met", rank=index, world_size=2)
    agreement, saved, saves = Agreement(Ranks(index, 2)), index, []
    for step in range(1, 41):
        (save,) = agreement.on(step - saved >= 10)
        if save:
            saves.append(step)
            saved = step
    agreement.settle()
    (Path(folder) / str(index)).write_text(str(saves))
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="this torch has no processes that work together")
def test_processes_whose_clocks_differ_save_after_the_same_steps_and_each_time_once(tmp_path):
    processes.spawn(_saves, (str(tmp_path),), nprocs=2)
    first, second = (literal_eval((tmp_path / str(index)).read_text()) for index in range(2))
    assert first == second == [11, 22, 33]


def test_more_processes_than_a_machine_has_gpus_are_refused_with_what_to_do(monkeypatch):
    """As `srun --gpus-per-task=1` starts them: each sees its own GPU alone."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    launch = Launch(environment=LightningEnvironment(), here=4, machines=1)
    with pytest.raises(InputError, match=r"4 processes .* sees 1 GPU.*--gpus-per-node"):
        join_fabric("cuda", "32", launch)
