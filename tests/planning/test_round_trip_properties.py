"""Whatever grid a scan lies on, a mask that went through preparation and back lies where it lay."""

from __future__ import annotations

import numpy as np
import planning_cases as make
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from duoseg.planning.orient import canonical_spacing
from duoseg.planning.prepare import prepare_image, prepare_label, restore_map, restore_mask, restore_mask_and_doubt
from duoseg.scans.scan import Grid

DTYPES = ("uint8", "int16", "uint16", "int32", "float32", "float64")
SIDES = st.floats(0.3, 6.0)


@st.composite
def affines(draw, *, shear: bool) -> np.ndarray:
    """Any rotation, spacing, handedness, axis order and origin; with ``shear`` any angle from 60 to 120 degrees."""
    affine = np.eye(4)
    turn = Rotation.from_rotvec([draw(st.floats(-3.1, 3.1)) for _ in range(3)]).as_matrix()
    slant = np.eye(3)
    if shear:
        slant[0, 1], slant[0, 2], slant[1, 2] = (draw(st.floats(-0.35, 0.35)) for _ in range(3))
    signs = [draw(st.sampled_from((-1.0, 1.0))) for _ in range(3)]
    order = draw(st.permutations(range(3)))
    affine[:3, :3] = (turn @ slant @ np.diag([draw(SIDES) for _ in range(3)]) @ np.diag(signs))[:, order]
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return affine


@settings(max_examples=60)
@given(
    affine=affines(shear=False),
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
)
def test_on_its_own_spacing_every_voxel_of_a_mask_returns_to_its_place(affine, shape, dtype, seed) -> None:
    rng = np.random.default_rng(seed)
    grid = Grid(shape, affine)
    label = rng.choice([0, 1, 4], shape).astype(dtype)
    image = rng.integers(1, 200, shape).astype(dtype)
    plan = make.plan(spacing=canonical_spacing(grid))
    _, placement = prepare_image(image[None], grid, plan)
    prepared = torch.from_numpy(prepare_label(label, placement, plan)).long()
    mask = restore_mask(F.one_hot(prepared, 3).permute(3, 0, 1, 2).float(), placement)
    np.testing.assert_array_equal(np.array([0, 1, 4])[mask], label)


@settings(max_examples=40)
@given(
    affine=affines(shear=True),
    targets=st.tuples(*[st.floats(0.5, 2.0)] * 3),
    offset=st.tuples(*[st.floats(-0.5, 0.5)] * 3),
)
def test_through_resampling_a_smooth_object_returns_to_its_place(affine, targets, offset) -> None:
    """A ball of 6 voxels' radius, of the scan's and of the plan's; the plan's are 0.5 to 2 times as long."""
    x, y, z = (float(side) for side in np.array(targets) * canonical_spacing(Grid((9, 9, 9), affine)))
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    radius = 6 * max(x, y, z, *sides)
    # along each axis the ball's shadow, and room around it
    reach = radius * np.linalg.norm(np.linalg.inv(affine[:3, :3]), axis=1)
    shape = tuple(int(2 * half) + 7 for half in reach)
    if np.prod(shape) > 2_000_000:
        return
    grid = Grid((shape[0], shape[1], shape[2]), affine)
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2 + offset) + affine[:3, 3]
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    ball = np.linalg.norm(world - centre, axis=-1) < radius

    plan = make.plan(spacing=(x, y, z), classes={"organ": 1})
    image, placement = prepare_image(ball[None].astype(np.float32) + 1, grid, plan)
    share = (image[0] - image[0].min()) / np.ptp(image[0])
    back = restore_map(torch.from_numpy(share), placement, outside=0.0) > 0.5
    assert 2 * (back & ball).sum() / (back.sum() + ball.sum()) >= 0.98

    odds = torch.from_numpy(np.stack([1 - share, share]))
    found, doubt = restore_mask_and_doubt(odds, placement)
    np.testing.assert_array_equal(found, restore_mask(odds, placement))
    maps = [restore_map(one, placement, outside=1.0 - index) for index, one in enumerate(odds)]
    np.testing.assert_allclose(doubt, 1 - np.max(maps, axis=0), atol=1e-6)

    # The label that training sees has whole voxels only, but lies in the same place.
    label = torch.from_numpy(prepare_label(ball.astype(np.uint8), placement, plan)).clamp(min=0).long()
    mask = restore_mask(F.one_hot(label, 2).permute(3, 0, 1, 2).float(), placement) > 0
    apart = np.linalg.norm(world[mask].mean(axis=0) - centre)
    assert apart < 0.25 * max(x, y, z, *sides)
    assert 2 * (mask & ball).sum() / (mask.sum() + ball.sum()) >= 0.93
