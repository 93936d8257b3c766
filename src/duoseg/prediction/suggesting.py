"""Which scans to annotate next: those that stand for many others, of which the model is not sure.

A scan's *doubt* is about the share of its mask that is wrong, as the model sees it (`duoseg.prediction.trust`). Its
*features* are what the encoders of the trained students make of it, averaged over the scan; distances between them are
in units of the usual one between two scans. A scan that lies close to an annotated one is covered by it. Scans are
chosen one after the other, each the one i that brings the others most closer to an annotation:

    gain(i) = sum over scans j without annotation of  w_j max(0, c_j - d_ij)

where c_j is the distance of j to the nearest scan that is annotated or already chosen, d_ij that from i to j, and w_j
from 1/2 for the scan that is doubted least to 3/2 for the one that is doubted most. This is the greedy solution of
facility location (Nemhauser, Wolsey, Fisher, Mathematical Programming 1978). With few annotations typical scans teach
more than odd ones (Hacohen, Dekel, Weinshall, ICML 2022): an outlier, which covers itself alone, has to wait, and of
two that are alike the second gains nothing. Of a person's scans one is chosen while there are other persons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

USUAL_OF = 1000
"""Scans whose distances tell what the usual one is."""
COVERED = 2000
"""Scans that are to be covered; of more, evenly chosen ones."""
TINY = 1e-12
ROUNDING = 1e-5
"""A feature that differs by a smaller share of what it is, or of what others differ by, does not tell scans apart."""


@dataclass(frozen=True)
class Seen:
    """What the model made of a scan.

    Attributes:
        case: the scan's name.
        doubt: the expected share of its mask that is wrong, 0 to 1; 1 where nothing was found.
        features: (F,) of all encoders.
        found: whether anything was found.
        person: whose it is; the scan's own name where empty.
    """

    case: str
    doubt: float
    features: np.ndarray
    found: bool = True
    person: str = ""


@dataclass(frozen=True)
class Choice:
    """A scan to annotate, and why.

    Attributes:
        case: its name.
        doubt: as of `Seen`.
        surer: the share of the other candidates that are doubted less.
        stands_for: the share of scans without annotation, itself among them, that are closer to it than to any that is
            annotated or was chosen before it.
        distance: to the nearest scan that is annotated or was chosen before it, in units of the usual distance.
        nearest: the name of that scan.
        annotated: whether that scan is annotated.
        found: whether anything was found in it.
    """

    case: str
    doubt: float
    surer: float
    stands_for: float
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
    if not candidates:
        return []
    scans = [*annotated, *candidates]
    features = _comparable(np.stack([scan.features for scan in scans]))
    features /= _usual_distance(features)
    doubts = np.array([scan.doubt for scan in candidates])
    some = np.unique(np.linspace(0, len(candidates) - 1, min(COVERED, len(candidates))).round().astype(int))
    apart = _distances(features, features[len(annotated) :][some])  # of all scans, to those that are to be covered
    surer = _share_below(doubts)
    weights = 0.5 + surer[some]
    covered = apart[: len(annotated)].min(axis=0) if annotated else np.full(len(some), apart.max())
    known, left = list(range(len(annotated))), list(range(len(candidates)))
    chosen, persons = list[Choice](), {scan.person or scan.case for scan in annotated}
    while left and len(chosen) < count:
        others = [index for index in left if (candidates[index].person or candidates[index].case) not in persons]
        open_to = np.array(others or left)
        gains = np.maximum(covered - apart[len(annotated) + open_to], 0) @ weights
        # Two that are nearest to each other gain alike: doubt decides, and then the order, but never rounding.
        best = int(open_to[np.lexsort((open_to, -doubts[open_to], -gains.round(6)))[0]])
        place, scan = len(annotated) + best, candidates[best]
        distances = _distances(features[[place]], features[known])[0]
        nearest = known[int(distances.argmin())] if known else None
        chosen.append(
            Choice(
                case=scan.case,
                doubt=scan.doubt,
                surer=float(surer[best]),
                stands_for=float((apart[place] < covered).mean()),
                distance=float(distances.min()) if known else 1.0,
                nearest="" if nearest is None else scans[nearest].case,
                annotated=nearest is not None and nearest < len(annotated),
                found=scan.found,
            )
        )
        covered = np.minimum(covered, apart[place])
        known.append(place)
        left.remove(best)
        persons.add(scan.person or scan.case)
    return chosen


def reason_for(choice: Choice) -> str:
    """Why a scan was chosen, in a sentence."""
    said = [
        f"about {choice.doubt:.0%} of its mask is in doubt, more than of {choice.surer:.0%} of the others"
        if choice.found
        else "nothing was found in it"
    ]
    said.append(f"of all scans without annotation {choice.stands_for:.0%} are closer to it than to any above it")
    if choice.nearest:
        kind = "annotated" if choice.annotated else "suggested"
        said.append(
            f"of all scans that are annotated or suggested above, {choice.nearest} ({kind}) is most like it, at "
            f"{choice.distance:.1f} times the usual distance"
        )
    return f"{'; '.join(said)}."


def _comparable(features: np.ndarray) -> np.ndarray:
    """Each feature in units of its own spread."""
    spread, middle = features.std(axis=0), features.mean(axis=0)
    least = ROUNDING * np.maximum(np.abs(middle), ROUNDING * spread.max()) + TINY
    return (features - middle) / np.maximum(spread, least)


def _usual_distance(features: np.ndarray) -> float:
    """The median distance between two scans; of many, between evenly chosen ones."""
    some = features[:: max(1, len(features) // USUAL_OF)]
    apart = _distances(some, some)[np.triu_indices(len(some), k=1)]
    usual = float(np.median(apart)) if len(apart) else 0.0
    return usual if usual > TINY else 1.0


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """From each row of one to each of the other: the root of the mean squared difference."""
    squares = np.square(one).mean(axis=1)[:, None] + np.square(other).mean(axis=1)
    return np.sqrt(np.maximum(0, squares - 2 * one @ other.T / one.shape[1]))


def _share_below(values: np.ndarray) -> np.ndarray:
    """Of each value, the share of the others that are less."""
    return np.searchsorted(np.sort(values), values) / max(1, len(values) - 1)
