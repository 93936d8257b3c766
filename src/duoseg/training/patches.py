"""Streams of random patches: each drawn from seed, step and position in the batch alone, read ahead in a thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from duoseg.methods.base import BatchKind
from duoseg.model.losses import IGNORE
from duoseg.planning.plan import AugmentationPlan, Plan, Triple
from duoseg.scans.limits import cores
from duoseg.training.ranks import Ranks

MARGIN = 0.1
"""Share of the patch read beyond each side, so that a rotation or shrinkage finds voxels there and not emptiness."""

THIN = 4
"""Voxels of a side from which on rounding keeps a voxel that is to be shown within the patch."""

READ_AHEAD = 4
READERS = 4
"""Threads for a GPU."""

Box = tuple[slice, slice, slice]


class PatchSource(Protocol):
    """A prepared scan: what ``planning.cache.PreparedCase`` is."""

    @property
    def shape(self) -> Triple:
        """Voxels along each axis."""
        ...

    @property
    def foreground(self) -> Sequence[np.ndarray]:
        """Some voxels of each class, (n, 3) each."""
        ...

    def read_image(self, box: Box) -> np.ndarray:
        """The image within a box, (C, ...) float32."""
        ...

    def read_label(self, box: Box) -> np.ndarray:
        """The class indices within a box, int8."""
        ...


@dataclass(frozen=True)
class RawBatch:
    """Patches as read, with their margin.

    Attributes:
        image: (B, C, *read) float32.
        label: (L, *read) int8, for the first L items.
        positions: of the items in the global batch, over all processes.
    """

    image: Tensor
    label: Tensor
    positions: Sequence[int]

    def pinned(self) -> RawBatch:
        """The batch in memory that a GPU copies from without a processor's help."""
        return RawBatch(self.image.pin_memory(), self.label.pin_memory(), self.positions)

    def parts(self, count: int) -> list[RawBatch]:
        """The batch in so many equal parts; each has as many items with and without labels as every other."""
        labelled, rest = len(self.label) // count, (len(self.image) - len(self.label)) // count
        parts = []
        for index in range(count):
            first = index * labelled
            other = len(self.label) + index * rest
            items = [*range(first, first + labelled), *range(other, other + rest)]
            image = self.image if count == 1 else self.image[items]
            positions = [self.positions[item] for item in items]
            parts.append(RawBatch(image, self.label[first : first + labelled], positions))
        return parts


def margin(patch: Triple, augmentation: AugmentationPlan) -> Triple:
    """Voxels read beyond each side of the patch: none where nothing is rotated or scaled."""
    share = MARGIN if augmentation.spatial_probability > 0 else 0.0
    x, y, z = (math.ceil(share * side) for side in patch)
    return x, y, z


