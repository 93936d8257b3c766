"""Where a run computes: the device, its precision and memory layout, behind Lightning Fabric.

Only this module makes a Fabric, and only the loop calls it: another engine could take its place.
"""

from __future__ import annotations

import ctypes
import sys
from datetime import timedelta
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import nn

from duoseg.errors import InputError
from duoseg.training.ranks import Launch, Ranks, alone

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "32", "bf16", "16"]

FABRIC_PRECISION: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
}


PATIENCE = timedelta(days=1)
"""How long processes wait for the first one, which may have thousands of scans to prepare."""


def resolve_device(name: DeviceName) -> Literal["cpu", "cuda", "mps"]:
    """The device that ``name`` means on this machine; ``auto`` is CUDA where it is, else the CPU.

    Apple's ``mps`` is taken only where it is asked for: no run on it has been checked yet.

    Raises:
        InputError: the device asked for is not here.
    """
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return "cuda" if here["cuda"] else "cpu"
    if not here.get(name, False):
        usable = ", ".join(key for key, value in here.items() if value)
        raise InputError(f"--device {name}: there is no such device on this machine. Usable here: {usable}.")
    return name


def resolve_precision(device: DeviceName, precision: Precision) -> Literal["32", "bf16", "16"]:
    """The precision that ``precision`` means on a device.

    ``auto`` is bf16 on CUDA devices that compute in it natively, fp16 on older ones, and 32 bits elsewhere: CPUs
    without native bf16 convolutions get hundreds of times slower with it.

    Raises:
        InputError: the device is missing or cannot compute in that precision.
    """
    name = resolve_device(device)
    if precision == "auto":
        if name != "cuda":
            return "32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "16"
    if (name, precision) in {("cpu", "16"), ("mps", "16"), ("mps", "bf16")}:
        raise InputError(f"{name} cannot train in precision '{precision}': leave it at 'auto' or '32'.")
    return precision


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
    fabric.launch()
    return fabric


def ranks_of(fabric: Fabric) -> Ranks:
    """Which of the processes this is."""
    return Ranks(fabric.global_rank, fabric.world_size)


def _fabric(device: DeviceName, precision: Precision, launch: Launch) -> Fabric:
    return Fabric(
        accelerator=resolve_device(device),
        devices=launch.here,
        num_nodes=launch.machines,
        strategy=DDPStrategy(timeout=PATIENCE) if launch.count > 1 else "auto",
        precision=FABRIC_PRECISION[resolve_precision(device, precision)],
        plugins=[launch.environment],
    )


def use_threads(threads: int | None) -> None:
    """Let torch use so many CPU threads; its own choice where None.

    Raises:
        InputError: fewer than one.
    """
    if threads is None:
        return
    if threads < 1:
        raise InputError(f"--threads {threads}: give 1 or more.")
    torch.set_num_threads(threads)


def memory_format(device: torch.device) -> torch.memory_format:
    """The faster layout for 3-D convolutions: channels last on CPUs (measured: twice as fast with 8-16 channels)."""
    return torch.channels_last_3d if device.type == "cpu" else torch.contiguous_format


def lay_out(module: nn.Module, device: torch.device) -> None:
    """Move a module to a device, its weights in that device's layout."""
    # torch's type stubs leave out the layout.
    module.to(device=device, memory_format=memory_format(device))  # pyrefly: ignore[no-matching-overload]


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next step instead of handing it back to the system each time.

    A training step on a CPU frees and asks again for the same few hundred megabytes; by default Linux then clears
    fresh pages every time, which took 12-18% of the step where measured, and more beside other work. Does
    nothing on other systems, or where the C library has no such setting.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_mmap_threshold, 1 << 30)
        mallopt(m_trim_threshold, (1 << 31) - 1)
