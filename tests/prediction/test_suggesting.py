"""Which scans are suggested: doubted ones, unlike all others, and never two that are alike."""

from __future__ import annotations

import numpy as np
import pytest

from duoseg.prediction.suggesting import Choice, Seen, choose, reason_for
from duoseg.prediction.trust import doubt_of

RNG = np.random.default_rng(0)


def a_scan(case: str, doubt: float = 0.1, features: np.ndarray | None = None) -> Seen:
    return Seen(case, doubt, RNG.normal(size=20) if features is None else features)


def names(chosen) -> list[str]:
    return [one.case for one in chosen]


def test_doubt_is_what_an_expected_dice_lacks():
    p = RNG.uniform(size=(6, 7, 8))
    mask = p > 0.5
    # of a mask drawn from p, the expected Dice with the most probable one, for large volumes
    expected = 2 * p[mask].sum() / (mask.sum() + p.sum())
    assert doubt_of(mask, np.where(mask, 1 - p, p)) == pytest.approx(1 - expected, abs=0.02)
    assert doubt_of(np.zeros((2, 2, 2)), np.full((2, 2, 2), 0.1)) == 1.0
    assert doubt_of(np.eye(3)[None], np.ones((1, 3, 3))) == 1.0


def test_of_scans_that_are_equally_unlike_the_most_doubted_comes_first():
    far = np.eye(6) * 10
    candidates = [a_scan(str(index), 0.1 + 0.05 * index, far[index]) for index in range(5)]
    assert names(choose(candidates, [a_scan("old", 0.0, far[5])], count=5)) == ["4", "3", "2", "1", "0"]


def test_of_scans_that_are_equally_doubted_the_most_unlike_comes_first():
    line = [a_scan(str(place), 0.2, np.array([place, 0.0])) for place in (1, 2, 5, 9)]
    chosen = choose(line, [a_scan("old", 0.0, np.array([0.0, 0.0]))], count=3)
    assert names(chosen) == ["9", "5", "2"]
    assert (chosen[0].nearest, chosen[0].annotated) == ("old", True)
    assert (chosen[1].nearest, chosen[1].annotated) == ("9", False)
    assert chosen[0].distance > chosen[1].distance > chosen[2].distance


def test_two_that_are_alike_never_stand_at_the_top_together():
    scans = [a_scan(str(index)) for index in range(20)]
    twins = [Seen(f"twin {number}", 0.9, scans[0].features + 1e-3 * number) for number in range(3)]
    top = names(choose([*scans[1:], *twins], [scans[5]], count=10))
    assert top[0].startswith("twin") and sum(name.startswith("twin") for name in top) == 1


def test_the_like_of_an_annotated_scan_comes_last():
    annotated = [a_scan("a"), a_scan("b")]
    copy = Seen("copy of a", 0.9, annotated[0].features)
    others = [a_scan(str(index), 0.05) for index in range(6)]
    assert names(choose([copy, *others], annotated, count=7))[-1] == "copy of a"


def test_no_feature_counts_more_for_its_scale():
    features = RNG.normal(size=(12, 5))

    def order(scale: float) -> list[str]:
        seen = [Seen(str(index), 0.1, row * [scale, 1, 1, 1, 1] + 7) for index, row in enumerate(features)]
        return names(choose(seen[2:], seen[:2], count=5))

    assert order(1.0) == order(1e4)


def test_with_nothing_annotated_doubt_decides_the_first():
    scans = [a_scan("a", 0.1), a_scan("b", 0.3), a_scan("c", 0.2)]
    chosen = choose(scans, [], count=2)
    assert chosen[0].case == "b" and chosen[0].nearest == "" and len(chosen) == 2


def test_scans_that_are_all_alike_come_in_the_order_of_doubt():
    scans = [a_scan(str(index), 0.1 * index, np.ones(4)) for index in range(4)]
    assert names(choose(scans[:3], [scans[3]], count=3)) == ["2", "1", "0"]
    assert choose([], [scans[3]], count=3) == []


def test_reasons_say_what_was_measured():
    said = reason_for(Choice("a", 0.14, 0.8, 1.37, "b", annotated=True))
    assert "about 14% of its mask is in doubt, more than of 80% of the others" in said
    assert "b (annotated) is most like it, at 1.4 times the usual distance" in said
    assert "nothing was found" in reason_for(Choice("a", 1.0, 1.0, 1.0, "b", annotated=False, found=False))
