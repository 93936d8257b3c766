"""How like a scan is to those that a model was trained on.

A mask of a scan of another kind may look sure of itself. So each scan is compared with the training scans in three
ways: by the *features* that the trained encoders make of it, averaged over the scan; by its *look*, the mean
intensities of 6 x 6 x 6 blocks; and by its *mask*, the share of those blocks that is in it. Its distance is the mean
one to its three nearest training scans. A training scan's is that to the three nearest of other persons: of a new
person there is none among them either. A scan is unlike them that is further away than any of them, and a tenth, and
further than another scan would be once in 200 times if the logarithms of distances are normal, which counts where
training scans are few. Training scans that are themselves far off from the rest are left out of both. Masks are
compared with masks: a scan in which nothing was found is not, nor is any where training scans with a mask are few.

A scan upside down has all that any other has, in another place. It is closer to the training scans when it is mirrored
back, and no training scan is closer to the others when it is mirrored: along axes for which that holds, it tells.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import stdtrit

from duoseg.planning.orient import to_canonical
from duoseg.planning.prepare import Prepared
from duoseg.prediction.words import FEWEST_COMPARED

BLOCKS = 6
NEAREST = 3
SPARE = 1.1
"""Times what was the largest distance among training scans."""
RARE = 0.005
"""How probable a distance may be for a scan that is told of."""
FENCE = 3.0
"""Interquartile ranges above the third quartile: what lies beyond is far off (Tukey 1977)."""
TURNED = 1.1
"""Times as far away as when mirrored back."""
ODD_SHARE = 0.05
"""Of training scans that may lie on the wrong side of an axis that tells."""
SMALLEST_SPREAD = 1e-6

AXES = ("left to right", "front to back", "head to foot")
PARTS = {
    "features": "what the networks see in it",
    "look": "how its brightness is distributed",
    "mask": "where in it something was found",
}


@dataclass(frozen=True)
class Impression:
    """What is compared of a scan.

    Attributes:
        features: (F,) of the encoders.
        look: (6, 6, 6) of the prepared image, less their mean and over their standard deviation.
        mask: (6, 6, 6), of length 1.
    """

    features: np.ndarray
    look: np.ndarray
    mask: np.ndarray


def impression_of(prepared: Prepared, mask: np.ndarray, features: np.ndarray) -> Impression:
    """Of a scan as the network saw it, the mask on the scan's own grid, and the encoders' features."""
    look = _blocks(prepared.image.mean(axis=0))
    found = _blocks(to_canonical(mask > 0, *prepared.grid.canonical()))
    return Impression(
        features=np.asarray(features, np.float32),
        look=(look - look.mean()) / max(float(look.std()), SMALLEST_SPREAD),
        mask=found / max(float(np.linalg.norm(found)), SMALLEST_SPREAD),
    )


@dataclass(frozen=True)
class Typical:
    """The impressions of training scans.

    Attributes:
        features: (N, F).
        look: (N, 6, 6, 6).
        mask: (N, 6, 6, 6).
        annotated: (N,), which of them the run had annotations of.
        person: (N,), equal for the scans of one person.
    """

    features: np.ndarray
    look: np.ndarray
    mask: np.ndarray
    annotated: np.ndarray
    person: np.ndarray

    @classmethod
    def of(cls, impressions: Sequence[Impression], annotated: Sequence[bool], persons: Sequence[Hashable]) -> Typical:
        """Of so many training scans, which of them were annotated, and whose they are."""
        stacked = {part: np.stack([getattr(one, part) for one in impressions]) for part in PARTS}
        numbers = {person: number for number, person in enumerate(dict.fromkeys(persons))}
        person = np.array([numbers[one] for one in persons], np.int64)
        return cls(**stacked, annotated=np.asarray(annotated, bool), person=person)

    @property
    def enough(self) -> bool:
        """Whether the training scans are of so many persons that another scan may be told as unlike them."""
        return self._persons(np.arange(len(self.person))) >= FEWEST_COMPARED

    def is_annotated(self, scan: Impression) -> bool:
        """Whether it is a training scan whose annotation was trained on: its mask is no forecast."""
        place = self._place_of(scan)
        return place is not None and bool(self.annotated[place])

    def unlike(self, scan: Impression) -> tuple[str, ...]:
        """In what a scan is unlike the training scans, in words; empty where it is like them, or they are too few.

        A training scan is compared with those of other persons.
        """
        if not self.enough:
            return ()
        own, said = self._place_of(scan), []
        for part, words in PARTS.items():
            if part == "mask" and not (scan.mask.any() and self._persons(self._compared[part]) >= FEWEST_COMPARED):
                continue
            others = self._others(part, own)
            usual = self._usual[part][others]
            distance = self._distance(part, getattr(scan, part), others)
            if distance > _limit(usual):
                said.append(f"{words} ({distance / np.median(usual):.1f} times the usual distance)")
        if said:
            return tuple(said)
        ratios = self._turned(scan.look, self._others("look", own))
        turned = [axis for axis in self._telling if ratios[axis] > np.log(TURNED)]
        return tuple(f"its orientation: it is more like them when mirrored {AXES[axis]}" for axis in turned)

    def _place_of(self, scan: Impression) -> int | None:
        """Which training scan it is, if any: no two scans have the same voxels."""
        apart = np.abs(self.look - scan.look).reshape(len(self.look), -1).max(axis=1)
        place = int(apart.argmin())
        return place if apart[place] < SMALLEST_SPREAD else None

    def _persons(self, scans: np.ndarray) -> int:
        """How many persons some training scans are of."""
        return len(np.unique(self.person[scans]))

    def _others(self, part: str, own: int | None) -> np.ndarray:
        """The training scans that one is compared with: all but those of its own person."""
        compared = self._compared[part]
        return compared if own is None else compared[self.person[compared] != self.person[own]]

    def _distance(self, part: str, value: np.ndarray, others: np.ndarray) -> float:
        """The mean distance to the nearest of some training scans."""
        shift, spread = self._scale[part]
        known = (getattr(self, part)[others] - shift) / spread
        apart = np.sqrt(np.square(known - (value - shift) / spread).reshape(len(known), -1).mean(axis=1))
        return float(np.sort(apart)[:NEAREST].mean())

    def _turned(self, look: np.ndarray, others: np.ndarray) -> np.ndarray:
        """For each axis the logarithm of how much further away a scan is than its mirror image."""
        here = self._distance("look", look, others)
        there = np.array([self._distance("look", np.flip(look, axis), others) for axis in range(3)])
        return np.log(np.maximum(here, SMALLEST_SPREAD) / np.maximum(there, SMALLEST_SPREAD))

    @cached_property
    def _scale(self) -> dict[str, tuple[np.ndarray | float, np.ndarray | float]]:
        """What is taken off and what is divided by: features differ in scale, blocks do not."""
        spread = np.maximum(self.features.std(axis=0), SMALLEST_SPREAD)
        return {"features": (self.features.mean(axis=0), spread), "look": (0.0, 1.0), "mask": (0.0, 1.0)}

    @cached_property
    def _compared(self) -> dict[str, np.ndarray]:
        """Which training scans others are compared with."""
        everyone, found = np.arange(len(self.look)), self.mask.reshape(len(self.mask), -1).any(axis=1)
        return {"features": everyone, "look": everyone, "mask": everyone[found]}

    @cached_property
    def _usual(self) -> dict[str, np.ndarray]:
        """The distance of each training scan to the others; of those that are not compared, none."""
        usual = {part: np.full(len(self.look), np.nan) for part in PARTS}
        for part, rows in self._compared.items():
            for row in rows if self._persons(rows) > 1 else ():
                usual[part][row] = self._distance(part, getattr(self, part)[row], self._others(part, row))
        return usual

    @cached_property
    def _telling(self) -> list[int]:
        """The axes along which training scans are not like their mirror images."""
        ratios = np.stack([self._turned(look, self._others("look", row)) for row, look in enumerate(self.look)])
        return [axis for axis in range(3) if (ratios[:, axis] > 0).mean() <= ODD_SHARE]


def _limit(usual: np.ndarray) -> float:
    """How far away a scan may be, from how far apart training scans are."""
    logs = np.log(np.maximum(usual, SMALLEST_SPREAD))
    first, third = np.quantile(logs, (0.25, 0.75))
    near = logs[logs <= third + FENCE * max(third - first, SMALLEST_SPREAD)]
    count = len(near)
    rare = stdtrit(count - 1, 1 - RARE) * near.std(ddof=1) * math.sqrt(1 + 1 / count)
    return max(SPARE * math.exp(near.max()), math.exp(near.mean() + rare))


def _blocks(volume: np.ndarray) -> np.ndarray:
    """The means of 6 x 6 x 6 equal blocks of a volume."""
    means = volume.astype(np.float32)
    for axis, size in enumerate(volume.shape):
        starts = np.minimum(np.arange(BLOCKS) * size // BLOCKS, size - 1)
        counts = np.maximum(np.diff(np.append(starts, size)), 1).astype(np.float32)
        shape = [1, 1, 1]
        shape[axis] = BLOCKS
        means = np.add.reduceat(means, starts, axis=axis) / counts.reshape(shape)
    return means
