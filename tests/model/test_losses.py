"""Losses against MONAI, PyTorch and cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import DiceLoss
from torch.nn import functional as F

from duoseg.model.losses import (
    IGNORE,
    class_probabilities,
    cross_entropy,
    dice_loss,
    entropy,
    gaussian_ramp,
    masked_mean,
    one_hot,
    region_loss,
)


def example(classes=3, batch=2, side=5):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, classes, side, side, side, generator=generator)
    return logits, torch.randint(classes, (batch, side, side, side), generator=generator)


def test_dice_loss_equals_monais_with_squared_volumes_over_the_batch():
    logits, label = example()
    p = class_probabilities(logits)
    oracle = DiceLoss(include_background=False, squared_pred=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
    expected = oracle(p, F.one_hot(label, 3).movedim(-1, 1).float())
    torch.testing.assert_close(dice_loss(p[:, 1:], label), expected)


def test_cross_entropy_equals_pytorchs_mean_over_annotated_voxels():
    logits, label = example()
    label[0, :2] = IGNORE
    torch.testing.assert_close(cross_entropy(logits, label), F.cross_entropy(logits, label, ignore_index=IGNORE))


def test_voxels_without_annotation_take_no_part():
    logits, label = example()
    label[:, 0] = IGNORE
    changed = logits.clone()
    changed[:, :, 0] += 3.0
    for loss in (cross_entropy, lambda z, y: dice_loss(class_probabilities(z)[:, 1:], y)):
        torch.testing.assert_close(loss(logits, label), loss(changed, label))


def test_nothing_annotated_costs_nothing_and_stays_finite():
    logits, label = example()
    label[:] = IGNORE
    assert cross_entropy(logits, label).item() == 0
    assert dice_loss(class_probabilities(logits)[:, 1:], label).item() == 0


@pytest.mark.parametrize(("prediction", "expected"), [(1.0, 0.0), (0.0, 1.0), (0.5, 1 - 2 * 4 / (2 + 8))])
def test_dice_loss_of_constant_predictions_by_hand(prediction, expected):
    # 8 voxels, all foreground: 2 sum(p) / (sum(p^2) + 8)
    label = torch.ones(1, 2, 2, 2, dtype=torch.long)
    loss = dice_loss(torch.full((1, 1, 2, 2, 2), prediction), label)
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_one_hot_leaves_voxels_without_annotation_empty():
    truth, annotated = one_hot(torch.tensor([[[[0, 1, 2, IGNORE]]]]), 3)
    assert truth[0, :, 0, 0].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert annotated[0, 0, 0, 0].tolist() == [1, 1, 1, 0]


def test_half_precision_ends_at_the_loss():
    logits, _ = example()
    assert class_probabilities(logits.half()).dtype == torch.float32
    assert class_probabilities(logits.double()).dtype == torch.float64


def test_gaussian_ramp_has_the_published_ends():
    assert gaussian_ramp(0) == pytest.approx(math.exp(-5))
    assert gaussian_ramp(0.5) == pytest.approx(math.exp(-1.25))
    assert gaussian_ramp(1) == 1


def test_gaussian_ramp_with_levels_rises_at_each_interval_only():
    # Published code: every 150 of 6000 steps.
    for step in (0, 149, 150, 3000, 5999):
        assert gaussian_ramp(step / 6000, 40) == pytest.approx(math.exp(-5 * (1 - (step // 150) / 40) ** 2))
    assert gaussian_ramp(0.26, 40) == gaussian_ramp(0.255, 40)
    assert gaussian_ramp(0.26) > gaussian_ramp(0.255)


def test_the_region_loss_is_half_cross_entropy_half_dice_of_the_foreground():
    logits, label = example()
    dice = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, squared_pred=True, batch=True)
    expected = (F.cross_entropy(logits, label) + dice(logits, label[:, None])) / 2
    torch.testing.assert_close(region_loss(logits, label), expected, rtol=1e-4, atol=1e-4)


def test_a_masked_mean_is_over_what_the_mask_keeps_and_0_where_that_is_nothing():
    values = torch.tensor([[[1.0, 2.0, 3.0]], [[5.0, 7.0, 9.0]]]).expand(2, 2, 3)
    mask = torch.tensor([[[1.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]]])
    assert masked_mean(values, mask).item() == pytest.approx((1 + 3 + 7) / 3)
    assert masked_mean(values).item() == pytest.approx(27 / 6)
    assert masked_mean(values, torch.zeros(2, 1, 3)).item() == 0
    assert masked_mean(values[:0]).item() == 0


def test_entropy_is_that_of_the_classes_in_nats():
    p = torch.tensor([0.7, 0.2, 0.1]).view(1, 3, 1, 1, 1)
    by_hand = -(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1))
    assert entropy(p).shape == (1, 1, 1, 1, 1)
    assert entropy(p).item() == pytest.approx(by_hand, abs=1e-5)
