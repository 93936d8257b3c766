"""Class probabilities of a volume that come in slabs, so that they need never all be in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from duoseg.planning.plan import Triple


@dataclass(frozen=True)
class Slabs:
    """A volume (K + 1, x, y, z), cut across one axis.

    Attributes:
        shape: the volume's, (x, y, z).
        axis: 0, 1 or 2, across which it is cut.
        parts: the slabs in order, each with all classes; most sources give them once.
    """

    shape: Triple
    axis: int
    parts: Iterable[Tensor]

    @classmethod
    def of(cls, volume: Tensor) -> Slabs:
        """A volume that is there already, as one slab."""
        x, y, z = volume.shape[1:]
        return cls((x, y, z), 0, [volume])

    def whole(self) -> Tensor:
        """All slabs in one volume."""
        parts = list(self.parts)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1 + self.axis)

    def kept_in(self, volume: Tensor) -> Slabs:
        """The same slabs; each is copied into ``volume`` (K + 1, x, y, z) as it goes by."""

        def copied() -> Iterator[Tensor]:
            first = 0
            for part in self.parts:
                rows = part.shape[1 + self.axis]
                volume.narrow(1 + self.axis, first, rows).copy_(part)
                first += rows
                yield part

        return replace(self, parts=copied())

    def gathered_in(self, volume: Tensor) -> Slabs:
        """``volume`` (K + 1, x, y, z), filled with the slabs, as a single one."""
        for _ in self.kept_in(volume).parts:
            pass
        return replace(self, parts=[volume])

    @contextmanager
    def made_ahead(self) -> Iterator[Slabs]:
        """The same slabs, on the CPU; each is made in a thread of its own while the one before it is used.

        The thread ends with the block, however that ends, so that it makes no slab beside the next volume.
        """
        parts = iter(self.parts)

        def following() -> Tensor | None:
            part = next(parts, None)
            return None if part is None else part.cpu()

        with ThreadPoolExecutor(1, thread_name_prefix="duoseg-slabs") as maker:

            def ahead() -> Iterator[Tensor]:
                future = maker.submit(following)
                while (part := future.result()) is not None:
                    future = maker.submit(following)
                    yield part

            yield replace(self, parts=ahead())
