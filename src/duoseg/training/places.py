"""Which of several processes this is, as ``torchrun`` and SLURM's ``srun`` tell those that they start."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from duoseg.errors import InputError

Item = TypeVar("Item")

# By these `find_place` knows who started the processes.
TORCHRUN = "TORCHELASTIC_RUN_ID"
SRUN = "SLURM_STEP_NUM_TASKS"


@dataclass(frozen=True)
class Place:
    """One process among those that were started together.

    Attributes:
        index: its number, from 0.
        count: how many there are, on all machines.
        here: its number among those on its machine.
        neighbours: how many there are on its machine, itself among them; None where SLURM does not say.
        machine: the number of its machine, from 0.
        alike: whether there are as many on every machine.
        launcher: who started them; None for a process alone.
    """

    index: int = 0
    count: int = 1
    here: int = 0
    neighbours: int | None = 1
    machine: int = 0
    alike: bool = True
    launcher: Literal["torchrun", "srun"] | None = None

    @property
    def on_its_machine(self) -> int:
        """How many there are on its machine.

        Raises:
            InputError: SLURM does not say.
        """
        if self.neighbours is None:
            raise InputError(
                f"SLURM started {self.count} processes without saying how many on each machine "
                "(SLURM_STEP_TASKS_PER_NODE): start them with srun, and with every variable that it sets."
            )
        return self.neighbours

    @property
    def sharing(self) -> int:
        """How many share this machine's memory and cores: all of them where SLURM does not say."""
        return self.neighbours or self.count

    def share(self, items: Sequence[Item], *, part: int = 0, parts: int = 1) -> Sequence[Item]:
        """Every so-manieth of the items: this process's own.

        Args:
            items: the same for every process.
            part: the number, from 0, of the group of processes that this one belongs to.
            parts: how many such groups there are.
        """
        return items[part * self.count + self.index :: parts * self.count]


def find_place() -> Place:
    """Whether this process was started as one of several.

    A job that merely holds several places, or a shell within it, is one process: what counts is the step, which only
    ``srun`` begins.
    """
    told = os.environ
    if TORCHRUN in told:
        index, count, here = (int(told[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        machine = int(told.get("GROUP_RANK", 0))
        return Place(index, count, here, int(told["LOCAL_WORLD_SIZE"]), machine, launcher="torchrun")
    tasks = int(told.get(SRUN, 1))
    if tasks > 1 and "SLURM_PROCID" in told:
        index, here, machine = (int(told.get(f"SLURM_{name}", 0)) for name in ("PROCID", "LOCALID", "NODEID"))
        counts = _counts(told.get("SLURM_STEP_TASKS_PER_NODE", ""))
        neighbours = counts[machine] if machine < len(counts) else None
        return Place(index, tasks, here, neighbours, machine, alike=len(set(counts)) < 2, launcher="srun")
    return Place()


def _counts(told: str) -> list[int]:
    """Processes on each machine from SLURM's short form, in which "4(x2),3" is 4, 4 and 3."""
    counts: list[int] = []
    for number, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", told):
        counts += [int(number)] * int(times or 1)
    return counts


def without_place(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process that is to be one alone, though whoever starts it is one of several."""
    return {name: value for name, value in variables.items() if name not in (TORCHRUN, SRUN)}
