"""How many combinations a machine computes side by side, and with what each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from duoseg.commands.comparing.setup import Device, Setup, build_meta
from duoseg.config import Config
from duoseg.errors import InputError
from duoseg.planning.budget import MEMORY_SHARE
from duoseg.scans.limits import cores
from duoseg.study.grid import Entry
from duoseg.training.memory import available_bytes, estimate_bytes
from duoseg.training.places import find_place

PROCESS_BYTES = 600_000_000
"""Of a process beside its training steps: the libraries, and a scan that is read."""

VISIBLE = "CUDA_VISIBLE_DEVICES"
BOUND = "SLURM_GPUS_PER_TASK"


@dataclass(frozen=True)
class Machine:
    """What a study computes with.

    Attributes:
        jobs: combinations side by side.
        threads: CPU threads of each.
        gpus: names of the GPUs to take in turn; none on other devices.
    """

    jobs: int
    threads: int
    gpus: tuple[str, ...] = ()

    def environment(self, slot: int) -> Mapping[str, str]:
        """Variables for what is computed in a slot: its threads, from the moment that libraries load, and its GPU."""
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(self.threads))
        return {**threads, **({VISIBLE: self.gpus[slot % len(self.gpus)]} if self.gpus else {})}


def make_machine(
    device: Device,
    setups: Sequence[Setup],
    entries: Sequence[Entry],
    settings: Config,
    *,
    count: int,
    jobs: int | None,
    threads: int | None,
    before: int | None = None,
) -> Machine:
    """Divide the machine.

    Jobs that nobody gave a number of are, on a CPU, as many as there are cores for, with a thread each, since two
    trainings with a thread each use two cores better than one with two, but no more than fit into the memory; one a
    GPU; and one on ``mps``. Threads that nobody gave a number of are one on a CPU, else the cores divided among jobs.

    Args:
        device: where to compute.
        setups: with the plans.
        entries: what is compared.
        settings: of the study.
        count: combinations to be computed.
        jobs: so many, or as many as there are combinations.
        threads: so many a job and no others.
        before: so many a job where ``threads`` is absent, since the study began with them: the last digits of what is
            computed depend on them, which therefore must not depend on what is left to do or on the memory.

    Raises:
        InputError: a number is none, or a method cannot be built with a plan.
    """
    for name, number in (("--jobs", jobs), ("--threads", threads)):
        if number is not None and number < 1:
            raise InputError(f"{name} {number}: give 1 or more.")
    gpus = _gpus() if device == "cuda" else ()
    room = {"cpu": cores(), "cuda": len(gpus), "mps": 1}[device]
    each = threads or before or max(1, cores() // (jobs or room))
    if jobs is None:
        if device == "cpu":
            room = max(1, cores() // each)
        need = max(
            PROCESS_BYTES + estimate_bytes(build_meta(settings, entry, setup), setup.plan)
            for setup in setups
            for entry in entries
        )
        there = available_bytes("cpu") if device == "cpu" else None
        if there is not None:
            room = min(room, int(MEMORY_SHARE * there / need))
        jobs = room
    return Machine(max(1, min(jobs, count)), each, gpus)


def _gpus() -> tuple[str, ...]:
    """The names by which processes are given one GPU each: those that this process may use.

    Of several that were started together, each has its part of the machine's, or one with others where there are fewer.

    Raises:
        InputError: SLURM does not say how many processes there are on a machine.
    """
    visible = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    names, place = visible or [str(index) for index in range(torch.cuda.device_count())], find_place()
    if len(names) == 1 or BOUND in os.environ:  # SLURM has divided them already
        return tuple(names)
    return tuple(names[place.here :: place.on_its_machine]) or (names[place.here % len(names)],)
