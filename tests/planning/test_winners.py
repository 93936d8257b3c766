"""The most probable class on another grid, tile by tile, is that of probabilities resampled whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from duoseg.planning import winners
from duoseg.planning.resample import resample
from duoseg.planning.slabs import Slabs
from duoseg.planning.winners import most_probable

SIDE = st.integers(1, 12)
SHAPE = st.tuples(SIDE, SIDE, SIDE)


def fields(classes, shape, *, sharpness=4.0, seed=0):
    """Smooth class probabilities (classes, *shape)."""
    coarse = torch.randn((classes, 3, 3, 3), generator=torch.Generator().manual_seed(seed))
    return torch.softmax(sharpness * resample(coarse, shape), dim=0)


def whole(probabilities, shape):
    return resample(probabilities, shape).argmax(dim=0).numpy()


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(winners, "TILE", 5)


@settings(max_examples=60)
@given(SHAPE, SHAPE, st.integers(1, 5), st.sampled_from([0.5, 4.0, 40.0]), st.integers(0, 99))
def test_tiles_give_the_mask_of_the_whole_volume(shape, new, classes, sharpness, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winners, "TILE", 5)
        probabilities = fields(classes, shape, sharpness=sharpness, seed=seed)
        np.testing.assert_array_equal(most_probable(probabilities, new), whole(probabilities, new))


@settings(max_examples=60)
@given(SHAPE, SHAPE, st.integers(0, 2), st.lists(st.integers(1, 5), max_size=6), st.integers(0, 99))
def test_slabs_give_the_mask_of_the_whole_volume(shape, new, axis, cuts, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winners, "TILE", 5)
        probabilities = fields(3, shape, seed=seed)
        ends = [end for end in np.cumsum(cuts).tolist() if end < shape[axis]]
        parts = probabilities.tensor_split(ends, dim=1 + axis)
        slabs = Slabs(shape, axis, iter(parts))
        np.testing.assert_array_equal(most_probable(slabs, new), whole(probabilities, new))


@settings(max_examples=60)
@given(SHAPE, SHAPE, st.sampled_from([0.5, 4.0, 400.0]), st.integers(0, 99))
def test_how_probable_the_winners_are_is_that_of_the_whole_volume(shape, new, sharpness, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winners, "TILE", 5)
        probabilities, shares = fields(3, shape, sharpness=sharpness, seed=seed), np.full(new, np.nan, np.float32)
        mask = most_probable(Slabs(shape, 0, iter(probabilities.split(2, dim=1))), new, shares=shares)
        np.testing.assert_array_equal(mask, whole(probabilities, new))
        np.testing.assert_allclose(shares, resample(probabilities, new).amax(dim=0).numpy(), atol=1e-6)


def test_slabs_are_kept_as_they_go_by():
    probabilities, kept = fields(3, (4, 9, 5)), torch.zeros(3, 4, 9, 5)
    slabs = Slabs((4, 9, 5), 1, iter(probabilities.split(2, dim=2))).kept_in(kept)
    assert torch.equal(slabs.whole(), probabilities)
    assert torch.equal(kept, probabilities)


@pytest.mark.usefixtures("small_tiles")
def test_values_that_sum_to_nothing_in_particular_have_the_same_winner():
    values = torch.randn((4, 6, 7, 5), generator=torch.Generator().manual_seed(1)) - 2
    np.testing.assert_array_equal(most_probable(values, (13, 9, 5)), whole(values, (13, 9, 5)))


def test_a_tie_goes_to_the_smaller_class():
    even = torch.full((3, 4, 4, 4), 1 / 3)
    assert not most_probable(even, (9, 9, 9)).any()
    even[0] = 0.0
    assert (most_probable(even, (9, 9, 9)) == 1).all()


def test_an_equal_grid_gets_the_plain_argmax():
    probabilities = fields(4, (9, 70, 8))
    np.testing.assert_array_equal(most_probable(probabilities, (9, 70, 8)), probabilities.argmax(dim=0).numpy())


@pytest.mark.usefixtures("small_tiles")
def test_scipy_gives_the_same_mask_where_probabilities_differ():
    probabilities, new = fields(5, (8, 10, 6)), (19, 23, 21)
    zooms = [m / n for m, n in zip(new, probabilities.shape[1:], strict=True)]
    zoomed = np.stack([ndimage.zoom(p, zooms, order=1, mode="nearest", grid_mode=True) for p in probabilities.numpy()])
    first, second = np.sort(zoomed, axis=0)[[-1, -2]]
    clear = first - second > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(most_probable(probabilities, new)[clear], zoomed.argmax(axis=0)[clear])


@pytest.mark.usefixtures("small_tiles")
def test_a_class_that_cannot_win_is_not_resampled(monkeypatch):
    resampled = []
    plain = winners._resampled
    monkeypatch.setattr(winners, "_resampled", lambda *given: resampled.append(1) or plain(*given))
    certain = torch.zeros(6, 8, 8, 8)
    certain[2] = 1.0
    assert (most_probable(certain, (20, 20, 20)) == 2).all()
    assert not resampled


@pytest.mark.usefixtures("small_tiles")
def test_what_is_not_a_number_is_background():
    values = torch.full((3, 4, 4, 4), float("nan"))
    assert not most_probable(values, (9, 9, 9)).any()
