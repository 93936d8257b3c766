from __future__ import annotations

import json

import numpy as np
import planning_cases as make
import pytest
import torch

from duoseg.errors import InputError
from duoseg.planning.prepare import Placement, prepare_image, prepare_label, restore_map
from duoseg.planning.upright import Shear, straighten, upright_grid
from duoseg.scans.scan import Grid

TILTED = Grid((40, 44, 20), np.array([[0.8, 0, 0, -20], [0, 0.8, 0.7, 5], [0, 0, 2.5, 7], [0, 0, 0, 1.0]]))


def world(grid: Grid) -> np.ndarray:
    """Where every voxel lies, (X, Y, Z, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def test_the_slices_of_a_tilted_gantry_move_within_their_plane_only():
    upright = upright_grid(TILTED)
    np.testing.assert_allclose(upright.spacing, (0.8, 0.8, 2.5))
    assert upright.shape[0] == 40 and upright.shape[2] == 20
    assert not upright.is_sheared


def test_an_upright_grid_covers_every_corner_and_is_the_grid_itself_without_shear():
    upright = upright_grid(TILTED)
    inside = np.linalg.solve(upright.affine, np.c_[TILTED.corners(), np.ones(8)].T)[:3].T
    assert (inside > -1e-6).all() and (inside < np.array(upright.shape) - 1 + 1e-6).all()
    straight = make.grid((4, 5, 6))
    assert upright_grid(straight) is straight


def test_values_stay_where_they_are_in_the_world():
    # A linear field is sampled exactly by linear interpolation, wherever the grid lies.
    slope = np.array([0.3, -0.2, 0.5])
    upright = upright_grid(TILTED)
    field = (world(TILTED) @ slope).astype(np.float32)
    (straight,), known = straighten(field[None], Shear.between(TILTED, upright), upright.shape)
    expected = world(upright) @ slope
    assert 0.7 < known.mean() < 1.0 and (straight[~known] == field.min()).all()
    inner = known.copy()
    inner[:, 1:-1] &= known[:, 2:] & known[:, :-2]  # at the rim, air is mixed in
    inner[:, (0, -1)] = False
    np.testing.assert_allclose(straight[inner], expected[inner], atol=1e-3)


def test_a_mask_on_a_tilted_scan_comes_back_to_its_place_and_voxels_beyond_the_scan_are_ignored():
    centre = TILTED.affine[:3, :3] @ (19.3, 22.1, 9.6) + TILTED.affine[:3, 3]
    mask = np.linalg.norm(world(TILTED) - centre, axis=-1) < 15
    plan = make.plan(spacing=(1.0, 1.0, 2.5), classes={"organ": 1})
    image, placement = prepare_image(mask[None].astype(np.float32) + 1, TILTED, plan)
    assert image.shape[1:] == placement.prepared
    label = prepare_label(mask.astype(np.uint8), placement, plan)
    assert (label == -1).any() and not (label[:, label.shape[1] // 2] == -1).any()
    scale = np.ptp(image[0])
    share = restore_map(torch.from_numpy((image[0] - image[0].min()) / scale), placement, outside=0.0)
    found = share > 0.5
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.99
    assert Placement.from_dict(json.loads(json.dumps(placement.to_dict()))) == placement


def test_a_sheared_scan_is_prepared_alike_in_every_storage_order():
    rng = np.random.default_rng(0)
    voxels = rng.uniform(1, 2, TILTED.shape).astype(np.float32)
    plan = make.plan(spacing=(1.0, 1.0, 2.5))
    expected, _ = prepare_image(voxels[None], TILTED, plan)
    order = ((2, 0, 1), (False, True, True))
    moved = np.flip(voxels.transpose(order[0]), (1, 2))
    prepared, _ = prepare_image(moved[None], TILTED.reordered(order), plan)
    assert prepared.shape == expected.shape
    assert np.median(np.abs(prepared - expected)) == pytest.approx(0, abs=1e-4)


def test_a_structure_that_reaches_the_first_and_last_slice_keeps_them():
    plan = make.plan(spacing=(1.0, 1.0, 5.0), classes={"organ": 1})
    tilted = Grid((20, 24, 40), np.array([[1.0, 0, 0, 0], [0, 1, 0.2, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    _, placement = prepare_image(np.ones((1, *tilted.shape), np.float32), tilted, plan)
    found = restore_map(torch.full(placement.prepared, 0.8), placement, outside=0.0)
    np.testing.assert_allclose(found, 0.8, atol=1e-6)


def test_a_grid_too_large_for_this_machine_is_refused_before_it_is_made():
    spread = Grid((20, 20, 20), np.array([[0.001, 0, 5000, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    with pytest.raises(InputError, match="GiB"):
        prepare_image(np.ones((1, *spread.shape), np.float32), spread, make.plan())


def tilted(degrees: float) -> Grid:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 2 * np.tan(np.radians(degrees))
    return Grid((24, 40, 20), affine)


def test_the_scale_of_a_scan_does_not_depend_on_how_far_it_is_tilted():
    found = []
    for degrees in (0, 5, 15, 25):
        grid = tilted(degrees)
        voxels = np.full((1, *grid.shape), 30.0, np.float32)  # of air, whose value is not 0
        voxels[:, 4:20, 8:32, 3:17] = 200.0
        voxels[:, 8:16, 16:24, 8:12] = 300.0
        image, _ = prepare_image(voxels, grid, make.plan(spacing=(1.0, 1.0, 2.0)))
        found.append((np.median(image[image > 0]), image.max()))
    np.testing.assert_allclose(found, [found[0]] * 4, atol=0.03)


def test_a_tilted_scan_is_cut_to_what_it_shows_whatever_lies_beyond_it():
    grid = tilted(20)
    voxels = np.zeros((1, *grid.shape), np.float32)
    voxels[:, 4:20, 8:32, 3:17] = 200.0
    plain, placement = prepare_image(voxels, grid, make.plan(spacing=(1.0, 1.0, 2.0)))
    voxels[0, 4, 8, 3] = -5.0  # which beyond the scan is the lowest value then
    image, same = prepare_image(voxels, grid, make.plan(spacing=(1.0, 1.0, 2.0)))
    assert same.crop == placement.crop and image.shape == plain.shape
    assert placement.crop[0] == (4, 20) and placement.crop[2] == (3, 17)
