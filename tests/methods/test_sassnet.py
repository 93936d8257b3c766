"""What makes SASSNet that method: two tasks, and an adversary that tells labelled from unlabelled maps."""

from __future__ import annotations

import math

import pytest
import torch
from method_cases import PLAN, a_batch, build, check_prediction, check_resume, check_without_unlabelled
from torch.nn import functional as F

from duoseg.methods.base import Batch
from duoseg.methods.sassnet import Sassnet
from duoseg.model.distance import normalised_distance
from duoseg.model.draws import SampleGenerator


def reach(term, module):
    """The largest gradient of a term in each of a module's parameters."""
    gradients = torch.autograd.grad(term, list(module.parameters()), retain_graph=True, allow_unused=True)
    return [0.0 if gradient is None else gradient.abs().max().item() for gradient in gradients]


def test_the_terms_are_those_of_the_paper():
    method, batch = build(Sassnet).eval(), a_batch()  # no dropout in the discriminator
    terms = method(batch, 0.5)

    logits, maps = method.student(batch.image)
    p, phi, y = torch.softmax(logits, dim=1)[:2, 1], torch.tanh(maps), batch.label.double()
    dice = (2 * (p * y).sum() + 1e-5) / ((p * p).sum() + (y * y).sum() + 1e-5)
    true = normalised_distance(batch.label, 1, (1, 1, 1))
    seen = torch.sigmoid(method.adversary(phi, batch.image))
    ramp = math.exp(-5 * 0.5**2)
    torch.testing.assert_close(terms["region"], 1 - dice)
    torch.testing.assert_close(terms["distance"], 0.3 * F.mse_loss(phi[:2], true.double()))
    torch.testing.assert_close(terms["adversarial"], 0.01 * ramp * -seen[2:].log().mean())
    told = torch.cat([seen[:2].log(), (1 - seen[2:]).log()])
    torch.testing.assert_close(terms["adversary"], -told.mean())
    assert terms.keys() == {"region", "distance", "adversarial", "adversary"}


def test_the_adversarial_weight_follows_the_published_ramp_of_6000_steps():
    method, batch = build(Sassnet).eval(), a_batch()
    last = method(batch, 1.0)["adversarial"]
    for step in (0, 149, 150, 3000, 5999):
        ramp = math.exp(-5 * (1 - (step // 150) / 40) ** 2)
        torch.testing.assert_close(method(batch, step / 6000)["adversarial"], ramp * last)


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
    method, batch = build(Sassnet), a_batch()
    label = batch.label.clone()
    label[:, 4:] = -1
    batch = Batch(batch.image, label, generator=SampleGenerator(0, 0, range(4)), plan=PLAN)
    _, phi = method.opinions(batch.image)
    true = normalised_distance(label, 1, (1, 1, 1))[:, :, :4]
    expected = 0.3 * F.mse_loss(phi[:2, :, :4], true.double())
    torch.testing.assert_close(method(batch, 0.5)["distance"], expected)


def test_the_adversary_learns_at_a_hundredth_of_the_rate():
    method = build(Sassnet)
    student, adversary = method.parameter_groups()
    assert adversary["scale"] == 0.01 and "scale" not in student
    assert {id(p) for p in adversary["params"]} == {id(p) for p in method.adversary.parameters()}
    assert len(student["params"]) + len(adversary["params"]) == len(list(method.parameters()))


def test_the_region_head_predicts():
    method, image = build(Sassnet), a_batch().image
    region, distance = method.members(image)
    assert torch.equal(method.probabilities(image), region)
    assert torch.equal(distance[:, 1] > 0.5, method.student(image)[1][:, 0] < 0)


def test_without_unlabelled_patches_there_is_no_adversarial_term():
    assert check_without_unlabelled(Sassnet)["adversarial"] == 0


@pytest.mark.parametrize("classes", [1, 3])
def test_the_network_alone_predicts(classes):
    check_prediction(Sassnet, classes)


def test_a_restored_method_goes_on_the_same():
    check_resume(Sassnet)
