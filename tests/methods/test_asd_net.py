"""What makes ASDNet that method: a confidence network that says where the network may learn from itself."""

from __future__ import annotations

import pytest
import torch
from method_cases import (
    PLAN,
    SHAPE,
    a_batch,
    build,
    check_prediction,
    check_rate_of_adversary,
    check_resume,
    check_without_unlabelled,
    reach,
)
from torch.nn import functional as F

from duoseg.methods.asd_net import AsdNet
from duoseg.methods.asd_net import misses as misses_of
from duoseg.methods.base import Batch
from duoseg.model.draws import SampleGenerator
from duoseg.model.losses import patch_volumes


def a_trusting(classes=1, trust=0.0, **settings):
    """An ASDNet whose confidence is spread around sigmoid(trust)."""
    method = build(AsdNet, classes, **settings)
    with torch.no_grad():
        for reading in method.adversary.readings:
            reading.weight.mul_(20)
            reading.bias.fill_(trust / len(method.adversary.readings))
    return method


def misses(p, y):
    """1 - Dice of each patch, one class."""
    both = (p * y).flatten(1).sum(1)
    return 1 - (2 * both + 1e-5) / ((p * p).flatten(1).sum(1) + (y * y).flatten(1).sum(1) + 1e-5)


def pooled_miss(p, y, weights):
    """1 - Dice over all patches, each with a weight, one class."""
    overlap = 2 * (p * y).flatten(1).sum(1) + 1e-5
    return 1 - (weights * overlap).sum() / (weights * ((p * p + y * y).flatten(1).sum(1) + 1e-5)).sum()


def test_the_terms_are_those_of_the_paper():
    method, batch = a_trusting(threshold=0.5), a_batch()
    terms = method(batch, 0.5)

    logits = method.student(batch.image)
    p, y = torch.softmax(logits, dim=1), batch.label
    missed = misses(p[:2, 1], y.double())
    hardness = missed.detach() ** 2
    torch.testing.assert_close(terms["region"], pooled_miss(p[:2, 1], y.double(), hardness))

    confidence = torch.sigmoid(method.adversary(p))[:, 0]
    doubt = -confidence.log()
    torch.testing.assert_close(terms["adversarial"], 0.01 * doubt[:2].mean() + 0.001 * doubt[2:].mean())

    surprise = -p[2:].max(dim=1).values.log()
    trusted = confidence[2:] > 0.5
    assert 0 < trusted.sum() < trusted.numel()
    torch.testing.assert_close(terms["semi"], 0.1 * surprise[trusted].mean())

    true = torch.sigmoid(method.adversary(F.one_hot(y, 2).movedim(-1, 1).double()))
    torch.testing.assert_close(terms["adversary"], -true.log().mean() - (1 - confidence[:2]).log().mean())
    assert terms.keys() == {"region", "adversarial", "semi", "adversary"}


def test_hard_patches_count_more():
    method, batch = build(AsdNet), a_batch()
    label = batch.label.clone()
    label[0] = method.probabilities(batch.image)[0].argmax(dim=0)  # already right
    batch = Batch(batch.image, label, generator=SampleGenerator(0, 0, range(4)), plan=PLAN)
    easy, hard = misses(method.probabilities(batch.image)[:2, 1], label.double())
    assert easy < hard
    p = method.probabilities(batch.image)[:2, 1]
    found = [build(AsdNet, attention=beta)(batch, 0.5)["region"] for beta in (0.0, 2.0, 50.0)]
    torch.testing.assert_close(found[0], pooled_miss(p, label.double(), torch.ones(2)))
    assert found[0] < found[1] < found[2] <= hard


