"""What makes CPS that method: two networks, each taught by the other's hard labels."""

from __future__ import annotations

import pytest
import torch
from method_cases import (
    a_batch,
    build,
    check_prediction,
    check_ramp,
    check_resume,
    check_without_unlabelled,
    region_by_hand,
)
from torch.nn import functional as F

from duoseg.methods.cps import Cps


def taught(pupil, teacher):
    """Mean of -log p over all voxels, p what the pupil gives the class that the teacher finds likeliest."""
    p = torch.softmax(pupil, dim=1)
    likeliest = F.one_hot(teacher.argmax(dim=1), p.shape[1]).movedim(-1, 1)
    return -(p * likeliest).sum(dim=1).log().mean()


@pytest.mark.parametrize("progress", [0.0, 1.0])
@pytest.mark.parametrize("classes", [1, 3])
def test_each_learns_the_others_labels_on_all_patches_with_the_published_weight(classes, progress):
    method, batch = build(Cps, classes, rises=False), a_batch(classes)
    terms = method(batch, progress)
    first, second = method.first(batch.image), method.second(batch.image)
    torch.testing.assert_close(terms["cross"], 1.5 * (taught(first, second) + taught(second, first)))
    torch.testing.assert_close(terms["first"], region_by_hand(first[:2], batch.label))
    torch.testing.assert_close(terms["second"], region_by_hand(second[:2], batch.label))
    assert terms.keys() == {"first", "second", "cross"}


def test_the_weight_rises_unless_told_otherwise():
    check_ramp(build(Cps), "cross")
    torch.testing.assert_close(build(Cps)(a_batch(), 1.0), build(Cps, rises=False)(a_batch(), 0.0))


def test_the_port_for_3d_scans_is_a_matter_of_settings():
    method, batch = build(Cps, weight=0.1, ramp_levels=200, cross="unlabelled"), a_batch()
    first, second = method.first(batch.image[2:]), method.second(batch.image[2:])
    cross = taught(first, second) + taught(second, first)
    torch.testing.assert_close(method(batch, 1.0)["cross"], 0.1 * cross)
    check_ramp(method, "cross", full=30_000, steps=30_000)


def test_no_gradient_flows_into_the_labels():
    method, batch = build(Cps, rises=False), a_batch()
    second = method.second(batch.image)
    alone = taught(method.first(batch.image), second.detach())
    expected = torch.autograd.grad(1.5 * alone, list(method.first.parameters()))
    found = torch.autograd.grad(method(batch, 0.5)["cross"], list(method.first.parameters()))
    assert max(gradient.abs().max() for gradient in found) > 0
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other)


def test_the_networks_start_from_different_weights():
    method = build(Cps)
    pairs = zip(method.first.parameters(), method.second.parameters(), strict=True)
    assert any(not torch.equal(own, other) for own, other in pairs)


def test_the_first_network_predicts_or_both_do():
    image = a_batch().image
    one, both = build(Cps), build(Cps, predict="mean")
    first, second = (torch.softmax(network(image), dim=1) for network in (one.first, one.second))
    torch.testing.assert_close(one.probabilities(image), first)
    torch.testing.assert_close(both.probabilities(image), (first + second) / 2)
    assert set(one.inference_modules()) == {"first"}
    assert set(both.inference_modules()) == {"first", "second"}


def test_without_unlabelled_patches_the_networks_still_teach_each_other_on_labelled_ones():
    assert check_without_unlabelled(Cps)["cross"] > 0
    assert check_without_unlabelled(Cps, cross="unlabelled")["cross"] == 0


@pytest.mark.parametrize("predict", ["first", "mean"])
@pytest.mark.parametrize("classes", [1, 3])
def test_it_predicts_from_its_inference_modules_alone(classes, predict):
    check_prediction(Cps, classes, predict=predict)


def test_it_goes_on_from_its_state_exactly():
    check_resume(Cps)
