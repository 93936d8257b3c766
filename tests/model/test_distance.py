"""Signed distance maps against scipy, and the masks they become against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.special import expit
from torch.nn import functional as F

from duoseg.model.distance import (
    bounded,
    logits_from_distance,
    mask_from_distance,
    normalised_distance,
    probabilities_from_distance,
    signed_distance,
)

SPACING = (0.7, 1.3, 2.9)


def blobs(seed: int, classes: int = 2, shape: tuple[int, int, int] = (17, 21, 12)) -> np.ndarray:
    field = np.random.default_rng(seed).normal(size=(classes + 1, *shape))
    smooth = ndimage.gaussian_filter(field, (0, 2, 2, 1.5))
    return smooth.argmax(0).astype(np.int8)


@pytest.mark.parametrize("seed", range(5))
def test_signed_distance_equals_scipy_on_both_sides_with_anisotropic_voxels(seed):
    label = blobs(seed)
    maps = signed_distance(label, 2, SPACING, clip_mm=1e6)
    assert maps.dtype == np.float32 and maps.shape == (2, *label.shape)
    for index in range(2):
        inside = label == index + 1
        outer = ndimage.distance_transform_edt(~inside, sampling=SPACING)
        inner = ndimage.distance_transform_edt(inside, sampling=SPACING)
        np.testing.assert_allclose(maps[index], outer - inner, atol=1e-4)
        assert (maps[index][inside] < 0).all() and (maps[index][~inside] > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_scattered_voxels_get_exact_distances(seed):
    inside = np.random.default_rng(seed).random((14, 11, 13)) < (0.02, 0.5, 0.98)[seed]
    expected = ndimage.distance_transform_edt(~inside, sampling=SPACING) - ndimage.distance_transform_edt(
        inside, sampling=SPACING
    )
    np.testing.assert_allclose(signed_distance(inside.astype(int), 1, SPACING, clip_mm=1e6)[0], expected, atol=1e-4)


def test_axis_order_in_memory_does_not_matter():
    label = blobs(1)
    np.testing.assert_array_equal(
        signed_distance(np.asfortranarray(label), 2, SPACING, clip_mm=9.0),
        signed_distance(label, 2, SPACING, clip_mm=9.0),
    )


def test_sphere_has_its_analytic_distance_within_one_voxel():
    spacing = np.array([1.0, 1.0, 2.0])
    shape = (33, 33, 17)
    position = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij"))
    radius = np.linalg.norm(position - np.array([16.0, 16.0, 16.0])[:, None, None, None], axis=0)
    maps = signed_distance((radius < 9).astype(np.int64), 1, tuple(spacing), clip_mm=100)
    assert np.abs(maps[0] - (radius - 9)).max() < 2.0


def test_absent_and_all_filling_classes_are_clipped_constants():
    filled = signed_distance(np.ones((4, 5, 6), np.int8), 2, SPACING, clip_mm=7.5)
    assert (filled[0] == -7.5).all() and (filled[1] == 7.5).all()


def test_distances_are_clipped_on_both_sides():
    label = np.zeros((40, 3, 3), np.int8)
    label[:20] = 1
    maps = signed_distance(label, 1, (1.0, 1.0, 1.0), clip_mm=5.0)
    assert maps.min() == -5.0 and maps.max() == 5.0
    np.testing.assert_array_equal(maps[0, 17:23, 1, 1], [-3, -2, -1, 1, 2, 3])


def test_ignored_voxels_count_as_outside():
    label = blobs(2)
    ignored = np.where(label == 0, -1, label)
    np.testing.assert_array_equal(
        signed_distance(ignored, 2, SPACING, clip_mm=9), signed_distance(label, 2, SPACING, clip_mm=9)
    )


def test_steep_mask_agrees_with_float64_also_from_half_precision():
    k = 1500.0
    phi = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    phi = torch.cat([phi, torch.linspace(-0.01, 0.01, 1001, dtype=torch.float64)])
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        given = phi.to(dtype)
        expected = expit(-k * given.double().numpy())
        mask = mask_from_distance(given, k)
        assert mask.dtype == torch.float32
        np.testing.assert_allclose(mask.numpy(), expected, atol=2e-6)
    assert mask_from_distance(phi, k).dtype == torch.float64


def test_mask_gradient_is_finite_and_right():
    phi = torch.tensor([-1.0, -0.002, 0.0, 0.001, 1.0], requires_grad=True)
    mask_from_distance(phi, 1500.0).sum().backward()
    assert phi.grad is not None
    mask = expit(-1500 * phi.detach().double().numpy())
    np.testing.assert_allclose(phi.grad.numpy(), -1500 * mask * (1 - mask), rtol=1e-4, atol=1e-5)


def test_probabilities_are_the_products_of_the_masks():
    phi = torch.tanh(torch.randn(2, 3, 4, 5, 6, dtype=torch.float64) * 0.5)
    for k in (2.0, 1500.0):
        mask = expit(-k * phi.numpy())
        scores = np.concatenate([np.prod(1 - mask, axis=1, keepdims=True), mask], axis=1)
        expected = scores / scores.sum(1, keepdims=True)
        np.testing.assert_allclose(probabilities_from_distance(phi, k).numpy(), expected, atol=1e-9)
        np.testing.assert_allclose(probabilities_from_distance(phi.float(), k).sum(1).numpy(), 1, atol=1e-6)


def test_one_class_gives_the_mask_and_its_complement():
    phi = torch.linspace(-0.01, 0.01, 27).reshape(1, 1, 3, 3, 3)
    probabilities = probabilities_from_distance(phi, 1500.0)
    torch.testing.assert_close(probabilities[:, 1:], mask_from_distance(phi, 1500.0), atol=1e-6, rtol=0)


def test_probabilities_have_finite_gradients_when_everything_saturates():
    phi = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]).reshape(3, 2, 1, 1, 1).requires_grad_()
    probabilities_from_distance(phi, 1500.0)[:, 0].sum().backward()
    assert phi.grad is not None and torch.isfinite(phi.grad).all()


def test_logits_keep_a_gradient_where_probabilities_have_vanished():
    phi = torch.full((1, 2, 1, 1, 1), 0.9, requires_grad=True)
    F.cross_entropy(logits_from_distance(phi, 1500.0), torch.ones(1, 1, 1, 1, dtype=torch.long)).backward()
    assert phi.grad[0, 0] > 1000 and probabilities_from_distance(phi, 1500.0)[0, 1] == 0


@pytest.mark.parametrize("seed", range(3))
def test_normalised_distances_reach_1_on_both_sides_and_are_0_on_the_classes_boundary(seed):
    label = blobs(seed)
    maps = normalised_distance(torch.from_numpy(label)[None], 2, SPACING)[0].numpy()
    for index in range(2):
        inside = label == index + 1
        outer = ndimage.distance_transform_edt(~inside, sampling=SPACING)
        inner = ndimage.distance_transform_edt(inside, sampling=SPACING)
        boundary = inside & ~ndimage.binary_erosion(inside, border_value=1)
        expected = outer / outer.max() - np.where(boundary, 0, inner / inner.max())
        np.testing.assert_allclose(maps[index], expected, atol=1e-5)


def test_normalised_distances_of_absent_and_filling_classes_are_outside_and_inside_throughout():
    label = torch.ones(2, 6, 5, 4, dtype=torch.long)
    label[1] = -1
    maps = normalised_distance(label, 2, SPACING)
    assert maps.shape == (2, 2, 6, 5, 4) and maps.dtype == torch.float32
    assert bool((maps[0, 0] == -1).all()) and bool((maps[0, 1] == 1).all()) and bool((maps[1] == 1).all())
    assert normalised_distance(label[:0], 2, SPACING).shape == (0, 2, 6, 5, 4)


def test_maps_are_bounded_in_single_precision_whatever_the_network_computes_in():
    maps = torch.tensor([-3.5, 0.0, 3.5], dtype=torch.bfloat16, requires_grad=True)
    phi = bounded(maps)
    assert phi.dtype == torch.float32 and bool((phi.abs() < 1).all())
    phi.sum().backward()
    assert bool((maps.grad > 0).all())  # half precision's tanh would give 1, and no gradient
    assert bounded(maps.detach().double()).dtype == torch.float64


def test_where_nobody_annotated_is_no_boundary_of_a_normalised_distance():
    """A slab that fills two axes is the same slab where some of its border is not annotated."""
    label = np.zeros((12, 8, 8), np.int64)
    label[4:8] = 1
    whole = normalised_distance(torch.from_numpy(label)[None], 1, SPACING)[0, 0].numpy()
    label[:, :2] = label[:, :, 7] = -1
    inside = label == 1
    maps = normalised_distance(torch.from_numpy(label)[None], 1, SPACING)[0, 0].numpy()
    np.testing.assert_allclose(maps[inside], whole[inside], atol=1e-6)
    assert maps[~inside].min() > 0
