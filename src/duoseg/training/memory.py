"""How much memory there is, how much a training step took, and how much it will take, about, before it is tried."""

from __future__ import annotations

import ctypes
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from duoseg.errors import InputError
from duoseg.methods.base import Method
from duoseg.model.networks import ENCODER_DECODERS
from duoseg.planning.plan import Plan
from duoseg.scans.limits import memory_limit

ACTIVATIONS = 1.8
"""Peak memory per byte that a network's layers put out in a forward pass: what autograd keeps, and gradients."""

MAPS = 5.0
"""The same for the maps of classes at full resolution, on which the losses work."""

STATES = 4
"""Copies of the weights: themselves, their gradients, and the optimiser's two moments."""

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says, of a GPU and of a CPU."""

STATUS = Path("/proc/self/status")
RESET_PEAK = ("/proc/self/clear_refs", "5")


def available_bytes(device: str) -> int | None:
    """Return the memory that a training on ``device`` may still take; None for ``mps``, which does not tell."""
    if device == "cuda":
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # of what is no longer used
        return int(torch.cuda.mem_get_info()[0]) + kept
    if device != "cpu":
        return None
    limit = memory_limit() - (_status("VmRSS") or 0)
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
        limit = min(limit, free)
    return max(0, limit)


def estimate_bytes(learner: Method, plan: Plan, *, processes: int = 1) -> int:
    """Return about how much memory a step takes at its height, within some 30%, in 32-bit precision.

    Args:
        learner: built under ``torch.device("meta")``: only shapes are computed.
        plan: patch and batch.
        processes: how many share the batch.
    """
    batch = max(1, (plan.batch.labelled + plan.batch.unlabelled) // (plan.batch.accumulate * processes))
    total = STATES * sum(weights.numel() * weights.element_size() for weights in learner.parameters())
    image = torch.empty((batch, len(plan.channels), *plan.patch), device="meta")
    for network in learner.modules():
        if isinstance(network, ENCODER_DECODERS) and _learns(network):
            inner, maps = _outputs(network, image)
            total += round(learner.memory_factor * (ACTIVATIONS * inner + MAPS * maps))
    return total


def is_out_of_memory(fault: BaseException) -> bool:
    """Whether more memory was wanted than there was, by torch or by anything else."""
    if isinstance(fault, MemoryError):
        return True
    return isinstance(fault, RuntimeError) and any(words in str(fault) for words in OUT_OF_MEMORY)


@contextmanager
def naming_want_of_memory(scan: Path) -> Iterator[None]:
    """Turn want of memory while it lasts into an error about a scan, so that others can follow.

    Raises:
        InputError: there was too little.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as fault:
        if not is_out_of_memory(fault):
            raise
        raise InputError(
            f"{scan}: there is not enough memory for it; crop or downsample it, end what else runs here, or take a "
            "larger machine."
        ) from fault


class PeakMemory:
    """The most memory that this process has taken beyond what it held when this object was made.

    On CPUs it is resident memory as Linux counts it; other systems do not tell, nor does ``mps``.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._before: int | None = None
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
        elif device == "cpu" and STATUS.is_file():
            release_freed_memory()
            path, order = RESET_PEAK
            with suppress(OSError):  # not every system lets a process reset it
                Path(path).write_text(order, encoding="ascii")
                self._before = _status("VmRSS")

    def bytes(self) -> int | None:
        """Return it so far; None where the system does not tell."""
        if self._before is None:
            return None
        peak = torch.cuda.max_memory_allocated() if self._device == "cuda" else _status("VmHWM")
        return None if peak is None else max(0, peak - self._before)


def process_peak_bytes() -> int | None:
    """The most memory that this process has held; None where the system does not tell.

    Linux counts a parent's memory as that of a process that it starts, but not here.
    """
    if STATUS.is_file():
        return _status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def release_freed_memory() -> None:
    """Hand memory that is no longer in use back to the system, where the C library can."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _outputs(network: nn.Module, image: Tensor) -> tuple[int, int]:
    """Return the bytes that all layers put out in a forward pass, and those of the last one."""
    sizes: list[int] = []

    def note(module: nn.Module, given: object, output: Tensor) -> None:
        sizes.append(output.numel() * output.element_size())

    layers = [module for module in network.modules() if not list(module.children()) and not _in_place(module)]
    handles = [layer.register_forward_hook(note) for layer in layers]
    maps = network(image)
    for handle in handles:
        handle.remove()
    shown = [maps] if isinstance(maps, Tensor) else maps
    return sum(sizes), sum(one.numel() * one.element_size() for one in shown)


def _learns(network: nn.Module) -> bool:
    """Whether a step goes back through a network: what a teacher's layers put out is not kept."""
    return any(weight.requires_grad for weight in network.parameters())


def _in_place(module: nn.Module) -> bool:
    return isinstance(module, nn.ReLU | nn.Identity | nn.Dropout3d)


def _status(name: str) -> int | None:
    with suppress(OSError, StopIteration):
        lines = STATUS.read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])
    return None
