"""Which scans are suggested: those that stand for others, doubted ones first, and never two that are alike."""

from __future__ import annotations

import numpy as np
import pytest

from duoseg.prediction.suggesting import Choice, Seen, choose, reason_for
from duoseg.prediction.trust import doubt_of

RNG = np.random.default_rng(0)
AT_FIRST = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def drawn_anew():
    """Whichever tests run before."""
    RNG.bit_generator.state = AT_FIRST


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


def test_a_scan_that_stands_for_many_comes_before_an_outlier_and_what_is_covered_last():
    places = {"covered": (0.1, 0), "a": (4.0, 0), "b": (4.4, 0), "c": (4.8, 0), "outlier": (0, -7.0)}
    scans = [a_scan(name, 0.2, np.array(place, float)) for name, place in places.items()]
    chosen = choose(scans, [a_scan("old", 0.0, np.array([0.0, 0.0]))], count=5)
    assert names(chosen)[:2] == ["b", "outlier"] and names(chosen)[-1] == "covered"
    assert (chosen[0].nearest, chosen[0].annotated, chosen[0].stands_for) == ("old", True, pytest.approx(3 / 5))
    assert (chosen[1].nearest, chosen[1].annotated, chosen[1].stands_for) == ("old", True, pytest.approx(1 / 5))


def test_choices_are_those_of_the_sum_written_out():
    features = RNG.normal(size=(14, 3))
    doubts = RNG.uniform(size=11)
    scans = [
        Seen(str(index), doubt, row)
        for index, (doubt, row) in enumerate(zip([0.0] * 3 + [*doubts], features, strict=True))
    ]
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    weights = 0.5 + np.argsort(np.argsort(doubts)) / 10
    near, expected = list(range(3)), []

    def far(index: int) -> float:
        return min(np.linalg.norm(scaled[index] - scaled[one]) for one in near)

    for _ in range(4):
        gains = {
            index: sum(
                weights[other - 3] * max(0, far(other) - np.linalg.norm(scaled[other] - scaled[index]))
                for other in range(3, 14)
            )
            for index in range(3, 14)
            if index not in near
        }
        near.append(max(gains, key=lambda index: gains[index]))
        expected.append(str(near[-1]))
    assert names(choose(scans[3:], scans[:3], count=4)) == expected


def test_scans_in_which_nothing_was_found_do_not_fill_the_top():
    """Five near copies, all in doubt, among 58 ordinary scans that are not."""
    center = RNG.normal(size=20) * 2
    copies = [Seen(f"empty {n}", 1.0, center + 0.2 * RNG.normal(size=20), found=False) for n in range(5)]
    top = names(choose([*(a_scan(str(n), 0.05) for n in range(58)), *copies], [a_scan("a"), a_scan("b")], count=5))
    assert sum(name.startswith("empty") for name in top) <= 1


def test_of_one_person_a_second_scan_is_chosen_after_all_other_persons():
    scans = [Seen(f"{person}{visit}", 0.1, RNG.normal(size=20), person=person) for person in "abc" for visit in "12"]
    chosen = names(choose(scans, [], count=6))
    assert {name[0] for name in chosen[:3]} == set("abc") and len(set(chosen)) == 6
    annotated = Seen("a0", 0.1, RNG.normal(size=20), person="a")
    assert {name[0] for name in names(choose(scans, [annotated], count=6))[:2]} == set("bc")


def test_a_feature_that_only_rounding_moves_counts_for_nothing():
    rows = RNG.normal(size=(12, 5))
    noise = np.concatenate([rows, 7 + 1e-9 * RNG.normal(size=(12, 40))], axis=1)

    def order(features: np.ndarray) -> list[str]:
        seen = [Seen(str(index), 0.1, row) for index, row in enumerate(features)]
        return names(choose(seen[2:], seen[:2], count=5))

    assert order(rows) == order(noise) == order(np.concatenate([rows, 1e-12 * noise[:, 5:]], axis=1))


def test_two_that_are_alike_never_stand_at_the_top_together():
    scans = [a_scan(str(index)) for index in range(20)]
    twins = [Seen(f"twin {number}", 0.9, scans[0].features + 1e-3 * number) for number in range(3)]
    top = names(choose([*scans[1:], *twins], [scans[5]], count=10))
    assert sum(name.startswith("twin") for name in top) <= 1


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


def test_with_nothing_annotated_the_most_typical_comes_first():
    scans = [a_scan(name, 0.1, np.array([place, 0.0])) for name, place in (("a", 0.0), ("b", 1.0), ("c", 2.1))]
    chosen = choose(scans, [], count=2)
    assert (chosen[0].case, chosen[0].nearest, len(chosen)) == ("b", "", 2)


def test_scans_that_are_all_alike_come_in_the_order_of_doubt():
    scans = [a_scan(str(index), 0.1 * index, np.ones(4)) for index in range(4)]
    assert names(choose(scans[:3], [scans[3]], count=3)) == ["2", "1", "0"]
    assert choose([], [scans[3]], count=3) == []


def test_reasons_say_what_was_measured():
    said = reason_for(Choice("a", 0.14, 0.8, 0.25, 1.37, "b", annotated=True))
    assert "about 14% of its mask is in doubt, more than of 80% of the others" in said
    assert "of all scans without annotation 25% are closer to it than to any above it" in said
    assert "b (annotated) is most like it, at 1.4 times the usual distance" in said
    assert "nothing was found" in reason_for(Choice("a", 1.0, 1.0, 0.1, 1.0, "b", annotated=False, found=False))
