"""What the encoders of a method make of the patches that it is asked about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

ENCODER = "encoder"
"""What networks call their way down; its last output is the deepest."""


@dataclass
class Seen:
    """The deepest features of encoders.

    Attributes:
        features: by encoder a list of (B, F), each the spatial means of a call's features.
        count: how many of a call's patches are kept, the first ones; all where None.
    """

    features: dict[str, list[Tensor]] = field(default_factory=dict)
    count: int | None = None

    def pooled(self) -> np.ndarray:
        """One vector for all that was seen: of each encoder the mean over its patches, one after the other."""
        means = [torch.cat(found).mean(dim=0) for _, found in sorted(self.features.items())]
        return torch.cat(means).numpy() if means else np.zeros(0, np.float32)


@contextmanager
def watched(methods: Sequence[nn.Module]) -> Iterator[Seen]:
    """Collect, while it lasts, the deepest features of every encoder that runs."""
    seen = Seen()

    def keep(name: str) -> object:
        def hook(module: nn.Module, given: object, levels: Sequence[Tensor]) -> None:
            means = levels[-1].float().mean(dim=(2, 3, 4))[: seen.count]
            seen.features.setdefault(name, []).append(means.cpu())

        return hook

    handles = [
        module.register_forward_hook(keep(f"{number}.{name}"))  # pyrefly: ignore[bad-argument-type]
        for number, method in enumerate(methods)
        for name, module in method.named_modules()
        if name.rpartition(".")[2] == ENCODER
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
