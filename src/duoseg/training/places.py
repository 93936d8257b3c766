"""Which of several processes this is, as ``torchrun`` and SLURM's ``srun`` tell those that they start."""

from __future__ import annotations

import os
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
        launcher: who started them; None for a process alone.
    """

    index: int = 0
    count: int = 1
    here: int = 0
    neighbours: int | None = 1
    launcher: Literal["torchrun", "srun"] | None = None

    @property
    def on_its_machine(self) -> int:
        """How many there are on its machine.

        Raises:
            InputError: SLURM does not say.
        """
        if self.neighbours is None:
            raise InputError(
                f"SLURM started {self.count} processes without saying how many on each machine: give "
                "--ntasks-per-node instead of --ntasks."
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
        return Place(index, count, here, int(told["LOCAL_WORLD_SIZE"]), "torchrun")
    tasks = int(told.get(SRUN, 1))
    if tasks > 1 and "SLURM_PROCID" in told:
        machines = int(told.get("SLURM_STEP_NUM_NODES", 1))
        neighbours = tasks // machines if "SLURM_NTASKS_PER_NODE" in told else None
        return Place(int(told["SLURM_PROCID"]), tasks, int(told.get("SLURM_LOCALID", 0)), neighbours, "srun")
    return Place()


def without_place(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process that is to be one alone, though whoever starts it is one of several."""
    return {name: value for name, value in variables.items() if name not in (TORCHRUN, SRUN)}
