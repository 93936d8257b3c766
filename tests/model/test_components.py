"""The largest body of each class, against scipy."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from duoseg.model.components import keep_largest_components


def test_each_class_keeps_its_largest_body_as_scipy_finds_it():
    indices = (np.random.default_rng(0).random((20, 20, 12)) < 0.12).astype(np.uint8)
    indices[np.random.default_rng(1).random(indices.shape) < 0.1] = 2
    kept = keep_largest_components(indices)
    for value in (1, 2):
        bodies, count = ndimage.label(indices == value, structure=np.ones((3, 3, 3)))
        sizes = ndimage.sum_labels(np.ones_like(bodies), bodies, range(1, count + 1))
        assert (kept == value).sum() == sizes.max()
        assert not (kept == value)[indices != value].any()


def test_diagonal_neighbours_belong_together_and_an_empty_mask_stays_empty():
    diagonal = np.zeros((4, 4, 4), np.uint8)
    diagonal[0, 0, 0] = diagonal[1, 1, 1] = 1
    assert np.array_equal(keep_largest_components(diagonal), diagonal)
    assert not keep_largest_components(np.zeros((3, 3, 3), np.uint8)).any()
