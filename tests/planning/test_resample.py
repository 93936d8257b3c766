from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from duoseg.planning.resample import axis_weights, resample, resample_label, target_shape

SIZES = st.integers(1, 40)


def test_growing_is_the_trilinear_interpolation_of_torch() -> None:
    volume = torch.rand(2, 7, 9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(volume[None], size=(14, 13, 11), mode="trilinear", align_corners=False)[0]
    torch.testing.assert_close(resample(volume, (14, 13, 11)), expected, rtol=0, atol=1e-12)


def test_shrinking_is_the_antialiased_interpolation_of_torch() -> None:
    plane = torch.rand(1, 40, 31, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(plane[None, ..., 0], size=(17, 10), mode="bilinear", antialias=True)[0]
    torch.testing.assert_close(resample(plane, (17, 10, 1))[..., 0], expected, rtol=0, atol=1e-12)


@given(SIZES, SIZES)
def test_weights_sum_to_one_and_keep_the_order_of_positions(size: int, new_size: int) -> None:
    index, weight = axis_weights(size, new_size)
    np.testing.assert_allclose(weight.sum(axis=1), 1.0)
    assert (weight >= 0).all()
    assert (np.diff((index * weight).sum(axis=1)) >= -1e-9).all()


@given(SIZES, SIZES)
def test_mirrored_input_gives_mirrored_output(size: int, new_size: int) -> None:
    line = torch.rand(1, size, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    there = resample(line.flip(1), (new_size, 1, 1))
    torch.testing.assert_close(there, resample(line, (new_size, 1, 1)).flip(1))


@given(SIZES, SIZES, st.floats(-1e3, 1e3, width=32))
def test_what_is_even_stays_even_to_the_last_digit(size: int, new_size: int, value: float) -> None:
    even = torch.full((1, size, size, 3), value)
    assert (resample(even, (new_size, 7, 5)) == value).all()


def test_equal_shape_changes_nothing() -> None:
    volume = torch.rand(1, 4, 5, 6)
    assert torch.equal(resample(volume, (4, 5, 6)), volume)


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    volume = torch.rand(1, 40, 41, 42)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = resample(volume, (23, 60, 42))
        torch.set_num_threads(4)
        assert torch.equal(resample(volume, (23, 60, 42)), alone)
    finally:
        torch.set_num_threads(before)


def test_label_shrinks_to_the_majority_and_keeps_its_ignored_voxels() -> None:
    label = torch.zeros(8, 8, 8, dtype=torch.int8)
    label[:4] = 2
    label[:, 4:] = -1
    small = resample_label(label, (4, 4, 4))
    assert small.dtype == torch.int8
    assert (small[:2, :2] == 2).all() and (small[2:, :2] == 0).all() and (small[:, 2:] == -1).all()


def test_label_grows_to_the_nearest_voxel_away_from_edges() -> None:
    label = torch.randint(0, 2, (5, 5, 5), dtype=torch.int8, generator=torch.Generator().manual_seed(2))
    large = resample_label(label, (15, 15, 15))
    assert torch.equal(large[1::3, 1::3, 1::3], label)


def test_target_shape_keeps_the_extent_to_half_a_voxel_and_never_vanishes() -> None:
    assert target_shape((190, 142, 88), (0.625, 0.625, 0.625), (1.25, 1.25, 1.25)) == (95, 71, 44)
    assert target_shape((3, 100, 1), (0.5, 1.0, 1.0), (4.0, 1.0, 3.0)) == (1, 100, 1)
