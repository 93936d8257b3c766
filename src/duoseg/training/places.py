"""Which of several processes this is, as ``torchrun`` and SLURM's ``srun`` tell those that they start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Place:
    """One process among those that were started together.

    Attributes:
        index: its number, from 0.
        count: how many there are, on all machines.
        here: its number among those on its machine.
        launcher: who started them; None for a process alone.
    """

    index: int = 0
    count: int = 1
    here: int = 0
    launcher: Literal["torchrun", "srun"] | None = None

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
    if "TORCHELASTIC_RUN_ID" in told:
        return Place(int(told["RANK"]), int(told["WORLD_SIZE"]), int(told["LOCAL_RANK"]), "torchrun")
    tasks = int(told.get("SLURM_STEP_NUM_TASKS", 1))
    if tasks > 1 and "SLURM_PROCID" in told:
        return Place(int(told["SLURM_PROCID"]), tasks, int(told.get("SLURM_LOCALID", 0)), "srun")
    return Place()
