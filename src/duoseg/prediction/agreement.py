"""How far the students agree on a scan: the Dice of their masks with each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from duoseg.planning.slabs import Slabs
from duoseg.scores.overlap import Overlap, mean_dice


class Agreement:
    """Counts, slab by slab, where the members' masks meet.

    Args:
        classes: K + 1.
        members: M, two at least.
    """

    def __init__(self, classes: int, members: int) -> None:
        self._classes = classes
        self._sizes = torch.zeros(members, classes, dtype=torch.int64)
        self._pairs = list(itertools.combinations(range(members), 2))
        self._shared = torch.zeros(len(self._pairs), classes, dtype=torch.int64)

    def watch(self, slabs: Slabs) -> Slabs:
        """The first K + 1 channels of slabs whose other M (K + 1) are the members' opinions, counted as they go by."""

        def counted() -> Iterator[Tensor]:
            for part in slabs.parts:
                self._count(part[self._classes :])
                yield part[: self._classes]

        return replace(slabs, parts=counted())

    @property
    def dice(self) -> float:
        """Mean Dice over pairs of members and the classes that one of them found; 0 where none found anything."""
        sizes, shared = self._sizes[:, 1:].tolist(), self._shared[:, 1:].tolist()
        overlaps = [
            Overlap(*counts)
            for (a, b), both in zip(self._pairs, shared, strict=True)
            for counts in zip(sizes[a], sizes[b], both, strict=True)
        ]
        return mean_dice(overlaps) or 0.0

    def _count(self, opinions: Tensor) -> None:
        masks = opinions.unflatten(0, (-1, self._classes)).argmax(dim=1)
        for member, mask in enumerate(masks):
            self._sizes[member] += self._histogram(mask)
        for pair, (a, b) in enumerate(self._pairs):
            self._shared[pair] += self._histogram(masks[a][masks[a] == masks[b]])

    def _histogram(self, classes: Tensor) -> Tensor:
        return torch.bincount(classes.flatten(), minlength=self._classes).cpu()
