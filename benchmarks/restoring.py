"""From the probabilities of many classes on the network's grid to a mask on the scan's: time, memory, equality.

    python benchmarks/restoring.py [--repeats 5] [--side 512] [--classes 20]

Smooth random classes at 15/32 of the scan's resolution are brought to it by duoseg and, class by class, by
``scipy.ndimage.zoom`` of order 1, in turns, in CPU seconds on one thread. Held to a limit are the median ratio, the
peak memory of a process that does nothing else, and the masks: equal wherever the two most probable classes differ by
more than 1e-4.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from statistics import median

import numpy as np
import torch
from _common import made_with, peak_mib
from scipy import ndimage

from duoseg.planning.resample import resample
from duoseg.planning.winners import most_probable

RATIO_LIMIT = 6.0
MEMORY_LIMIT_MIB = 3 * 1024
CLEAR = 1e-4


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--classes", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = options.classes, options.side
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        peak = pool.apply(peak_of_one_mask, size)
    probabilities, shape = fields(*size), (options.side,) * 3
    ours, theirs, ratios = [], [], []
    mask = np.empty(0)
    for _ in range(options.repeats):
        began = time.process_time()
        mask = most_probable(probabilities, shape)
        middle = time.process_time()
        by_scipy(probabilities.numpy(), options.side)
        ended = time.process_time()
        ours.append(middle - began)
        theirs.append(ended - middle)
        ratios.append(theirs[-1] / ours[-1])
    reference, lead = by_scipy(probabilities.numpy(), options.side, keep_second=True)
    different = int(np.count_nonzero((mask != reference) & (lead > CLEAR)))
    unclear = int(np.count_nonzero(lead <= CLEAR))
    ratio = median(ratios)
    print(f"{made_with()}, one thread, {options.classes} classes, {options.side} voxels a side\n")
    print("| | CPU s | peak memory (MiB) |\n| --- | ---: | ---: |")
    print(f"| duoseg | {median(ours):.1f} | {peak:.0f} |")
    print(f"| scipy, class by class | {median(theirs):.1f} | |")
    print(f"\n{ratio:.1f} times as fast (limit {RATIO_LIMIT:.0f}), memory limit {MEMORY_LIMIT_MIB} MiB")
    print(f"{different} voxels differ where the lead exceeds {CLEAR}; it does not in {unclear} of {mask.size}")
    sys.exit(ratio < RATIO_LIMIT or peak >= MEMORY_LIMIT_MIB or different > 0)


def fields(classes: int, side: int) -> torch.Tensor:
    """Smooth probabilities (classes, x, y, z) at 15/32 of ``side``, whose classes are as large at any side."""
    coarse = 8 * torch.randn((classes, *(max(2, side // 64),) * 3), generator=torch.Generator().manual_seed(0))
    inner = side * 15 // 32
    logits = resample(coarse, (inner, inner, inner))
    return logits.sub_(logits.amax(dim=0)).exp_().div_(logits.sum(dim=0))


def by_scipy(probabilities: np.ndarray, side: int, *, keep_second: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The most probable class, (side, side, side), and by how much it leads the second, or leads nothing."""
    winner = np.zeros((side,) * 3, np.uint8)
    best, second = np.full(winner.shape, -1, np.float32), np.zeros(winner.shape, np.float32)
    for index, volume in enumerate(probabilities):
        value = ndimage.zoom(volume, side / volume.shape[0], order=1, mode="nearest", grid_mode=True)
        wins = value > best
        if keep_second:
            np.maximum(second, np.minimum(value, best), out=second)
        winner[wins] = index
        np.maximum(best, value, out=best)
    return winner, best - second


def peak_of_one_mask(classes: int, side: int) -> float:
    """Peak resident memory of this process in MiB, after it made one mask."""
    torch.set_num_threads(1)
    most_probable(fields(classes, side), (side,) * 3)
    return peak_mib(resource.getrusage(resource.RUSAGE_SELF))


if __name__ == "__main__":
    main()
