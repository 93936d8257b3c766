from __future__ import annotations

import itertools
import json

import nibabel as nib
import numpy as np
import planning_cases as make
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from duoseg.errors import InputError
from duoseg.planning.orient import to_canonical
from duoseg.planning.plan import Normalisation
from duoseg.planning.prepare import Placement, prepare_image, prepare_label, restore_map, restore_mask
from duoseg.scans.scan import Grid

ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3)))


def stored(voxels: np.ndarray, grid: Grid, order) -> tuple[np.ndarray, Grid]:
    """The same scan in another storage order."""
    permutation, flips = order
    moved = voxels.transpose(permutation)
    return np.flip(moved, tuple(axis for axis in range(3) if flips[axis])), grid.reordered(order)


def one_hot(label: np.ndarray, classes: int) -> torch.Tensor:
    return F.one_hot(torch.from_numpy(label).long(), classes + 1).permute(3, 0, 1, 2).float()


def indices(label: np.ndarray) -> np.ndarray:
    return np.select([label == 1, label == 4], [1, 2], 0)


@pytest.mark.parametrize("order", ORDERS)
def test_canonical_order_is_that_of_nibabel(order) -> None:
    image, _ = make.volume()
    matrix = np.eye(4)
    matrix[:3, :3] = make.OBLIQUE
    voxels, grid = stored(image, Grid(image.shape, matrix), order)
    expected = nib.as_closest_canonical(nib.Nifti1Image(voxels, grid.affine)).get_fdata()
    np.testing.assert_array_equal(to_canonical(voxels, *grid.canonical()), expected)


@pytest.mark.parametrize("order", ORDERS[::5])
def test_storage_order_never_changes_a_prepared_voxel_or_the_place_of_a_mask(order) -> None:
    image, label = make.volume()
    grid = make.grid(image.shape, (0.8, 1.1, 2.0))
    plan = make.plan(spacing=(1.0, 1.0, 1.5))
    expected, placement = prepare_image(image[None], grid, plan)
    mask = restore_mask(one_hot(prepare_label(label, placement, plan), 2), placement)

    moved, moved_grid = stored(image, grid, order)
    prepared, moved_placement = prepare_image(moved[None], moved_grid, plan)
    assert np.array_equal(prepared, expected)
    moved_label, _ = stored(label, grid, order)
    moved_mask = restore_mask(one_hot(prepare_label(moved_label, moved_placement, plan), 2), moved_placement)
    assert np.array_equal(moved_mask, stored(mask, grid, order)[0])


@settings(max_examples=25)
@given(st.sampled_from(ORDERS), st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2**31))
def test_round_trip_is_exact_where_the_spacing_fits(order, shape, seed) -> None:
    rng = np.random.default_rng(seed)
    label = rng.choice(np.array([0, 1, 4], np.uint8), shape)
    image = np.where(label > 0, 1.0, 0.0).astype(np.float32)
    spacing = (0.7, 1.3, 2.1)
    voxels, grid = stored(image, make.grid(shape, spacing), order)
    moved_label, _ = stored(label, make.grid(shape, spacing), order)
    plan = make.plan(spacing=spacing)
    _, placement = prepare_image(voxels[None], grid, plan)
    restored = restore_mask(one_hot(prepare_label(moved_label, placement, plan), 2), placement)
    assert restored.dtype == np.uint8
    assert np.array_equal(restored, indices(moved_label))


def test_round_trip_through_half_the_resolution_keeps_place_and_size() -> None:
    image, label = np.ones((40, 44, 36), np.float32), np.zeros((40, 44, 36), np.uint8)
    label[10:26, 12:30, 8:20] = 1
    plan = make.plan(spacing=(2.0, 2.0, 2.0))
    _, placement = prepare_image(image[None], make.grid(image.shape), plan)
    restored = restore_mask(one_hot(prepare_label(label, placement, plan), 2), placement)
    overlap = 2 * np.sum(restored & label) / (restored.sum() + label.sum())
    assert overlap > 0.97
    np.testing.assert_allclose(np.argwhere(restored).mean(axis=0), np.argwhere(label).mean(axis=0), atol=0.05)


def test_crop_is_the_box_of_voxels_that_any_channel_shows() -> None:
    image = np.zeros((2, 10, 10, 10), np.float32)
    image[0, 2, 5, 5] = 1
    image[1, 6, 5, 8] = -3
    plan = make.plan(
        channels=("a", "b"),
        normalisation=tuple(Normalisation(channel=name, scheme="zscore") for name in "ab"),
    )
    prepared, placement = prepare_image(image, make.grid((10, 10, 10)), plan)
    assert placement.crop == ((2, 7), (5, 6), (5, 9))
    assert prepared.shape == (2, 5, 1, 4)


