"""What makes DTML that method: its equations, and one backward pass for the published two."""

from __future__ import annotations

import math

import pytest
import torch
from method_cases import PLAN, SHAPE, a_batch, networks
from torch.nn import functional as F

from duoseg.methods.base import Batch, Settings
from duoseg.methods.boundary import Boundary, BoundarySettings
from duoseg.methods.dtml import Dtml, DtmlSettings
from duoseg.methods.supervised import Supervised
from duoseg.model.draws import SampleGenerator


def a_dtml(classes=1, **settings):
    torch.manual_seed(0)
    return Dtml(networks(classes), DtmlSettings(**settings)).double()


def gradients(method):
    return {name: p.grad.clone() for name, p in method.named_parameters()}


def published_losses(method, batch, k, weight):
    """The published algorithm, written from its description for one class: sigmoid outputs, BCE and Dice.

    A softmax over background and foreground equals a sigmoid of the difference of their logits.
    """
    logits = method.region(batch.image)
    foreground = torch.sigmoid(logits[:, 1] - logits[:, 0])
    mask = torch.sigmoid(-k * torch.tanh(method.boundary(batch.image)[:, 0]))
    truth = batch.label.double()

    def dice(p):
        return 1 - (2 * (p * truth).sum() + 1e-5) / ((p * p).sum() + (truth * truth).sum() + 1e-5)

    n = len(truth)
    consistency = ((mask - foreground) ** 2).mean()
    region = 0.5 * (F.binary_cross_entropy(foreground[:n], truth) + dice(foreground[:n])) + weight * consistency
    boundary = dice(mask[:n]) + weight * consistency
    return region, boundary


@pytest.mark.parametrize("progress", [0.0, 0.31, 0.99])
@pytest.mark.parametrize("k", [1.0, 20.0, 1500.0])
def test_one_backward_pass_gives_the_gradients_of_the_published_two(k, progress):
    method, batch = a_dtml(k=k), a_batch()
    torch.stack(list(method(batch, progress).values())).sum().backward()
    ours = gradients(method)

    method.zero_grad()
    weight = math.exp(-5 * (1 - math.floor(progress * 40) / 40) ** 2)
    region, boundary = published_losses(method, batch, k, weight)
    region.backward(retain_graph=True)
    boundary.backward()
    published = gradients(method)

    assert ours.keys() == published.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], published[name], rtol=1e-9, atol=1e-12, msg=name)
    assert any(g.abs().max() > 0 for g in ours.values())


def test_the_terms_are_the_published_losses():
    method, batch = a_dtml(k=20), a_batch()
    terms = method(batch, 0.5)
    region, boundary = published_losses(method, batch, 20, weight=0.0)
    torch.testing.assert_close(terms["region"], region)
    torch.testing.assert_close(terms["boundary"], boundary)
    assert set(terms) == {"region", "boundary", "mutual"}


@pytest.mark.parametrize("step", [0, 149, 150, 3000, 5999])
def test_the_mutual_weight_follows_the_published_ramp_of_6000_steps(step):
    method, batch = a_dtml(k=20), a_batch()
    published = math.exp(-5 * (1 - (step // 150) / 40) ** 2)
    full = a_dtml(k=20, ramp_levels=0)(batch, 1.0)["mutual"]  # weight 1
    torch.testing.assert_close(method(batch, step / 6000)["mutual"], published * full)


def test_unlabelled_patches_move_both_students():
    method, batch = a_dtml(k=20), a_batch()
    unlabelled_only = Batch(batch.image[2:], batch.label[:0], generator=SampleGenerator(0, 0, range(2)), plan=PLAN)
    method(unlabelled_only, 1.0)["mutual"].backward()
    for student in (method.region, method.boundary):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in student.parameters())


def test_students_do_not_share_weights():
    method = a_dtml()
    region = {id(p) for p in method.region.parameters()}
    assert not region & {id(p) for p in method.boundary.parameters()}


@pytest.mark.parametrize("classes", [1, 3])
def test_probabilities_sum_to_one_and_come_from_the_region_student(classes):
    method, batch = a_dtml(classes), a_batch(classes)
    region, boundary = method.members(batch.image)
    for opinion in (region, boundary):
        assert opinion.shape == (4, classes + 1, *SHAPE)
        torch.testing.assert_close(opinion.sum(dim=1), torch.ones(4, *SHAPE, dtype=opinion.dtype))
    assert torch.equal(method.probabilities(batch.image), region)


def test_the_mean_of_both_students_is_a_setting():
    method, batch = a_dtml(predict="mean"), a_batch()
    region, boundary = method.members(batch.image)
    torch.testing.assert_close(method.probabilities(batch.image), (region + boundary) / 2)


def test_supervised_and_boundary_are_the_parts_of_dtml():
    dtml, batch = a_dtml(k=20), a_batch(labelled=4)
    terms = dtml(batch, 1.0)
    supervised = Supervised(networks(), Settings()).double()
    supervised.region.load_state_dict(dtml.region.state_dict())
    boundary = Boundary(networks(), BoundarySettings(k=20)).double()
    boundary.boundary.load_state_dict(dtml.boundary.state_dict())
    torch.testing.assert_close(supervised(batch, 1.0)["region"], terms["region"])
    torch.testing.assert_close(boundary(batch, 1.0)["boundary"], terms["boundary"])
    torch.testing.assert_close(supervised.probabilities(batch.image), dtml.members(batch.image)[0])
    torch.testing.assert_close(boundary.probabilities(batch.image), dtml.members(batch.image)[1])


def test_the_batch_holds_no_truth_of_unlabelled_patches():
    batch = a_batch(labelled=2, total=4)
    assert batch.labelled == 2
    assert len(batch.label) == 2 and len(batch.image) == 4
