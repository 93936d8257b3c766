"""Signed distance maps: duoseg against scipy, equal values.

    python benchmarks/distances.py [--data DATA/left_atrium] [--runs 5]

Maps of the largest class of each test label (or of one phantom chamber), in mm, in CPU seconds on one thread, in turns;
scipy needs two transforms, one for each side. Fails where scipy is not 2.5 times as slow, or a value differs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np
from _common import made_with
from scipy import ndimage

from duoseg.model.distance import signed_distance
from scores import Pair, cpu_seconds, make_pair, real_pairs

LIMIT = 2.5
EQUAL_MM = 1e-4
FAR_MM = 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a data set with labelled test scans; one phantom without")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    pairs = real_pairs(options.data) if options.data else [make_pair()]
    different = max(float(np.abs(ours(pair) - by_scipy(pair)).max()) for pair in pairs)
    own, theirs = [], []
    for _ in range(options.runs):
        own.append(cpu_seconds(lambda: [ours(pair) for pair in pairs]))
        theirs.append(cpu_seconds(lambda: [by_scipy(pair) for pair in pairs]))
    ratio = statistics.median(b / a for a, b in zip(own, theirs, strict=True))
    print(f"{made_with()}, one thread, {len(pairs)} labels, median of {options.runs}\n")
    print("| | CPU s a map |\n| --- | ---: |")
    for name, seconds in (("duoseg", own), ("scipy", theirs)):
        print(f"| {name} | {statistics.median(seconds) / len(pairs):.3f} |")
    print(f"\n{ratio:.1f} times as fast (limit {LIMIT}); largest difference {different:.1e} mm (limit {EQUAL_MM:.0e})")
    sys.exit(ratio < LIMIT or not different <= EQUAL_MM)


def ours(pair: Pair) -> np.ndarray:
    """The map (x, y, z) by duoseg."""
    return signed_distance(pair.reference.astype(np.int64), 1, pair.spacing, clip_mm=FAR_MM)[0]


def by_scipy(pair: Pair) -> np.ndarray:
    """The map (x, y, z) by scipy."""
    inside = pair.reference.astype(bool)
    outer, inner = (
        np.asarray(ndimage.distance_transform_edt(side, sampling=pair.spacing)) for side in (~inside, inside)
    )
    return outer - inner


if __name__ == "__main__":
    main()
