"""Scores of arrays against SimpleITK, MONAI and scipy, on random masks with anisotropic spacing."""

from __future__ import annotations

import monai.metrics as monai_metrics
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage

from duoseg.scores.evaluate import score_masks
from duoseg.scores.surface import surface, surface_distances

SPACINGS = [(1.0, 1.0, 1.0), (0.625, 0.7, 2.5), (3.0, 0.45, 1.3)]


def random_blob(seed: int, shape: tuple[int, int, int] = (22, 19, 17)) -> np.ndarray:
    """A ragged mask of several pieces that also touches the array's border."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 1.5) > 0.05


def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    loose = [(random_blob(seed), random_blob(seed + 100)) for seed in range(3)]
    base = random_blob(7)
    return [*loose, (base, ndimage.binary_dilation(base)), (base, np.roll(base, 2, axis=1))]


def score(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...], tolerance_mm: float = 1.0) -> dict:
    return score_masks(
        prediction.astype(np.uint8),
        reference.astype(np.uint8),
        spacing,
        {"organ": 1},
        tolerance_mm=tolerance_mm,
    )["organ"]


def one_hot(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None].float()


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("pair", range(5))
def test_overlaps_and_volumes_equal_simpleitk(pair: int, spacing: tuple[float, float, float]) -> None:
    prediction, reference = pairs()[pair]
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (reference, prediction)]
    for image in images:
        image.SetSpacing(spacing[::-1])
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(images[1])
    found = score(prediction, reference, spacing)
    assert found["dice"] == pytest.approx(overlap.GetDiceCoefficient(1), abs=1e-6)
    assert found["jaccard"] == pytest.approx(overlap.GetJaccardCoefficient(1), abs=1e-6)
    assert found["volume_ml"] == pytest.approx(shape.GetPhysicalSize(1) / 1000, rel=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("pair", range(5))
def test_surface_scores_equal_monai(pair: int, spacing: tuple[float, float, float]) -> None:
    # MONAI counts surface voxels, as we do, unless use_subvoxels asks it for DeepMind's surface elements.
    prediction, reference = pairs()[pair]
    both = (one_hot(prediction), one_hot(reference))
    found = score(prediction, reference, spacing, tolerance_mm=1.1)
    hd95 = monai_metrics.compute_hausdorff_distance(*both, include_background=True, percentile=95, spacing=spacing)
    assd = monai_metrics.compute_average_surface_distance(
        *both, include_background=True, symmetric=True, spacing=spacing
    )
    nsd = monai_metrics.compute_surface_dice(*both, class_thresholds=[1.1], include_background=True, spacing=spacing)
    assert found["hd95_mm"] == pytest.approx(hd95.item(), abs=1e-4)
    assert found["assd_mm"] == pytest.approx(assd.item(), abs=1e-4)
    assert found["nsd"] == pytest.approx(nsd.item(), abs=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("pair", range(5))
def test_surface_scores_equal_those_from_simpleitk_distance_maps(
    pair: int, spacing: tuple[float, float, float]
) -> None:
    # SimpleITK's own HausdorffDistance measures from every voxel of a mask, not from its surface, so that a
    # mask within another is at distance 0 from it. Its erosion and distance maps serve as independent parts.
    surfaces, maps = [], []
    for mask in pairs()[pair]:
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        core = sitk.BinaryErode(image, [1, 1, 1], sitk.sitkCross, 0.0, 1.0, False)
        shell = sitk.And(image, sitk.Not(core))
        distance = sitk.SignedMaurerDistanceMap(
            shell, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
        )
        surfaces.append(sitk.GetArrayFromImage(shell).astype(bool))
        maps.append(np.maximum(sitk.GetArrayFromImage(distance), 0))
    from_prediction, from_reference = maps[1][surfaces[0]], maps[0][surfaces[1]]
    together = np.concatenate([from_prediction, from_reference])
    found = score(*pairs()[pair], spacing, tolerance_mm=1.1)
    assert found["hd95_mm"] == pytest.approx(
        max(np.percentile(from_prediction, 95), np.percentile(from_reference, 95)), abs=1e-4
    )
    assert found["assd_mm"] == pytest.approx(together.mean(), abs=1e-4)
    assert found["nsd"] == pytest.approx((together <= 1.1).mean(), abs=1e-6)


def test_simpleitk_measures_nested_masks_from_their_inside() -> None:
    # The stated difference: a 3-cube inside a 9-cube lies 3 voxels below its surface, for us from both sides.
    outer, inner = np.zeros((13, 13, 13), np.uint8), np.zeros((13, 13, 13), np.uint8)
    outer[2:11, 2:11, 2:11] = 1
    inner[5:8, 5:8, 5:8] = 1
    itk = sitk.HausdorffDistanceImageFilter()
    itk.Execute(sitk.GetImageFromArray(inner), sitk.GetImageFromArray(outer))
    ours = surface_distances(inner > 0, outer > 0, (1, 1, 1))
    assert ours is not None
    assert itk.GetHausdorffDistance() == pytest.approx(ours.from_reference.max(), abs=1e-4)
    assert ours.from_prediction.min() == pytest.approx(3.0, abs=1e-4)


def test_surface_equals_mask_minus_its_six_neighbour_erosion() -> None:
    cross = ndimage.generate_binary_structure(3, 1)
    for seed in range(4):
        mask = random_blob(seed)
        expected = mask & ~ndimage.binary_erosion(mask, cross, border_value=0)
        assert np.array_equal(surface(mask), expected)
