"""Sliding-window prediction of a prepared volume, slab by slab."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from duoseg.errors import InputError
from duoseg.planning.plan import Triple, WindowPlan
from duoseg.planning.slabs import Slabs
from duoseg.prediction.watching import Seen
from duoseg.prediction.whole import flips, over_flips
from duoseg.prediction.windows import most_at_once, window_corners, window_weight

MOST_BYTES = 2**31
"""Of probabilities that are held in memory at once; more than that lie in a temporary file."""

Predictor = Callable[[Tensor], Tensor]
Box = tuple[slice, ...]


def predict_slabs(
    image: Tensor,
    predict: Predictor,
    *,
    classes: int,
    patch: Triple,
    window: WindowPlan,
    mirror_axes: Sequence[int] = (),
    device: torch.device,
    name: str = "the scan",
) -> Slabs:
    """Class probabilities of a whole prepared volume, from overlapping windows blended by weight.

    Windows sweep along the axis that holds most of them, and each slab is given away as soon as no further window
    touches it: memory holds as much of the volume as a window is thick, 2 GiB at most, beside the image itself.
    Windows of exactly one value throughout are predicted once for each value.

    Args:
        image: (C, x, y, z) float32, on the CPU.
        predict: from (B, C, *patch) on ``device`` to probabilities (B, K + 1, *patch).
        classes: K + 1.
        patch: window size in voxels; a smaller volume is padded with zeros, as in training, around its middle.
        window: overlap and blending.
        mirror_axes: also predict the volume flipped along every combination of these axes, and average.
        device: where ``predict`` computes.
        name: of the scan, for messages.

    Returns:
        (K + 1, x, y, z) float32 in slabs, to be taken once, summing to 1 over classes. Taking one raises ``InputError``
        where it holds what is no number, which as a mask would be nothing at all.
    """
    x, y, z = image.shape[1:]
    axis = min(range(3), key=lambda side: patch[side] / image.shape[1 + side])
    sweep = _Sweep(predict, classes, patch, window, tuple(mirror_axes), device, axis, name)
    return Slabs((x, y, z), axis, sweep.slabs(image))


def in_company(predict: Predictor, seen: Seen | None = None) -> Predictor:
    """The same, but on a CPU no window is alone: torch convolves small maps several times as fast in twos.

    Args:
        predict: as for `predict_slabs`.
        seen: what watches the encoders; it sees the window once.
    """

    def asked(windows: Tensor) -> Tensor:
        if len(windows) > 1 or windows.device.type != "cpu":
            return predict(windows)
        if seen is not None:
            seen.count = 1
        answer = predict(windows.expand(2, *windows.shape[1:]))[:1]
        if seen is not None:
            seen.count = None
        return answer

    return asked


def room_for(shape: Sequence[int], device: torch.device) -> Tensor:
    """Zeros, float32, on ``device``; where they would be more than 2 GiB, in a temporary file."""
    if 4 * math.prod(shape) <= MOST_BYTES:
        return torch.zeros(tuple(shape), device=device)
    with tempfile.TemporaryFile() as file:  # the mapping outlives the file's name
        return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=tuple(shape)))


class _Sweep:
    """Windows in the order of their place along one axis, and the sums of what they say."""

    def __init__(
        self,
        predict: Predictor,
        classes: int,
        patch: Triple,
        window: WindowPlan,
        mirror_axes: tuple[int, ...],
        device: torch.device,
        axis: int,
        name: str,
    ) -> None:
        self._name = name
        self._predict = predict
        self._classes = classes
        self._patch = patch
        self._window = window
        self._flips = flips(mirror_axes)
        self._device = device
        self._at_once = most_at_once(patch, device)
        self._axis = axis
        self._weight = window_weight(patch, window.blending).to(device)
        self._even: dict[tuple[float, ...], Tensor] = {}

    def slabs(self, image: Tensor) -> Iterator[Tensor]:
        """The volume's probabilities, slab by slab."""
        axis, thickness = self._axis, self._patch[self._axis]
        padded, inner = _padded(image, self._patch)
        shape = list(padded.shape[1:])
        corners = window_corners(shape, self._patch, self._window)
        ends = [*corners[axis][1:], shape[axis]]
        shape[axis] = thickness
        total = room_for((self._classes, *shape), self._device)
        coverage = total.new_zeros(shape)
        at_once = max(1, MOST_BYTES * thickness // (4 * total.numel()))
        weight = self._weight.to(total.device)
        for start, end in zip(corners[axis], ends, strict=True):
            across = [[start] if side == axis else found for side, found in enumerate(corners)]
            for box, opinion in self._opinions(padded, list(itertools.product(*across))):
                place = _placed(box, axis, slice(0, thickness))
                total[(slice(None), *place)] += opinion.to(total.device)
                coverage[place] += weight
            rows = end - start
            first, last = (min(max(at - start, 0), rows) for at in (inner[axis].start, inner[axis].stop))
            for at in range(first, last, at_once):
                within = _placed(inner, axis, slice(at, min(at + at_once, last)))
                part = total[(slice(None), *within)] / coverage[within]
                if not bool(part.sum().isfinite()):
                    raise InputError(
                        f"{self._name}: the networks' answer is no number. Look for absurd intensities with `duoseg "
                        "check`; if it is so of other scans, too, the training was ruined: train anew."
                    )
                yield part
            for sums, dim in ((total, 1 + axis), (coverage, axis)):
                for at in range(0, thickness - rows, rows):  # no further than what is moved, so nothing is overwritten
                    count = min(rows, thickness - rows - at)
                    sums.narrow(dim, at, count).copy_(sums.narrow(dim, at + rows, count))
                sums.narrow(dim, thickness - rows, rows).zero_()

    def _opinions(self, padded: Tensor, corners: Sequence[tuple[int, ...]]) -> Iterator[tuple[Box, Tensor]]:
        """Each window and what the network says there, weighed, (K + 1, *patch)."""
        waiting: list[tuple[Box, Tensor]] = []
        for corner in corners:
            box = tuple(slice(at, at + side) for at, side in zip(corner, self._patch, strict=True))
            patch = padded[(slice(None), *box)]
            value = _even_value(patch)
            if value is None:
                waiting.append((box, patch))
                continue
            if value not in self._even:
                ((_, self._even[value]),) = self._asked([(box, patch)])
            yield box, self._even[value]
        batches = math.ceil(len(waiting) / self._at_once)
        for index in range(batches):  # as equal as can be: see `in_company`
            yield from self._asked(waiting[index::batches])

    def _asked(self, windows: Sequence[tuple[Box, Tensor]]) -> Iterator[tuple[Box, Tensor]]:
        patches = torch.stack([patch for _, patch in windows]).to(self._device)
        weighted = over_flips(self._predict, patches, self._flips).float() * self._weight
        return zip((box for box, _ in windows), weighted, strict=True)


def _padded(image: Tensor, patch: Triple) -> tuple[Tensor, Box]:
    """An image at least as large as the patch, and where in it the given one lies."""
    shape = image.shape[1:]
    missing = [max(p - n, 0) for p, n in zip(patch, shape, strict=True)]
    before = [m // 2 for m in missing]
    inner = tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))
    if not any(missing):
        return image, inner
    padding = [side for b, m in zip(reversed(before), reversed(missing), strict=True) for side in (b, m - b)]
    return F.pad(image, padding), inner


def _placed(box: Box, axis: int, along: slice) -> Box:
    """A box with another span along one axis."""
    return (*box[:axis], along, *box[axis + 1 :])


def _even_value(patch: Tensor) -> tuple[float, ...] | None:
    """The value of each channel where that is the same at every voxel."""
    first = patch[:, :1, :1, :1]
    if not torch.equal(patch[:, -1:, -1:, -1:], first) or not bool((patch == first).all()):
        return None
    return tuple(first.flatten().tolist())
