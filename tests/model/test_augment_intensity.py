"""Intensity changes against scipy and closed forms, and the statistics of their draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from duoseg.model.draws import SampleGenerator
from duoseg.model.intensity import (
    PLAIN,
    STRONG,
    IntensityChange,
    along_axes,
    apply_intensities,
    change_gamma,
    draw_intensities,
    low_resolution_matrix,
)
from duoseg.planning.plan import AugmentationPlan

SHAPE = (13, 11, 9)


def change(image: torch.Tensor, made: IntensityChange, spacing=None) -> torch.Tensor:
    return apply_intensities(image[None], [made], generator=SampleGenerator(0, 0, [0]), spacing=spacing)[0]


def picture(channels: int = 2) -> torch.Tensor:
    return torch.randn(channels, *SHAPE, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("spacing", "sigmas"), [(None, (0.9, 0.9, 0.9)), ((1.0, 1.0, 3.0), (0.9, 0.9, 0.3))])
def test_blur_equals_scipy_renormalised_at_the_border(spacing, sigmas):
    image = picture(1)

    def smooth(volume: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(volume, sigmas, mode="constant", truncate=9)

    expected = smooth(image[0].double().numpy()) / smooth(np.ones(SHAPE))
    blurred = change(image, IntensityChange(blur=0.9), spacing)
    np.testing.assert_allclose(blurred[0].numpy(), expected, atol=1e-5)


def test_matrices_act_along_their_own_axis():
    image = picture(1)
    moved = along_axes(image, [torch.eye(13).roll(1, 0), torch.eye(11).roll(2, 0), torch.eye(9).roll(3, 0)])
    assert torch.equal(moved, image.roll((1, 2, 3), (1, 2, 3)))


def test_low_resolution_keeps_constants_and_slopes_and_removes_fine_detail():
    n = 32
    matrix = low_resolution_matrix(n, 0.5).double()
    ramp = torch.arange(n, dtype=torch.float64)
    torch.testing.assert_close(matrix @ torch.ones(n).double(), torch.ones(n).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close((matrix @ ramp)[3:-3], ramp[3:-3], atol=1e-4, rtol=0)
    checker = (-1.0) ** torch.arange(n, dtype=torch.float64)
    assert (matrix @ checker)[3:-3].abs().max() < 0.01
    torch.testing.assert_close(low_resolution_matrix(n, 1.0), torch.eye(n))
    assert torch.linalg.matrix_rank(matrix, atol=1e-6) == 16


def test_low_resolution_spares_axes_that_are_coarse_already():
    image = torch.zeros(1, 16, 16, 16)
    image[0, 8, 8, 8] = 1
    coarse = change(image, IntensityChange(low_resolution=0.5), spacing=(1.0, 1.0, 4.0))
    assert (coarse.sum((1, 2)) != 0).sum() == 1 and (coarse.sum((1, 3)) != 0).sum() > 1


def test_gamma_keeps_each_channels_range_and_follows_its_formula():
    image = picture()
    gamma = torch.tensor([0.7, 1.5])[:, None, None, None]
    for inverted in (False, True):
        changed = change(image, IntensityChange(gamma=(0.7, 1.5), inverted=inverted)).double()
        for channel in range(2):
            x = image[channel].double()
            low, high = x.min(), x.max()
            share = (high - x) / (high - low) if inverted else (x - low) / (high - low)
            bent = share ** float(gamma[channel])
            expected = high - bent * (high - low) if inverted else low + bent * (high - low)
            torch.testing.assert_close(changed[channel], expected, atol=1e-5, rtol=0)


def test_gamma_of_a_constant_patch_is_that_patch():
    flat = torch.full((1, 4, 4, 4), 2.5)
    changed = change_gamma(flat, torch.tensor(0.7))
    torch.testing.assert_close(changed, flat, atol=1e-5, rtol=0)


def test_contrast_turns_about_the_mean_and_brightness_adds():
    image = picture()
    stretched = change(image, IntensityChange(contrast=(1.3, 0.8)))
    torch.testing.assert_close(stretched.mean((1, 2, 3)), image.mean((1, 2, 3)), atol=1e-5, rtol=0)
    ratio = stretched.std((1, 2, 3)) / image.std((1, 2, 3))
    torch.testing.assert_close(ratio, torch.tensor([1.3, 0.8]))
    shifted = change(image, IntensityChange(brightness=(0.2, -0.3)))
    torch.testing.assert_close(shifted - image, torch.tensor([0.2, -0.3])[:, None, None, None].expand(2, *SHAPE))


def test_noise_has_its_standard_deviation_in_each_channel():
    flat = torch.zeros(2, 24, 24, 24)
    noise = change(flat, IntensityChange(noise=(0.1, 0.02)))
    torch.testing.assert_close(noise.std((1, 2, 3)), torch.tensor([0.1, 0.02]), rtol=0.03, atol=0)
    assert noise.mean().abs() < 0.003


def test_sample_without_a_change_is_untouched():
    image = picture()
    assert torch.equal(change(image, IntensityChange()), image)


def test_probabilities_and_ranges_are_the_stated_ones():
    plan = AugmentationPlan()
    n = 1500
    drawn = draw_intensities(SampleGenerator(0, 0, range(n)), plan=plan, channels=2)
    for name, likely in (
        ("blur", 0.2),
        ("low_resolution", 0.2),
        ("gamma", 0.3),
        ("noise", 0.2),
        ("brightness", 0.2),
    ):
        share = np.mean([getattr(change, name) is not None for change in drawn])
        assert abs(share - likely) < 0.04, name
    values = {
        name: np.array([getattr(change, name) for change in drawn if getattr(change, name) is not None])
        for name in ("blur", "low_resolution", "gamma", "contrast", "noise", "brightness")
    }
    bounds = {
        "blur": PLAIN.blur,
        "low_resolution": PLAIN.low_resolution,
        "gamma": PLAIN.gamma,
        "contrast": PLAIN.contrast,
        "noise": (0.0, PLAIN.noise),
        "brightness": (-PLAIN.brightness, PLAIN.brightness),
    }
    for name, (low, high) in bounds.items():
        width = high - low
        assert low - 1e-6 <= values[name].min() < low + 0.05 * width, name
        assert high - 0.05 * width < values[name].max() <= high + 1e-6, name
    assert np.abs(np.log(values["gamma"]).mean() - np.log(0.7 * 1.5) / 2) < 0.03


def test_strong_changes_are_more_likely_and_wider():
    n = 600
    plan = AugmentationPlan()
    plain, strong = (
        draw_intensities(SampleGenerator(0, 0, range(n)), plan=plan, channels=1, ranges=ranges)
        for ranges in (PLAIN, STRONG)
    )
    for name in ("blur", "low_resolution", "gamma", "contrast", "brightness", "noise"):
        weak_values, strong_values = (
            [getattr(change, name) for change in drawn if getattr(change, name) is not None]
            for drawn in (plain, strong)
        )
        assert len(strong_values) > 1.5 * len(weak_values), name
        assert np.ptp(strong_values) > 1.2 * np.ptp(weak_values), name


def test_probability_zero_switches_a_change_off_in_every_view():
    plan = AugmentationPlan().model_copy(update={"noise_probability": 0.0})
    drawn = draw_intensities(SampleGenerator(0, 0, range(200)), plan=plan, channels=1, ranges=STRONG)
    assert all(change.noise is None for change in drawn)
