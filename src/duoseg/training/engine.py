"""Where a run computes: one process on one device, or several together, behind Lightning Fabric.

Only this module makes a Fabric, and only the loop calls it: another engine could take its place.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from duoseg.errors import InputError
from duoseg.training.devices import DeviceName, Precision, resolve_device, resolve_precision
from duoseg.training.ranks import Launch, Ranks, alone

FABRIC_PRECISION: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}


PATIENCE = timedelta(days=1)
"""How long processes wait for the first one, which may have thousands of scans to prepare."""


def make_fabric(device: DeviceName, precision: Precision) -> Fabric:
    """An engine for one process on one device, whatever started it.

    Raises:
        InputError: the device is missing or cannot compute in that precision.
    """
    return _fabric(device, precision, alone())


def join_fabric(device: DeviceName, precision: Precision, launch: Launch) -> Fabric:
    """An engine for all processes that were started together, or for this one alone.

    It returns when all of them have met.

    Raises:
        InputError: the device is missing or cannot compute in that precision.
    """
    fabric = _fabric(device, precision, launch)
    told = logging.getLogger("lightning_fabric")
    level = told.level
    told.setLevel(logging.WARNING)  # how many there are is no news to who has started them
    try:
        fabric.launch()
    finally:
        told.setLevel(level)
    return fabric


def ranks_of(fabric: Fabric) -> Ranks:
    """Which of the processes this is."""
    return Ranks(fabric.global_rank, fabric.world_size)


def _fabric(device: DeviceName, precision: Precision, launch: Launch) -> Fabric:
    kind = resolve_device(device)
    if kind == "cuda" and launch.here > torch.cuda.device_count():
        raise InputError(
            f"{launch.here} processes were started on this machine, and each sees {torch.cuda.device_count()} GPU(s): "
            "start no more than there are, and let each see all of them (SLURM: --gpus-per-node, not --gpus-per-task)."
        )
    return Fabric(
        accelerator=kind,
        devices=launch.here,
        num_nodes=launch.machines,
        strategy=DDPStrategy(timeout=PATIENCE) if launch.count > 1 else "auto",
        precision=FABRIC_PRECISION[resolve_precision(device, precision)],
        plugins=[launch.environment],
    )