@pytest.mark.parametrize("classes", [1, 3])
def test_a_patch_without_the_organ_takes_no_weight_from_the_others_and_is_punished_for_what_is_not_there(classes):
    method, batch = build(AsdNet, classes), a_batch(classes)
    empty = batch.label.clone()
    empty[1] = 0
    batch = Batch(batch.image, empty, generator=SampleGenerator(0, 0, range(4)), plan=PLAN)
    p = method.probabilities(batch.image)[:2, 1:].detach().requires_grad_()
    overlaps, volumes, present = patch_volumes(p, batch.label)
    missed = misses_of((overlaps / volumes).detach(), present)
    truth = torch.stack([(empty == index + 1).double() for index in range(classes)], dim=1)
    alone = torch.stack([misses(p[:1, index], truth[:1, index])[0] for index in range(classes)]).mean()
    torch.testing.assert_close(missed, alone.detach().expand(2))  # the empty one has the other's

    equal = torch.stack([pooled_miss(p[:, index], truth[:, index], torch.ones(2)) for index in range(classes)]).mean()
    torch.testing.assert_close(method(batch, 0.5)["region"], equal)
    (gradient,) = torch.autograd.grad(equal, p)
    assert gradient[1].min() > 0  # less of what is not there is better


def test_each_network_learns_from_its_own_terms_only():
    method = a_trusting(threshold=0.5)
    terms = method(a_batch(), 1.0)
    assert max(reach(terms["adversarial"], method.adversary)) == 0
    assert max(reach(terms["semi"], method.adversary)) == 0
    assert max(reach(terms["adversary"], method.student)) == 0
    assert max(reach(terms["adversarial"], method.student)) > 0
    assert max(reach(terms["semi"], method.student)) > 0
    assert min(reach(terms["adversary"], method.adversary)) > 0


@pytest.mark.parametrize(("trust", "learns"), [(-50.0, False), (50.0, True)])
def test_it_learns_from_itself_only_where_it_is_trusted(trust, learns):
    assert (a_trusting(trust=trust, threshold=0.5)(a_batch(), 0.5)["semi"] > 0) == learns


def test_the_better_it_does_the_less_trust_it_needs():
    batch = a_batch()
    method = a_trusting()
    p = method.probabilities(batch.image)
    gamma = misses(p[:2, 1], batch.label.double()).mean()
    confidence = torch.sigmoid(method.adversary(p))[2:, 0]
    surprise = -p[2:].max(dim=1).values.log()
    torch.testing.assert_close(method(batch, 0.5)["semi"], 0.1 * surprise[confidence > gamma].mean())


def test_the_adversary_never_takes_a_missing_annotation_for_a_truth():
    method, batch = a_trusting(), a_batch()
    label = torch.full_like(batch.label, -1)
    batch = Batch(batch.image, label, generator=SampleGenerator(0, 0, range(4)), plan=PLAN)
    terms = method(batch, 0.5)
    assert terms["adversary"] == 0
    assert all(term.isfinite() for term in terms.values())


def test_a_patch_with_nothing_to_find_and_nothing_found_gives_no_loss():
    method, batch = build(AsdNet), a_batch()
    with torch.no_grad():
        method.student.decoder.head.bias.copy_(torch.tensor([500.0, -500.0]))
    nothing = torch.zeros_like(batch.label)
    batch = Batch(batch.image, nothing, generator=SampleGenerator(0, 0, range(4)), plan=PLAN)
    assert method(batch, 0.5)["region"] == 0


def test_the_adversary_learns_at_the_published_rate():
    check_rate_of_adversary(build(AsdNet), 1e-4)


def test_without_unlabelled_patches_it_does_not_learn_from_itself():
    assert check_without_unlabelled(AsdNet)["semi"] == 0


@pytest.mark.parametrize("classes", [1, 3])
def test_the_network_alone_predicts(classes):
    check_prediction(AsdNet, classes)


def test_a_restored_method_goes_on_the_same():
    check_resume(AsdNet)


def test_a_patch_that_the_organ_fills_and_the_network_knows_gives_finite_losses():
    # In single precision its Dice may come out a little above 1.
    for seed in range(40):
        method = build(AsdNet, seed=seed).float()
        batch = a_batch(dtype=torch.float32)
        batch.label[:] = 1
        sure = torch.stack([-torch.ones(4, *SHAPE), torch.ones(4, *SHAPE)], dim=1) * (4.5 + 0.03 * seed)
        method.student.forward = lambda image, sure=sure: sure + 0.1 * image
        assert all(term.isfinite() for term in method(batch, 0.5).values())
