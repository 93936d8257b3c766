"""Where the processes of one ``srun`` meet to train together."""

from __future__ import annotations

import os

from lightning_fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment

from duoseg.training.places import Place

PORTS = range(15_000, 25_000)
"""Where they meet: above the ports of services, below those that machines give to connections."""


class Step(ClusterEnvironment):
    """The processes of one step of a SLURM job.

    Fabric's own environment asks for the job, whose steps, trained side by side, would all meet at one port.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    @property
    def creates_processes_externally(self) -> bool:
        """``srun`` has created them."""
        return True

    @staticmethod
    def detect() -> bool:
        """Not asked: `find_place` says who started a process."""
        raise NotImplementedError

    @property
    def main_address(self) -> str:
        """The step's first machine, or what MASTER_ADDR says."""
        machines = os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")
        return os.environ.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(machines)

    @property
    def main_port(self) -> int:
        """One for each step of each job, or what MASTER_PORT says."""
        if told := os.environ.get("MASTER_PORT"):
            return int(told)
        job, step = (int(os.environ.get(f"SLURM_{name}", 0)) for name in ("JOB_ID", "STEP_ID"))
        return PORTS[(job + 101 * step) % len(PORTS)]  # far from the ports of the jobs that come next

    def world_size(self) -> int:
        """How many there are on all machines."""
        return self._place.count

    def global_rank(self) -> int:
        """This one's number among all."""
        return self._place.index

    def local_rank(self) -> int:
        """This one's number on its machine."""
        return self._place.here

    def node_rank(self) -> int:
        """The number of its machine."""
        return self._place.machine

    def set_world_size(self, size: int) -> None:
        """SLURM has set it."""

    def set_global_rank(self, rank: int) -> None:
        """SLURM has set it."""
