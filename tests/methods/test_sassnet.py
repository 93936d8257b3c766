"""What makes SASSNet that method: two tasks, and an adversary that tells labelled from unlabelled maps."""

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
    check_rate_of_adversary,
    check_resume,
    check_without_unlabelled,
    dice_by_hand,
    maps_by_hand,
    opinion_by_hand,
    reach,
)

from duoseg.methods.sassnet import Sassnet


@pytest.mark.parametrize("classes", [1, 3])
def test_the_terms_are_those_of_the_paper(classes):
    method, batch = build(Sassnet, classes).eval(), a_batch_of_bodies(classes, spacing=(0.8, 1, 1.5))
    terms = method(batch, 0.5)  # without dropout in the discriminator

    logits, maps = method.student(batch.image)
    p, phi = torch.softmax(logits, dim=1)[:2, 1:], torch.tanh(maps)
    true = maps_by_hand(batch.label, classes, (0.8, 1, 1.5))
    seen = torch.sigmoid(method.adversary(phi, batch.image))
    torch.testing.assert_close(terms["region"], dice_by_hand(p, batch.label))
    torch.testing.assert_close(terms["distance"], 0.3 * ((phi[:2] - true) ** 2).mean(), rtol=1e-6, atol=0)
    torch.testing.assert_close(terms["adversarial"], 0.01 * math.exp(-5 * 0.5**2) * -seen[2:].log().mean())
    told = torch.cat([seen[:2].log(), (1 - seen[2:]).log()])
    torch.testing.assert_close(terms["adversary"], -told.mean())
    assert terms.keys() == {"region", "distance", "adversarial", "adversary"}


def test_the_adversarial_weight_follows_the_published_ramp_of_6000_steps():
    check_ramp(build(Sassnet), "adversarial")


def test_the_discriminator_drops_out_only_where_it_learns_itself():
    still, dropping = build(Sassnet).eval()(a_batch(), 1.0), build(Sassnet).train()(a_batch(), 1.0)
    torch.testing.assert_close(dropping["adversarial"], still["adversarial"])
    assert (dropping["adversary"] - still["adversary"]).abs() > 1e-5


def test_each_network_learns_from_its_own_term_only():
    method = build(Sassnet)
    terms = method(a_batch(), 1.0)
    assert max(reach(terms["adversarial"], method.adversary)) == 0
    assert max(reach(terms["adversary"], method.student)) == 0
    assert max(reach(terms["adversarial"], method.student)) > 0
    assert min(reach(terms["adversary"], method.adversary)) > 0


def test_the_adversarial_term_draws_unlabelled_maps_towards_labelled_ones():
    method, batch = build(Sassnet).eval(), a_batch()
    student = torch.optim.SGD(method.student.parameters(), lr=1.0)
    before = method(batch, 1.0)["adversarial"]
    before.backward()
    student.step()
    assert method(batch, 1.0)["adversarial"] < before


def test_unannotated_voxels_take_no_part_in_the_regression():
    method, batch = build(Sassnet), a_batch_of_bodies(spacing=(1, 1, 2))
    batch.label[:, 4:] = -1
    phi, true = torch.tanh(method.student(batch.image)[1]), maps_by_hand(batch.label, 1, (1, 1, 2))
    expected = 0.3 * ((phi[:2, :, :4] - true[:, :, :4]) ** 2).mean()
    torch.testing.assert_close(method(batch, 0.5)["distance"], expected, rtol=1e-6, atol=0)


def test_the_adversary_learns_at_the_published_rate():
    check_rate_of_adversary(build(Sassnet), 1e-4)


@pytest.mark.parametrize("classes", [1, 3])
def test_the_region_head_predicts_and_the_distance_head_has_its_say(classes):
    method, image = build(Sassnet, classes, k=5.0), a_batch(classes).image
    logits, maps = method.student(image)
    assert torch.equal(method.probabilities(image), torch.softmax(logits, 1))
    torch.testing.assert_close([*method.members(image)][1], opinion_by_hand(torch.tanh(maps), 5))


def test_without_unlabelled_patches_there_is_no_adversarial_term():
    assert check_without_unlabelled(Sassnet)["adversarial"] == 0


@pytest.mark.parametrize("classes", [1, 3])
def test_the_network_alone_predicts(classes):
    check_prediction(Sassnet, classes)


def test_a_restored_method_goes_on_the_same():
    check_resume(Sassnet)
