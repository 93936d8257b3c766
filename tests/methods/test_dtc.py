"""What makes DTC that method: one trunk with two heads, whose maps must agree, and a true map to regress."""

from __future__ import annotations

import math

import pytest
import torch
from method_cases import (
    a_batch,
    a_batch_of_bodies,
    build,
    check_prediction,
    check_ramp,
    check_resume,
    check_without_unlabelled,
    dice_by_hand,
    maps_by_hand,
    opinion_by_hand,
)

from duoseg.methods.dtc import Dtc


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(("settings", "k"), [({}, 1500), ({"k": 5.0}, 5)])
def test_the_losses_are_the_papers(classes, settings, k):
    method, batch = build(Dtc, classes, **settings), a_batch_of_bodies(classes, spacing=(0.8, 1, 1.5))
    terms = method(batch, 0.5)
    logits, maps = method.network(batch.image)
    p, phi = torch.softmax(logits, 1)[:, 1:], torch.tanh(maps)
    torch.testing.assert_close(terms["region"], dice_by_hand(p[:2], batch.label))
    true = maps_by_hand(batch.label, classes, (0.8, 1, 1.5))
    torch.testing.assert_close(terms["distance"], 0.3 * ((phi[:2] - true) ** 2).mean(), rtol=1e-6, atol=0)
    agreement = ((torch.sigmoid(-k * phi) - p) ** 2).mean()  # labelled and unlabelled patches
    torch.testing.assert_close(terms["consistency"], math.exp(-5 * 0.5**2) * agreement)
    assert terms.keys() == {"region", "distance", "consistency"}


def test_the_weight_follows_the_published_ramp_of_6000_steps():
    check_ramp(build(Dtc), "consistency")


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
    method, image = build(Dtc, classes, k=5.0), a_batch(classes).image
    logits, maps = method.network(image)
    assert torch.equal(method.probabilities(image), torch.softmax(logits, 1))
    torch.testing.assert_close([*method.members(image)][1], opinion_by_hand(torch.tanh(maps), 5))


def test_it_goes_on_from_its_state_exactly():
    check_resume(Dtc)