class PatchSampler:
    """Draws the patches of any step, in any order.

    Args:
        labelled: prepared scans with labels.
        unlabelled: prepared scans without.
        plan: patch size, numbers per batch, share of patches centred near foreground.
        seed: of the run.
        ranks: the processes that share each batch, evenly; all alone by default.
    """

    def __init__(
        self,
        labelled: Sequence[PatchSource],
        unlabelled: Sequence[PatchSource],
        plan: Plan,
        *,
        seed: int,
        ranks: Ranks | None = None,
    ) -> None:
        self._ranks = ranks or Ranks()
        self._labelled = labelled
        self._unlabelled = unlabelled
        self._plan = plan
        self._seed = seed
        self._margin = margin(plan.patch, plan.augmentation)

    def batch(self, step: int, kind: BatchKind) -> RawBatch:
        """This process's patches of one step: labelled ones first."""
        wanted = self._plan.batch
        total = wanted.labelled + wanted.unlabelled
        streams: list[tuple[Sequence[PatchSource], bool, range]]
        if kind == "images":
            streams = [([*self._labelled, *self._unlabelled], False, range(total))]
        elif kind == "labelled" or not self._unlabelled:
            streams = [(self._labelled, True, range(total))]
        else:
            streams = [
                (self._labelled, True, range(wanted.labelled)),
                (self._unlabelled, False, range(wanted.labelled, total)),
            ]
        images, labels, positions = [], [], []
        for cases, with_label, everyone in streams:
            for position in self._ranks.share(everyone):
                random = np.random.default_rng([self._seed, step, position])
                image, label = self._patch(cases, random, with_label)
                images.append(image)
                positions.append(position)
                if label is not None:
                    labels.append(label)
        label = np.stack(labels) if labels else np.empty((0, *images[0].shape[1:]), np.int8)
        return RawBatch(torch.from_numpy(np.stack(images)), torch.from_numpy(label), positions)

    def _patch(
        self, cases: Sequence[PatchSource], random: np.random.Generator, with_label: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        case = cases[int(random.integers(len(cases)))]
        start = self._start(case, random, with_label)
        low = [s - m for s, m in zip(start, self._margin, strict=True)]
        sides = zip(start, self._plan.patch, self._margin, strict=True)
        high = [s + p + m for s, p, m in sides]
        inside = tuple(
            slice(min(max(lo, 0), n), max(min(hi, n), 0)) for lo, hi, n in zip(low, high, case.shape, strict=True)
        )
        before_after = [(box.start - lo, hi - box.stop) for lo, hi, box in zip(low, high, inside, strict=True)]
        box = (inside[0], inside[1], inside[2])
        image = np.pad(case.read_image(box), [(0, 0), *before_after])
        if not with_label:
            return image, None
        return image, np.pad(case.read_label(box), before_after, constant_values=IGNORE)

    def _start(self, case: PatchSource, random: np.random.Generator, with_label: bool) -> list[int]:
        """First voxel of the patch, without its margin; a scan smaller than the patch sits in its middle."""
        patch = self._plan.patch
        room = [n - p for n, p in zip(case.shape, patch, strict=True)]
        present = [voxels for voxels in case.foreground if len(voxels)] if with_label else []
        if present and random.random() < self._plan.batch.foreground_share:
            voxels = present[random.integers(len(present))]
            voxel = voxels[random.integers(len(voxels))]
            # Anywhere in the middle half of the patch, so that foreground is not always at the very centre.
            start = [_begin(int(v), p, random.uniform(0.25, 0.75)) for v, p in zip(voxel, patch, strict=True)]
            return [min(max(s, 0), r) if r >= 0 else r // 2 for s, r in zip(start, room, strict=True)]
        return [int(random.integers(r + 1)) if r >= 0 else r // 2 for r in room]


def _begin(voxel: int, side: int, share: float) -> int:
    """Where a patch begins that has a voxel at this share of its side; a thin one has it wherever it is rounded to."""
    return int(voxel - side * share) if side >= THIN else voxel - int(side * share)


def batches(sampler: PatchSampler, kind: BatchKind, steps: range, device: torch.device) -> ReadAhead:
    """The patches of these steps, read ahead: for a GPU, whose steps are short, by several threads."""
    if device.type != "cuda":
        return ReadAhead(lambda step: sampler.batch(step, kind), steps)
    return ReadAhead(lambda step: sampler.batch(step, kind).pinned(), steps, threads=min(READERS, cores()))


class ReadAhead:
    """Makes batches in background threads, a few steps ahead, and measures how long the consumer had to wait.

    Attributes:
        waited: seconds that the consumer has waited for data so far.
    """

    def __init__(self, make: Callable[[int], RawBatch], steps: range, *, threads: int = 1) -> None:
        self._make = make
        self._steps = steps
        self._threads = threads
        self.waited = 0.0

    def __iter__(self) -> Iterator[RawBatch]:
        executor = ThreadPoolExecutor(self._threads, thread_name_prefix="duoseg-patches")
        coming: list[Future[RawBatch]] = []
        try:
            for step in self._steps:
                ahead = self._steps[len(coming) + step - self._steps.start :][: READ_AHEAD - len(coming)]
                coming += [executor.submit(self._make, later) for later in ahead]
                began = time.perf_counter()
                batch = coming.pop(0).result()
                self.waited += time.perf_counter() - began
                yield batch
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
