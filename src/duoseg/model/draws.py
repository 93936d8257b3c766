"""Randomness that belongs to a sample: its draws depend on the seed, the step and its index alone."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

MOST_SEED = 2**63 - 1
"""The largest seed that torch takes."""


class SampleGenerator:
    """Random draws for a batch, from one pair of streams per sample.

    A sample is known by its index in the global batch, over all devices. Its draws are the same whichever
    samples share its batch, in whatever order, so neither the number of devices nor a resumed run changes
    them.

    The methods draw on ``device``. ``host`` draws from a second stream that always lives on the CPU: for the
    parameters of a change, which are then the same on every device and are read without waiting for an
    accelerator.

    Args:
        seed: The run's seed.
        step: The training step.
        indices: The samples' indices in the global batch, one for each sample of this batch.
        device: Where the drawn tensors live.
    """

    def __init__(self, seed: int, step: int, indices: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._streams = tuple(_stream(f"{seed}/{step}/{index}/device", self.device) for index in indices)
        host = torch.device("cpu")
        self._host_streams = tuple(_stream(f"{seed}/{step}/{index}/host", host) for index in indices)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._streams)

    @property
    def host(self) -> SampleGenerator:
        """The same samples' streams on the CPU; each draw advances them."""
        twin = copy.copy(self)
        twin.device = torch.device("cpu")
        twin._streams = self._host_streams
        return twin

    def select(self, rows: Sequence[int]) -> SampleGenerator:
        """The streams of some rows of this batch; drawing from them advances these same streams."""
        chosen = copy.copy(self)
        chosen._streams = tuple(self._streams[row] for row in rows)
        chosen._host_streams = tuple(self._host_streams[row] for row in rows)
        return chosen

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform float32 in [low, high), shape ``(B, *shape)``."""
        draws = [torch.rand(shape, generator=stream, device=self.device) for stream in self._streams]
        return self._stack(draws, shape, torch.float32) * (high - low) + low

    def normal(self, *shape: int) -> Tensor:
        """Standard normal float32, shape ``(B, *shape)``."""
        draws = [torch.randn(shape, generator=stream, device=self.device) for stream in self._streams]
        return self._stack(draws, shape, torch.float32)

    def chance(self, probability: float) -> Tensor:
        """True with the given probability, bool, shape ``(B,)``."""
        return self.uniform(0.0, 1.0) < probability

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Uniform int64 in [low, high), shape ``(B, *shape)``."""
        draws = [torch.randint(low, high, shape, generator=stream, device=self.device) for stream in self._streams]
        return self._stack(draws, shape, torch.int64)

    def _stack(self, draws: list[Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.stack(draws) if draws else torch.empty((0, *shape), dtype=dtype, device=self.device)


def _stream(name: str, device: torch.device) -> torch.Generator:
    # Hashing keeps neighbouring seeds, steps and indices from giving related streams.
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    stream = torch.Generator(device=device)
    stream.manual_seed(int.from_bytes(digest, "little") >> 1)
    return stream
