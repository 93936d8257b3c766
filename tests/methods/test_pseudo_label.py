"""What makes pseudo-labelling by hand that method: a frozen first network labels for a fresh second one."""

from __future__ import annotations

import pytest
import torch
from method_cases import (
    a_batch,
    build,
    check_prediction,
    check_without_unlabelled,
    region_by_hand,
    same,
    total,
    weights,
)

from duoseg.methods.pseudo_label import PseudoLabel

TEACHER, STUDENT = PseudoLabel.stages


def train(method, steps, labelled=2, classes=1):
    """Some steps; returns the losses."""
    method.train()
    optimiser = torch.optim.SGD(method.parameter_groups(), lr=0.1)
    losses = []
    for step in steps:
        torch.manual_seed(step)
        optimiser.zero_grad()
        loss = total(method(a_batch(classes, labelled, step=step), 0.5))
        loss.backward()
        optimiser.step()
        method.after_step(0.5)
        losses.append(loss.item())
    return losses


def in_second_stage(classes=1, **settings):
    """A method whose first stage is over."""
    method = build(PseudoLabel, classes, **settings)
    method.start_stage(TEACHER)
    train(method, range(3), 4, classes)
    method.start_stage(STUDENT)
    method.train()
    return method


@pytest.mark.parametrize("classes", [1, 3])
def test_the_first_stage_learns_from_labels_alone(classes):
    method, batch = build(PseudoLabel, classes), a_batch(classes, labelled=4)
    method.start_stage(TEACHER)
    assert TEACHER.batch == "labelled" and TEACHER.share == STUDENT.share == 0.5
    torch.testing.assert_close(method(batch, 0.5)["region"], region_by_hand(method.network(batch.image), batch.label))


def test_the_trained_network_becomes_the_teacher_and_a_fresh_one_takes_its_place():
    method = build(PseudoLabel)
    first, fresh = weights(method.network), weights(method.fresh.network)
    assert not same(first, fresh)
    method.start_stage(TEACHER)
    assert same(weights(method.network), first)
    train(method, range(3), labelled=4)
    trained = weights(method.network)
    assert not same(trained, first)
    method.start_stage(STUDENT)
    assert same(weights(method.teacher.network), trained)
    assert same(weights(method.network), fresh)


@pytest.mark.parametrize("classes", [1, 3])
def test_the_teachers_labels_count_as_true_ones(classes):
    method, batch = in_second_stage(classes), a_batch(classes)
    pseudo = method.teacher.network(batch.image[2:]).argmax(dim=1)
    assert len(pseudo.unique()) > 1 and pseudo.max() == classes
    expected = region_by_hand(method.network(batch.image), torch.cat([batch.label, pseudo]))
    terms = method(batch, 0.5)
    assert terms.keys() == {"mixed"}  # not of annotated patches alone, so no page judges by it whether they are learned
    torch.testing.assert_close(terms["mixed"], expected)


def test_unsure_voxels_do_not_count():
    method, batch = in_second_stage(threshold=0.6), a_batch()
    confidence, pseudo = torch.softmax(method.teacher.network(batch.image[2:]), dim=1).max(dim=1)
    pseudo[confidence < 0.6] = -1
    assert 0 < (pseudo < 0).double().mean() < 1
    expected = region_by_hand(method.network(batch.image), torch.cat([batch.label, pseudo]))
    torch.testing.assert_close(method(batch, 0.5)["mixed"], expected)


def test_the_teacher_stays_as_it_is_and_gets_no_gradients():
    method = in_second_stage()
    teacher, student = weights(method.teacher.network), weights(method.network)
    train(method, range(3, 6))
    assert same(weights(method.teacher.network), teacher)
    assert not same(weights(method.network), student)
    assert all(weight.grad is None for part in (method.teacher, method.fresh) for weight in part.parameters())


def test_the_teachers_dropout_is_off():
    method, image = in_second_stage(dropout=0.5), a_batch().image
    assert torch.equal(method.pseudo_label(image), method.pseudo_label(image))
    assert not torch.equal(method.network(image), method.network(image))


def test_an_interruption_in_the_second_stage_changes_nothing():
    method = in_second_stage(dropout=0.5)
    train(method, range(3, 5))
    other = build(PseudoLabel, dropout=0.5, seed=1)
    other.load_state_dict(method.state_dict())
    assert train(other, range(5, 8)) == train(method, range(5, 8))
    assert same(weights(other), weights(method))


def test_without_unlabelled_scans_the_fresh_network_learns_from_labels():
    assert check_without_unlabelled(PseudoLabel)["region"] > 0
    method, batch = in_second_stage(), a_batch(labelled=4)
    torch.testing.assert_close(method(batch, 0.5)["region"], region_by_hand(method.network(batch.image), batch.label))


@pytest.mark.parametrize("classes", [1, 3])
def test_the_student_alone_predicts(classes):
    check_prediction(PseudoLabel, classes)
    assert set(build(PseudoLabel).inference_modules()) == {"network"}