def test_empty_scan_is_kept_whole_and_stays_finite() -> None:
    prepared, _ = prepare_image(np.zeros((1, 4, 5, 6), np.float32), make.grid((4, 5, 6)), make.plan())
    assert prepared.shape == (1, 4, 5, 6) and not prepared.any()


def test_zscore_uses_the_non_zero_voxels_of_the_scan_itself() -> None:
    image, _ = make.volume()
    prepared, placement = prepare_image(7 * image[None] + 0, make.grid(image.shape), make.plan())
    inside = image[placement.box] != 0
    assert abs(prepared[0][inside].mean()) < 1e-4
    assert abs(prepared[0][inside].std() - 1) < 1e-4


def test_ct_uses_the_fixed_window_and_statistics() -> None:
    image = np.linspace(-1000, 1000, 64, dtype=np.float32).reshape(1, 4, 4, 4)
    rule = Normalisation(channel="CT", scheme="ct", window=(-100, 300), mean=40.0, std=20.0)
    prepared, _ = prepare_image(image, make.grid((4, 4, 4)), make.plan(channels=("CT",), normalisation=(rule,)))
    np.testing.assert_allclose(prepared, (image.clip(-100, 300) - 40) / 20, rtol=1e-6)


def test_preparing_does_not_change_its_input() -> None:
    image = np.ones((5, 6, 7), np.float32)
    before = image.copy()
    prepare_image(image[None], make.grid(image.shape), make.plan())
    assert np.array_equal(image, before)


def test_voxel_that_is_not_finite_is_refused_by_name() -> None:
    image, _ = make.volume()
    image[3, 4, 5] = np.nan
    with pytest.raises(InputError, match=r"case_7.*1 of .* NaN"):
        prepare_image(image[None], make.grid(image.shape), make.plan(), name="case_7")


def test_label_value_that_is_no_class_is_refused_with_the_known_ones() -> None:
    image, label = make.volume()
    label[0, 0, 0] = 3
    plan = make.plan()
    _, placement = prepare_image(image[None], make.grid(image.shape), plan)
    with pytest.raises(InputError, match=r"x\.nii: 1 voxel holds 3.*4 \(tumour\)"):
        prepare_label(label, placement, plan, name="x.nii")


def test_rounding_in_a_label_is_no_other_class_and_nan_is_none() -> None:
    image, label = make.volume()
    plan = make.plan()
    _, placement = prepare_image(image[None], make.grid(image.shape), plan)
    noisy = label.astype(np.float32) + np.where(label > 0, np.float32(2e-5), np.float32(0))
    assert np.array_equal(prepare_label(noisy, placement, plan), prepare_label(label, placement, plan))
    noisy[0, 0, 0] = np.nan
    with pytest.raises(InputError, match=r"x\.nii: 1 voxel is NaN"):
        prepare_label(noisy, placement, plan, name="x.nii")


def test_ignored_voxels_become_minus_one() -> None:
    image, label = np.ones((6, 6, 6), np.float32), np.zeros((6, 6, 6), np.uint8)
    label[:2], label[2:4] = 9, 4
    plan = make.plan(ignore_value=9)
    _, placement = prepare_image(image[None], make.grid(image.shape), plan)
    prepared = prepare_label(label, placement, plan)
    assert prepared.dtype == np.int8
    assert (prepared[:2] == -1).all() and (prepared[2:4] == 2).all() and (prepared[4:] == 0).all()


def test_map_returns_to_the_scan_with_its_outside_value() -> None:
    image, _ = make.volume()
    voxels, grid = stored(image, make.grid(image.shape), ORDERS[11])
    prepared, placement = prepare_image(voxels[None], grid, make.plan())
    restored = restore_map(torch.from_numpy(prepared[0]), placement, outside=-7.0)
    assert restored.shape == voxels.shape and restored.dtype == np.float32
    assert (restored[voxels == 0] == -7).all()
    assert np.corrcoef(restored[voxels != 0], voxels[voxels != 0])[0, 1] > 0.999999


def test_placement_survives_json() -> None:
    image, _ = make.volume()
    _, placement = prepare_image(image[None], make.grid(image.shape), make.plan())
    assert Placement.from_dict(json.loads(json.dumps(placement.to_dict()))) == placement
