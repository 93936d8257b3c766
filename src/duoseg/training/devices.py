"""The devices of this machine: which one a name means, in which precision and memory layout it computes.

Nothing here needs the training engine: prediction starts without it, in half the time.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Literal

import torch
from torch import nn

from duoseg.errors import InputError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "32", "bf16", "16"]


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


def device_of(name: DeviceName, here: int) -> torch.device:
    """The device of one of several processes on this machine: each has a GPU of its own while there are enough.

    Args:
        name: what was asked for.
        here: the process's number among those on this machine.

    Raises:
        InputError: the device asked for is not here.
    """
    kind = resolve_device(name)
    return torch.device(kind, here % torch.cuda.device_count()) if kind == "cuda" else torch.device(kind)


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
        # Older libraries take 32 MiB at most. The second alone would stop them from raising the first by themselves.
        if mallopt(m_mmap_threshold, 1 << 30) or mallopt(m_mmap_threshold, 32 << 20):
            mallopt(m_trim_threshold, (1 << 31) - 1)
