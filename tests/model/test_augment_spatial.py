"""Warps, mirrors and quarter turns against scipy, numpy and geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.interpolate import BSpline

from duoseg.model.draws import SampleGenerator
from duoseg.model.reorient import Reorientation, apply_reorientations, draw_reorientations
from duoseg.model.spatial import Warp, apply_warps, centre_crop, draw_warps, rotation, spline_basis
from duoseg.planning.plan import AugmentationPlan

SIZE = (12, 14, 10)


def always(**changes) -> AugmentationPlan:
    return AugmentationPlan(spatial_probability=1.0).model_copy(update=changes)


def draw(indices, **settings) -> list[Warp]:
    warps = draw_warps(SampleGenerator(0, 0, indices), **settings)
    return [warp for warp in warps if warp is not None]


def displacements(warp: Warp, size) -> torch.Tensor:
    """The bend (3, *size) of a warp, read off images that hold their own voxel coordinates."""
    margin = 14
    shape = [n + 2 * margin for n in size]
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in shape]
    coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
    bend = Warp(torch.eye(3, dtype=torch.float64), warp.control)
    moved, _ = apply_warps(coordinates, None, warps=[bend], size=size)
    return moved[0] - centre_crop(coordinates[0], size)


def test_affine_warp_equals_scipy_affine_transform():
    shape = (17, 19, 14)
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    matrix = rotation(torch.tensor([0.2, -0.4, 0.3])) / 1.2
    warped, _ = apply_warps(torch.tensor(image)[None, None], None, warps=[Warp(matrix)], size=SIZE)
    start = (np.array(shape) - SIZE) // 2
    centre_out = (np.array(SIZE) - 1) / 2
    offset = start + centre_out - matrix.numpy() @ centre_out
    # scipy's "grid-constant" blends with the zeros outside as grid_sample does.
    expected = ndimage.affine_transform(
        image, matrix.numpy(), offset, output_shape=SIZE, order=1, mode="grid-constant", cval=0.0
    )
    np.testing.assert_allclose(warped[0, 0].numpy(), expected, atol=2e-5)


def test_labels_take_the_nearest_voxel_and_are_ignored_outside():
    label = torch.randint(-1, 3, (1, 13, 13, 13), generator=torch.Generator().manual_seed(0))
    matrix = rotation(torch.tensor([0.3, 0.2, -0.5])) * 1.1
    _, warped = apply_warps(torch.zeros(1, 1, 13, 13, 13), label, warps=[Warp(matrix)], size=(13, 13, 13))
    centre = np.full(3, 6.0)
    expected = ndimage.affine_transform(
        label[0].numpy(),
        matrix.numpy(),
        centre - matrix.numpy() @ centre,
        order=0,
        mode="grid-constant",
        cval=-1,
    )
    assert warped is not None and warped.dtype == torch.int64
    assert (warped[0].numpy() == expected).mean() > 0.999
    assert (warped == -1).sum() > (label == -1).sum() * 0.9


@pytest.mark.parametrize("shape", [(12, 14, 10), (15, 19, 14)])
def test_warp_that_changes_nothing_is_the_centre_crop(shape):
    image = torch.randn(1, 2, *shape)
    label = torch.randint(-1, 4, (1, *shape))
    still = Warp(torch.eye(3, dtype=torch.float64), torch.zeros(3, 4, 4, 4))
    warped, moved = apply_warps(image, label, warps=[still], size=SIZE)
    torch.testing.assert_close(warped, centre_crop(image, SIZE), atol=1e-4, rtol=0)
    assert moved is not None and torch.equal(moved, centre_crop(label, SIZE))


def test_rotation_is_orthogonal_and_turns_about_the_named_axis():
    matrix = rotation(torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3, dtype=torch.float64))
    assert torch.det(matrix) > 0
    for axis in range(3):
        angles = torch.zeros(3, dtype=torch.float64)
        angles[axis] = 0.5
        turn = rotation(angles)
        assert torch.equal(turn[axis], torch.eye(3, dtype=torch.float64)[axis])
        assert torch.trace(turn).item() == pytest.approx(1 + 2 * math.cos(0.5))


def test_rotations_are_rigid_in_mm_when_voxels_are_anisotropic():
    spacing = (1.0, 1.5, 4.0)
    plan = always(scale=(1.0, 1.0), elastic_voxels=0.0, rotation_degrees=(30.0, 30.0, 30.0))
    to_mm = np.diag(spacing)
    for warp in draw(range(8), plan=plan, size=SIZE, spacing=spacing):
        turn = to_mm @ warp.matrix.numpy() @ np.linalg.inv(to_mm)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.abs(turn - np.eye(3)).max() > 1e-3


def test_scale_above_one_enlarges_the_anatomy():
    plan = always(scale=(1.4999, 1.5001), elastic_voxels=0.0, rotation_degrees=(0.0, 0.0, 0.0))
    n = 31
    axis = torch.arange(n) - 15.0
    ball = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2 < 36).float()
    warps = draw([0], plan=plan, size=(n, n, n))
    grown, _ = apply_warps(ball[None, None], None, warps=warps, size=(n, n, n))
    assert grown.sum().item() / ball.sum().item() == pytest.approx(1.5**3, rel=0.03)


def test_scales_and_angles_fill_their_ranges():
    plan = always(rotation_degrees=(0.0, 0.0, 40.0), scale=(0.5, 2.0))
    matrices = torch.stack([w.matrix for w in draw(range(600), plan=plan, size=(4, 4, 4))])
    scales = torch.det(matrices) ** (-1 / 3)
    angles = torch.rad2deg(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert 0.5 <= scales.min() < 0.55 and 1.85 < scales.max() <= 2.0
    assert abs(scales.log().mean()) < 0.08
    assert -40 <= angles.min() < -37 and 37 < angles.max() <= 40 and abs(angles.mean()) < 3


def test_share_of_warped_samples_is_the_plans():
    plan = AugmentationPlan(spatial_probability=0.3)
    warps = draw_warps(SampleGenerator(0, 0, range(800)), plan=plan, size=(4, 4, 4))
    assert abs(np.mean([warp is not None for warp in warps]) - 0.3) < 0.06


def test_spline_basis_equals_scipy():
    n, knots = 23, 6
    spline = BSpline(np.arange(-3, knots + 4) + 1.0, np.eye(knots + 3), 3, extrapolate=False)
    position = (np.arange(n) + 0.5) * (knots - 3) / n + 1
    # Our knot j sits at coordinate j, the centre of a basis function that starts at j - 2.
    expected = np.nan_to_num(spline(position))[:, : knots + 3]
    ours = spline_basis(n, knots).numpy()
    start = np.argmax(expected[0] > 0) - np.argmax(ours[0] > 0)
    np.testing.assert_allclose(ours, expected[:, start : start + knots], atol=1e-6)
    np.testing.assert_allclose(ours.sum(1), 1, atol=1e-6)


def test_bending_has_the_stated_size_and_never_folds():
    size = (48, 40, 24)
    plan = always(elastic_voxels=1.5)
    warps = draw(range(24), plan=plan, size=size)
    fields = torch.stack([displacements(warp, size) for warp in warps])
    rms = fields.square().mean().sqrt().item()
    # The amplitude is uniform in [0, 1.5], whose own root mean square is 1.5 / sqrt(3).
    assert rms == pytest.approx(1.5 / math.sqrt(3), rel=0.25)
    wild = draw(range(6), plan=always(elastic_voxels=1000.0), size=size)
    for warp in wild:
        field = displacements(warp, size)
        slopes = torch.stack(torch.gradient(field, dim=(1, 2, 3)), dim=1)
        jacobian = slopes.movedim((0, 1), (-2, -1)) + torch.eye(3)
        assert torch.det(jacobian).min() > 0


def test_elastic_displacement_in_mm_does_not_grow_with_slice_thickness():
    size, spacing = (40, 40, 12), (1.0, 1.0, 5.0)
    warps = draw(range(16), plan=always(elastic_voxels=1.5), size=size, spacing=spacing)
    fields = torch.stack([displacements(warp, size) for warp in warps])
    rms = fields.square().mean((0, 2, 3, 4)).sqrt() * torch.tensor(spacing)
    assert (rms - 1.5 / math.sqrt(3)).abs().max() < 0.35


@pytest.mark.parametrize("plane", [(0, 1), (0, 2), (1, 2)])
def test_quarter_turn_equals_numpy_rot90(plane):
    volume = torch.randn(2, 4, 5, 6)
    turned = Reorientation().turned(plane).apply(volume).numpy()
    np.testing.assert_array_equal(turned, np.rot90(volume.numpy(), axes=(plane[0] + 1, plane[1] + 1)))
    four = Reorientation()
    for _ in range(4):
        four = four.turned(plane)
    assert four == Reorientation()


def test_combined_turns_and_mirrors_are_one_after_the_other():
    volume = torch.randn(4, 5, 6)
    change = Reorientation().mirrored(1).turned((0, 2)).turned((1, 2)).mirrored(0)
    expected = np.flip(np.rot90(np.rot90(np.flip(volume.numpy(), 1), axes=(0, 2)), axes=(1, 2)), 0)
    np.testing.assert_array_equal(change.apply(volume).numpy(), expected)
    assert torch.equal(change.inverse().apply(change.apply(volume)), volume)


def test_only_allowed_axes_are_mirrored_each_half_of_the_time():
    plan = AugmentationPlan(mirror_axes=(0, 2))
    flips = np.array(
        [r.flips for r in draw_reorientations(SampleGenerator(0, 0, range(600)), plan=plan, size=(4, 4, 4))]
    )
    assert not flips[:, 1].any()
    assert np.abs(flips[:, [0, 2]].mean(0) - 0.5).max() < 0.08


@pytest.mark.parametrize(
    ("size", "spacing", "axes"),
    [
        ((8, 8, 6), None, {(0, 1, 2), (1, 0, 2)}),
        ((8, 8, 8), (1.0, 1.0, 3.0), {(0, 1, 2), (1, 0, 2)}),
        ((8, 7, 6), None, {(0, 1, 2)}),
    ],
)
def test_quarter_turns_stay_in_planes_with_equal_size_and_spacing(size, spacing, axes):
    plan = AugmentationPlan(quarter_turns=True)
    drawn = draw_reorientations(SampleGenerator(0, 0, range(60)), plan=plan, size=size, spacing=spacing)
    assert {change.axes for change in drawn} == axes


def test_quarter_turns_of_a_cube_reach_all_rotations_and_no_mirror_image():
    plan = AugmentationPlan(quarter_turns=True)
    drawn = set(draw_reorientations(SampleGenerator(0, 0, range(500)), plan=plan, size=(8, 8, 8)))
    assert len(drawn) == 24
    corner = torch.arange(8).reshape(2, 2, 2)
    images = {tuple(change.apply(corner).flatten().tolist()) for change in drawn}
    assert len(images) == 24 and tuple(corner.flip(0).flatten().tolist()) not in images


def test_more_samples_than_changes_is_an_error():
    with pytest.raises(ValueError, match="2 samples"):
        apply_reorientations(torch.zeros(2, 3, 3, 3), [Reorientation()])
