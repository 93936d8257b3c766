"""Scans unlike the training scans are noticed, in words; ordinary ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from duoseg.planning.prepare import Placement, Prepared
from duoseg.prediction.typical import Impression, Typical, impression_of
from duoseg.scans.scan import Grid

SHAPE = (30, 36, 24)


def _scan(seed: int, *, patches: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A bright body at the lower front left of a noisy field, with patches of other brightness; its mask."""
    random = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(0, 1, size) for size in SHAPE), indexing="ij")
    centre = np.array([0.35, 0.65, 0.3]) + random.normal(0, 0.03, 3)
    mask = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < 0.2**2
    own = np.kron(random.normal(0, patches * random.uniform(0.2, 1), (6, 6, 6)), np.ones([size // 6 for size in SHAPE]))
    return (mask + 0.5 * (x + y + z) + own + random.normal(0, 0.1, SHAPE)).astype(np.float32), mask


def _impression(image: np.ndarray, mask: np.ndarray, shift: float = 0.0, seed: int = 0) -> Impression:
    features = np.random.default_rng(seed).normal(shift, 1, 16)
    whole = ((0, SHAPE[0]), (0, SHAPE[1]), (0, SHAPE[2]))
    placement = Placement(SHAPE, (0, 1, 2), (False, False, False), whole, SHAPE)
    return impression_of(Prepared(image[None], placement, Grid(SHAPE, np.eye(4))), mask, features)


def typical_of(training: list[Impression]) -> Typical:
    """Training scans, the first two of them annotated."""
    places = range(len(training))
    return Typical.of(training, [place < 2 for place in places], places)


@pytest.fixture(scope="module")
def typical() -> Typical:
    return typical_of([_impression(*_scan(seed), seed=seed) for seed in range(40)])


def test_ordinary_scans_are_not_told_of(typical):
    told = [typical.unlike(_impression(*_scan(seed), seed=seed)) for seed in range(100, 200)]
    assert sum(map(bool, told)) <= 5


@pytest.mark.parametrize(
    ("axis", "words"), [(0, "mirrored left to right"), (1, "mirrored front to back"), (2, "mirrored head to foot")]
)
def test_a_scan_the_wrong_way_round_is_told_along_which_axis(axis, words):
    # So different from each other that a mirrored one is not further away than some of them.
    training = [_impression(*_scan(seed, patches=1.0), seed=seed) for seed in range(40)]
    typical = typical_of(training)
    for seed in range(300, 305):
        image, mask = _scan(seed, patches=0.1)
        mirrored = _impression(np.flip(image, axis), mask)
        told = typical.unlike(mirrored)
        assert [words in said for said in told] == [True], told
        assert not typical.unlike(_impression(image, mask))


def test_noise_other_features_and_a_mask_elsewhere_are_told(typical):
    image, mask = _scan(300)
    noise = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    assert any("brightness" in said for said in typical.unlike(_impression(noise, mask)))
    assert any("networks see" in said for said in typical.unlike(_impression(image, mask, shift=4.0)))
    assert any("found" in said for said in typical.unlike(_impression(image, np.roll(mask, 15, axis=1))))


@pytest.mark.parametrize("found", [5, 16])
def test_masks_are_compared_with_masks_where_most_training_scans_have_none(found):
    training = []
    for seed in range(60):
        image, mask = _scan(seed)
        training.append(_impression(image, mask if seed < found else np.zeros_like(mask), seed=seed))
    typical = typical_of(training)
    image, mask = _scan(100)
    with np.errstate(all="raise"):
        assert typical.unlike(_impression(image, mask, seed=100)) == ()
        assert typical.unlike(_impression(image, np.zeros_like(mask), seed=100)) == ()
    told = typical.unlike(_impression(image, np.roll(mask, 15, axis=1), seed=100))
    assert any("found" in said for said in told) is (found == 16)  # of five no more can be said than that they are few


def test_a_training_scan_of_another_kind_is_told_too_and_no_other():
    training = [_impression(*_scan(seed), seed=seed) for seed in range(40)]
    mask = _scan(7)[1]
    training[7] = _impression(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), mask, seed=7)
    typical = typical_of(training)
    told = [place for place, scan in enumerate(training) if typical.unlike(scan)]
    assert told == [7] and "brightness" in typical.unlike(training[7])[0]


def test_a_training_scan_of_another_kind_does_not_hide_others_of_its_kind():
    training = [_impression(*_scan(seed), seed=seed) for seed in range(40)]
    mask = _scan(7)[1]
    for place in (7, 8):
        noise = np.random.default_rng(place).normal(size=SHAPE).astype(np.float32)
        training[place] = _impression(noise, mask, seed=place)
    typical = typical_of(training)
    for seed in range(300, 310):
        noise = np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)
        assert typical.unlike(_impression(noise, _scan(seed)[1], seed=seed))


@pytest.mark.parametrize("count", [12, 20])
def test_few_training_scans_call_few_ordinary_ones_unlike(count):
    told = []
    for draw in range(10):
        training = [_impression(*_scan(1000 * draw + seed), seed=1000 * draw + seed) for seed in range(count)]
        typical = typical_of(training)
        told += [bool(typical.unlike(_impression(*_scan(5000 + seed), seed=5000 + seed))) for seed in range(20)]
    assert np.mean(told) <= 0.05


def test_several_scans_of_each_training_person_do_not_make_new_persons_unlike():
    def of_person(person: int, visit: int) -> Impression:
        image, mask = _scan(person)  # each person's scans differ by their noise alone
        again = image + np.random.default_rng([person, visit]).normal(0, 0.02, SHAPE).astype(np.float32)
        return _impression(again, mask, seed=person)

    training = [of_person(person, visit) for person in range(15) for visit in range(4)]
    typical = Typical.of(training, [False] * 60, [place // 4 for place in range(60)])
    assert sum(bool(typical.unlike(of_person(person, 0))) for person in range(100, 140)) <= 2
    noise = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    assert typical.unlike(_impression(noise, _scan(0)[1]))
    few = Typical.of(training[:44], [False] * 44, [place // 4 for place in range(44)])
    assert not few.unlike(_impression(noise, _scan(0)[1]))  # scans of eleven persons


def test_a_scan_that_was_trained_on_with_its_annotation_is_known(typical):
    assert [typical.is_annotated(_impression(*_scan(seed), seed=seed)) for seed in (0, 1, 2, 100)] == [
        True,
        True,
        False,
        False,
    ]


def test_too_few_training_scans_say_nothing():
    few = typical_of([_impression(*_scan(seed), seed=seed) for seed in range(11)])
    assert few.unlike(_impression(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, bool), shift=50.0)) == ()


def test_axes_along_which_the_anatomy_is_symmetric_tell_nothing():
    def symmetric(seed: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = _scan(seed)
        return (image + np.flip(image, 0)) / 2, mask | np.flip(mask, 0)

    typical = typical_of([_impression(*symmetric(seed), seed=seed) for seed in range(40)])
    image, mask = (np.flip(volume, 0) for volume in symmetric(300))
    assert not any("left to right" in said for said in typical.unlike(_impression(image, mask)))


def test_blocks_are_the_means_of_equal_parts_whatever_the_shape():
    for shape in ((12, 6, 18), (7, 5, 3)):
        ramp = np.broadcast_to(np.arange(shape[0], dtype=np.float32)[:, None, None], shape)
        placement = Placement(shape, (0, 1, 2), (False,) * 3, tuple((0, size) for size in shape), shape)
        prepared = Prepared(ramp[None], placement, Grid(shape, np.eye(4)))
        look = impression_of(prepared, np.ones(shape, bool), np.zeros(1)).look
        assert look.shape == (6, 6, 6) and np.all(np.diff(look[:, 0, 0]) >= 0)
        assert look.mean() == pytest.approx(0, abs=1e-5) and look.std() == pytest.approx(1, abs=1e-4)
