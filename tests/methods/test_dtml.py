"""What makes DTML that method: its equations, and one backward pass for the published two."""

from __future__ import annotations

import pytest
import torch
from method_cases import (
    PLAN,
    a_batch,
    check_ramp,
    dice_by_hand,
    networks,
    opinion_by_hand,
    published_ramp,
    region_by_hand,
)

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
    """The loss of each student in the published algorithm, and their disagreement, written from its description."""
    n, logits = batch.labelled, method.region(batch.image)
    mask = torch.sigmoid(-k * torch.tanh(method.boundary(batch.image)))
    consistency = ((mask - torch.softmax(logits, dim=1)[:, 1:]) ** 2).mean()
    region = region_by_hand(logits[:n], batch.label) + weight * consistency
    return region, dice_by_hand(mask[:n], batch.label) + weight * consistency, consistency


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("step", [0, 1899, 5940])
@pytest.mark.parametrize("k", [1.0, 20.0, 1500.0])
def test_one_backward_pass_gives_the_gradients_of_the_published_two(k, step, classes):
    method, batch = a_dtml(classes, k=k), a_batch(classes)
    torch.stack(list(method(batch, step / 6000).values())).sum().backward()
    ours = gradients(method)

    method.zero_grad()
    region, boundary, _ = published_losses(method, batch, k, published_ramp(step))
    region.backward(retain_graph=True)
    boundary.backward()
    published = gradients(method)

    assert ours.keys() == published.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], published[name], rtol=1e-9, atol=1e-12, msg=name)
    assert any(g.abs().max() > 0 for g in ours.values())


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(("settings", "k", "weight"), [({}, 1500, 1), ({"k": 20.0, "weight": 0.3}, 20, 0.3)])
def test_the_terms_are_the_published_losses(settings, k, weight, classes):
    method, batch = a_dtml(classes, **settings), a_batch(classes)
    terms = method(batch, 1.0)
    region, boundary, consistency = published_losses(method, batch, k, weight=0.0)
    torch.testing.assert_close(terms["region"], region)
    torch.testing.assert_close(terms["boundary"], boundary)
    torch.testing.assert_close(terms["mutual"], 2 * weight * consistency)
    assert terms.keys() == {"region", "boundary", "mutual"}


def test_the_mutual_weight_follows_the_published_ramp_of_6000_steps():
    check_ramp(a_dtml(k=20), "mutual")


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
def test_both_students_have_an_opinion_and_the_region_student_predicts(classes):
    method, image = a_dtml(classes, k=5), a_batch(classes).image
    region, boundary = method.members(image)
    torch.testing.assert_close(region, torch.softmax(method.region(image), dim=1))
    torch.testing.assert_close(boundary, opinion_by_hand(torch.tanh(method.boundary(image)), 5))
    assert torch.equal(method.probabilities(image), region)


def test_the_mean_of_both_students_is_a_setting():
    method, batch = a_dtml(predict="mean"), a_batch()
    region, boundary = method.members(batch.image)
    torch.testing.assert_close(method.probabilities(batch.image), (region + boundary) / 2)


@pytest.mark.parametrize("classes", [1, 3])
def test_supervised_and_boundary_are_the_parts_of_dtml(classes):
    dtml, batch = a_dtml(classes, k=20), a_batch(classes, labelled=4)
    supervised = Supervised(networks(classes), Settings()).double()
    supervised.region.load_state_dict(dtml.region.state_dict())
    boundary = Boundary(networks(classes), BoundarySettings(k=20)).double()
    boundary.boundary.load_state_dict(dtml.boundary.state_dict())
    of_region, of_boundary, _ = published_losses(dtml, batch, 20, weight=0.0)
    assert [stage.batch for stage in (*supervised.stages, *boundary.stages)] == ["labelled", "labelled"]
    torch.testing.assert_close(supervised(batch, 1.0), {"region": of_region})
    torch.testing.assert_close(boundary(batch, 1.0), {"boundary": of_boundary})
    torch.testing.assert_close(supervised.probabilities(batch.image), next(iter(dtml.members(batch.image))))
    torch.testing.assert_close(boundary.probabilities(batch.image), [*dtml.members(batch.image)][1])


def test_the_batch_holds_no_truth_of_unlabelled_patches():
    batch = a_batch(labelled=2, total=4)
    assert batch.labelled == 2
    assert len(batch.label) == 2 and len(batch.image) == 4
