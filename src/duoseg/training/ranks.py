"""Processes that train one method together: who they are, what each does of a batch, and when they stop."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    TorchElasticEnvironment,
)
from torch import Tensor

from duoseg.errors import InputError
from duoseg.planning.plan import BatchPlan
from duoseg.training.places import find_place
from duoseg.training.srun import Step


@dataclass(frozen=True)
class Launch:
    """How this process was started.

    Attributes:
        environment: where Fabric finds the others.
        here: processes on this machine.
        machines: how many there are.
    """

    environment: ClusterEnvironment
    here: int
    machines: int

    @property
    def first(self) -> bool:
        """Whether this is the process that plans, prepares and writes."""
        return self.environment.global_rank() == 0

    @property
    def count(self) -> int:
        """Processes on all machines."""
        return self.here * self.machines


def find_launch() -> Launch:
    """How Fabric finds the processes that `find_place` tells of.

    Raises:
        InputError: SLURM does not say how many processes there are on a machine, or there are not as many on each.
    """
    place = find_place()
    if place.launcher is None:
        return alone()
    here = place.on_its_machine
    if not place.alike:
        raise InputError(
            f"SLURM started {place.count} processes, not as many on each machine: train with --ntasks-per-node instead "
            "of --ntasks."
        )
    environment = TorchElasticEnvironment() if place.launcher == "torchrun" else Step(place)
    return Launch(environment, here, place.count // here)


def alone() -> Launch:
    """One process, whatever started it."""
    return Launch(LightningEnvironment(), 1, 1)


def require_divisible(batch: BatchPlan, processes: int) -> None:
    """Refuse a batch of which not every process gets the same share, or whose shares are not taken in equal parts.

    Raises:
        InputError: says what batch there is and which would do.
    """
    parts = processes * batch.accumulate
    if batch.labelled % parts or batch.unlabelled % parts:
        up = [-(-number // parts) * parts for number in (batch.labelled, batch.unlabelled)]
        each = f", each in {batch.accumulate} parts," if batch.accumulate > 1 else ""
        raise InputError(
            f"{processes} processes cannot share{each} a batch of {batch.labelled} labelled and {batch.unlabelled} "
            f"unlabelled patches evenly. Start as many as divide both, or plan a batch of {up[0]} and {up[1]} "
            "([plan.batch] in the configuration)."
        )


@dataclass(frozen=True)
class Ranks:
    """One process among those that train together.

    Attributes:
        index: its number, from 0.
        count: how many there are.
    """

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.index == 0

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.count > 1:
            dist.barrier()

    def share(self, positions: range) -> range:
        """This process's part of positions in the global batch, as many as every other's."""
        part = len(positions) // self.count
        return positions[self.index * part : (self.index + 1) * part]

    def mean(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Terms of all processes, averaged: those of the global batch."""
        if self.count == 1:
            return terms
        values = torch.stack(list(terms.values()))
        dist.all_reduce(values)
        return dict(zip(terms, (values / self.count).unbind(), strict=True))

    @contextmanager
    def together(self, where: str) -> Iterator[None]:
        """Leave the others when done, and say in words that another process has ended.

        Raises:
            InputError: in place of what the library of the connections says.
        """
        try:
            with warnings.catch_warnings():
                # Of 1x1x1 convolutions, whose layouts are one and the same in memory.
                warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
                yield
            if self.count > 1:
                dist.barrier()
        except RuntimeError as fault:
            if self.count == 1 or not _is_of_connection(fault):
                raise
            raise InputError(
                f"{where}: another of the {self.count} processes has ended, so this one cannot go on; its message says "
                "why, or it was killed. --resume goes on from the last checkpoint, on as many processes as you like."
            ) from fault
        finally:
            if self.count > 1:
                dist.destroy_process_group()


class Agreement:
    """All processes stop, report and save after the same steps, soon after one of them finds that it is time.

    Each step's question is answered in the next one, so that nobody waits for the answer. It travels through the
    hosts, so that no accelerator is waited for either.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._several = ranks.count > 1
        self._group = dist.new_group(backend="gloo") if self._several else None
        self._asked: tuple[Tensor, dist.Work] | None = None

    def on(self, *wanted: bool) -> tuple[bool, ...]:
        """What any process wanted done after its last step; called by every process once a step, with as many wishes.

        A single process has its wishes at once.
        """
        if not self._several:
            return wanted
        answer = tuple(False for _ in wanted)
        if self._asked is not None:
            flags, work = self._asked
            work.wait()
            answer = tuple(map(bool, flags.tolist()))
        # What is done now need not be wished for once more: that it is done is not known yet to whoever wished.
        flags = torch.tensor([wish and not done for wish, done in zip(wanted, answer, strict=True)], dtype=torch.uint8)
        work = dist.all_reduce(flags, op=dist.ReduceOp.MAX, group=self._group, async_op=True)
        assert work is not None
        self._asked = flags, work
        return answer

    def settle(self) -> None:
        """Wait for the last question, to which no answer is needed any more."""
        if self._asked is not None:
            self._asked[1].wait()
            self._asked = None


def _is_of_connection(fault: RuntimeError) -> bool:
    """Whether the processes' connection broke: NCCL has errors of its own, gloo only words."""
    return isinstance(fault, dist.DistError) or any(word in str(fault) for word in ("gloo", "peer", "Connection"))
