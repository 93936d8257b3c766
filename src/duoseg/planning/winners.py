"""From class probabilities on one grid to the most probable class of each voxel of another, tile by tile.

Each tile is resampled class by class as `resample` does the whole, so the mask is that of the whole volume's
probabilities; but no probability ever exists at full size, a tile stays in the processor's cache, and a class that
cannot win anywhere in a tile is not resampled there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from duoseg.planning.plan import Triple
from duoseg.planning.resample import axis_order, axis_weights, weigh_taps
from duoseg.planning.slabs import Slabs

Table = tuple[np.ndarray, np.ndarray]
"""Of one axis: for each output voxel the input voxels that it reads, and their weights."""
TILE = 64
"""Output voxels along each side of a tile: 1 MiB of probabilities of one class."""
ROUNDING = 1e-5
"""Relative; far above that of a sum of products in 32 bits, far below any difference that matters."""


def most_probable(probabilities: Tensor | Slabs, shape: Triple, *, shares: np.ndarray | None = None) -> np.ndarray:
    """Return the class with the greatest probability after linear resampling, (X, Y, Z) uint8.

    A tie goes to the smaller class. Of slabs, only the one at hand and a few rows of the last one are held.

    Args:
        probabilities: (K + 1, x, y, z), on any device, 256 classes at most; they need not sum to 1.
        shape: of the result; the volume keeps its extent, as in `resample`.
        shares: (X, Y, Z) float32, where given, to be filled with the winners' probabilities.
    """
    slabs = probabilities if isinstance(probabilities, Slabs) else Slabs.of(probabilities)
    order = axis_order(slabs.shape, shape)
    tables = [None if n == m else axis_weights(n, m) for n, m in zip(slabs.shape, shape, strict=True)]
    result = np.empty(shape, np.uint8)
    for rows, source, first in _ready(slabs, tables[slabs.axis], shape[slabs.axis]):
        for tile in _tiles(shape, slabs.axis, rows):
            parts = [_part(table, side) for table, side in zip(tables, tile, strict=True)]
            reads = [read for read, _ in parts]
            across = reads[slabs.axis]
            reads[slabs.axis] = slice(across.start - first, across.stop - first)
            seen = source[(slice(None), *reads)].float().cpu()
            taps = [(axis, *weights) for axis in order if (weights := parts[axis][1]) is not None]
            result[tile], best = _winner(seen, _candidates(seen), taps, shares is not None)
            if shares is not None and best is not None:
                shares[tile] = best
    return result


def _ready(slabs: Slabs, table: Table | None, size: int) -> Iterator[tuple[range, Tensor, int]]:
    """The output rows across the slabs' axis that each slab completes, what they are made from, and its first row."""
    index = np.arange(size)[:, None] if table is None else table[0]
    lowest, highest = index.min(axis=1), index.max(axis=1)
    held: Tensor | None = None
    first = done = 0
    for part in slabs.parts:
        held = part if held is None else torch.cat([held, part], dim=1 + slabs.axis)
        end = first + held.shape[1 + slabs.axis]
        ready = int(np.searchsorted(highest, end))
        if ready > done:
            yield range(done, ready), held, first
        done = ready
        following = int(lowest[done]) if done < size else end
        held = held.narrow(1 + slabs.axis, following - first, end - following).clone()
        first = following


def _tiles(shape: Triple, axis: int, rows: range) -> Iterator[tuple[slice, slice, slice]]:
    """The tiles of some rows across an axis."""
    spans = [range(size) for size in shape]
    spans[axis] = rows
    sides = [[slice(first, min(first + TILE, span.stop)) for first in span[::TILE]] for span in spans]
    return itertools.product(*sides)  # pyrefly: ignore[bad-return]


def _part(table: Table | None, side: slice) -> tuple[slice, Table | None]:
    """The input voxels that a tile's side reads, and its rows of the table, counted from the first of them."""
    if table is None:
        return side, None
    index, weight = (rows[side] for rows in table)
    first = int(index.min())
    return slice(first, int(index.max()) + 1), (index - first, weight)


def _candidates(source: Tensor) -> list[int]:
    """The classes that may win in a tile made from ``source``, (K + 1, x, y, z), in order; at least one.

    Resampled values are means of the source's, so no class exceeds its own maximum there, and the winner has at least
    the smallest sum of all classes, divided among them.
    """
    least = float(source.sum(dim=0).min()) / len(source)
    highest = source.amax(dim=(1, 2, 3))
    found = torch.nonzero(highest >= least - ROUNDING * abs(least)).flatten().tolist()
    return found or list(range(len(source)))


def _winner(
    source: Tensor, candidates: Sequence[int], taps: Sequence[tuple[int, np.ndarray, np.ndarray]], always: bool
) -> tuple[int | np.ndarray, Tensor | None]:
    """The most probable of the candidates at each voxel of the tile, and how probable it is.

    Where there is one candidate it is that one, and its probability is computed only where it is ``always`` asked for.
    """
    first, *others = candidates
    if not others and not always:
        return first, None
    best = _resampled(source[first], taps)
    winner = torch.full(best.shape, first, dtype=torch.uint8)
    for index in others:
        value = _resampled(source[index], taps)
        winner.masked_fill_(value > best, index)
        best = torch.maximum(best, value)
    return winner.numpy(), best


def _resampled(volume: Tensor, taps: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> Tensor:
    for axis, index, weight in taps:
        volume = weigh_taps(volume, axis, index, weight)
    return volume
