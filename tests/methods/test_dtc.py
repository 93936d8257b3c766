"""What makes DTC that method: one trunk with two heads, whose maps must agree, and a true map to regress."""

from __future__ import annotations

import math

import pytest
import torch
from method_cases import SHAPE, a_batch, build, check_prediction, check_resume, check_without_unlabelled
from scipy import ndimage

from duoseg.methods.dtc import Dtc
from duoseg.model.losses import dice_loss


@pytest.mark.parametrize("k", [5.0, 1500.0])
def test_the_losses_are_the_papers(k):
    method, batch = build(Dtc, k=k), a_batch()
    terms = method(batch, 0.5)
    logits, maps = method.network(batch.image)
    p, phi = torch.softmax(logits, 1)[:, 1], torch.tanh(maps)[:, 0]
    torch.testing.assert_close(terms["region"], dice_loss(p[:2, None], batch.label))
    squares = []
    for one, truth in zip(phi[:2], batch.label == 1, strict=True):
        inside = truth.numpy()
        inner, outer = ndimage.distance_transform_edt(inside), ndimage.distance_transform_edt(~inside)
        inner[inside & ~ndimage.binary_erosion(inside, border_value=1)] = 0
        true = torch.from_numpy(outer / outer.max() - inner / ndimage.distance_transform_edt(inside).max())
        squares.append(((one - true) ** 2).mean())
    torch.testing.assert_close(terms["distance"], 0.3 * torch.stack(squares).mean(), rtol=1e-4, atol=1e-6)
    agreement = ((torch.sigmoid(-k * phi) - p) ** 2).mean()  # labelled and unlabelled patches
    torch.testing.assert_close(terms["consistency"], math.exp(-5 * 0.5**2) * agreement)


def test_both_heads_read_one_trunk():
    method = build(Dtc)
    trunk = [w for name, w in method.named_parameters() if "head" not in name]
    total = sum(w.numel() for w in method.parameters())
    # the heads: 1x1x1 from 3 channels to 2 logits and 1 map, with biases
    assert total - sum(w.numel() for w in trunk) == 3 * 3 + 3


def test_both_heads_learn_from_unlabelled_patches():
    method, batch = build(Dtc, k=5.0), a_batch()
    (head,) = [w for name, w in method.named_parameters() if name.endswith("head.weight")]
    method(batch, 1.0)["consistency"].backward()
    assert bool((head.grad.flatten(1).abs().sum(1) > 0).all())


def test_voxels_without_annotation_take_no_part_in_the_regression():
    method, batch = build(Dtc), a_batch()
    batch.label[:] = -1
    assert method(batch, 0.5)["distance"].item() == 0


def test_without_unlabelled_patches_all_losses_are_there():
    assert check_without_unlabelled(Dtc)["consistency"] > 0


@pytest.mark.parametrize("classes", [1, 3])
def test_the_region_head_predicts_and_the_distance_head_has_its_say(classes):
    check_prediction(Dtc, classes)
    method, image = build(Dtc, classes), a_batch(classes).image
    assert torch.equal(method.probabilities(image), torch.softmax(method.network(image)[0], 1))
    assert method.members(image)[1].shape == (len(image), classes + 1, *SHAPE)


def test_it_goes_on_from_its_state_exactly():
    check_resume(Dtc)
