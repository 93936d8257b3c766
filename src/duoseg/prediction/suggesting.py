"""Which scans to annotate next: those that the model doubts, and that are like no other.

A scan's *doubt* is about the share of its mask that is wrong, as the model sees it (`duoseg.prediction.trust`). Its
*features* are what the encoders of the trained students make of it, averaged over the scan. Scans are chosen one after
the other, each the one with the largest product of its doubt and its distance to the nearest scan that is annotated or
already chosen: the doubted outlier first, and of two that are alike never both. Distances are in units of the usual one
between two scans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

USUAL_OF = 1000
"""Scans whose distances tell what the usual one is."""
TINY = 1e-12


@dataclass(frozen=True)
class Seen:
    """What the model made of a scan.

    Attributes:
        case: the scan's name.
        doubt: the expected share of its mask that is wrong, 0 to 1; 1 where nothing was found.
        features: (F,) of all encoders.
        found: whether anything was found.
    """

    case: str
    doubt: float
    features: np.ndarray
    found: bool = True


@dataclass(frozen=True)
class Choice:
    """A scan to annotate, and why.

    Attributes:
        case: its name.
        doubt: as of `Seen`.
        surer: the share of the other candidates that are doubted less.
        distance: to the nearest scan that is annotated or was chosen before it, in units of the usual distance.
        nearest: the name of that scan.
        annotated: whether that scan is annotated.
        found: whether anything was found in it.
    """

    case: str
    doubt: float
    surer: float
    distance: float
    nearest: str
    annotated: bool
    found: bool = True


def choose(candidates: Sequence[Seen], annotated: Sequence[Seen], *, count: int) -> list[Choice]:
    """Choose so many of the candidates, the most useful to annotate first.

    Args:
        candidates: scans without annotation.
        annotated: those with one.
        count: how many; all where there are fewer.
    """
    scans = [*annotated, *candidates]
    features = _comparable(np.stack([scan.features for scan in scans]))
    usual = _usual_distance(features)
    doubts = np.array([scan.doubt for scan in candidates])
    first = len(annotated)
    distance, nearest = np.full(len(candidates), np.inf), np.zeros(len(candidates), int)

    def come_near(index: int) -> None:
        """Take into account that a scan is annotated, or will be."""
        found = np.sqrt(np.square(features[first:] - features[index]).mean(axis=1)) / usual
        closer = found < distance
        distance[closer], nearest[closer] = found[closer], index

    for index in range(first):
        come_near(index)
    left, chosen = list(range(len(candidates))), list[Choice]()
    while left and len(chosen) < count:
        # With nothing annotated or chosen yet, doubt alone decides.
        far = np.where(np.isfinite(distance), distance, 1.0)
        best = max(left, key=lambda index: (doubts[index] * far[index], doubts[index]))
        left.remove(best)
        near = scans[nearest[best]] if np.isfinite(distance[best]) else None
        others = np.delete(doubts, best)
        chosen.append(
            Choice(
                case=candidates[best].case,
                doubt=float(doubts[best]),
                surer=float((others < doubts[best]).mean()) if len(others) else 1.0,
                distance=float(far[best]),
                nearest=near.case if near else "",
                annotated=near is not None and nearest[best] < first,
                found=candidates[best].found,
            )
        )
        come_near(first + best)
    return chosen


def reason_for(choice: Choice) -> str:
    """Why a scan was chosen, in a sentence."""
    said = [
        f"about {choice.doubt:.0%} of its mask is in doubt, more than of {choice.surer:.0%} of the others"
        if choice.found
        else "nothing was found in it"
    ]
    if choice.nearest:
        kind = "annotated" if choice.annotated else "suggested"
        said.append(
            f"of all scans that are annotated or suggested above, {choice.nearest} ({kind}) is most like it, at "
            f"{choice.distance:.1f} times the usual distance"
        )
    return f"{'; '.join(said)}."


def _comparable(features: np.ndarray) -> np.ndarray:
    """Each feature in units of its own spread."""
    spread = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(spread > TINY, spread, 1.0)


def _usual_distance(features: np.ndarray) -> float:
    """The median distance between two scans; of many, between evenly chosen ones."""
    some = features[:: max(1, len(features) // USUAL_OF)]
    squares = np.square(some).mean(axis=1)
    pairs = np.sqrt(np.maximum(0, squares[:, None] + squares - 2 * some @ some.T / some.shape[1]))
    apart = pairs[np.triu_indices(len(some), k=1)]
    usual = float(np.median(apart)) if len(apart) else 0.0
    return usual if usual > TINY else 1.0
