"""What makes AD-MT that method: two teachers that take turns, and what becomes of their conflicts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from method_cases import (
    PLAN,
    a_batch,
    build,
    check_prediction,
    check_ramp,
    check_resume,
    check_without_unlabelled,
    region_by_hand,
    same,
    total,
    weights,
)
from torch.nn import functional as F

from duoseg.methods.ad_mt import AdMt
from duoseg.methods.base import Batch
from duoseg.model.draws import SampleGenerator

pytestmark = pytest.mark.usefixtures("views_in_double_precision")


def unlike(turn=0, classes=1, **settings):
    """A method whose three networks differ, in a step of the asked teacher's turn."""
    method = build(AdMt, classes, **settings)
    for seed, teacher in enumerate(method.teachers, start=1):
        teacher.network.load_state_dict(build(AdMt, classes, seed=seed).student.state_dict())
    method.step.copy_(method.switches[0] - 1 + turn)
    assert method.turn() == turn
    return method


def test_turns_alternate_after_random_times_within_the_period():
    method, turns = build(AdMt, period=5), []
    for _ in range(600):
        turns.append(method.turn())
        method.after_step(0.5)
    ends = [step for step in range(1, 600) if turns[step] != turns[step - 1]]
    lengths = [later - sooner for sooner, later in zip([0, *ends], ends, strict=False)]
    assert turns[0] == 0
    assert set(lengths) == {1, 2, 3, 4, 5}
    assert np.mean(lengths) == pytest.approx(3, abs=0.4)


def test_turns_go_on_when_all_that_were_drawn_are_over():
    method = build(AdMt)
    for step, turn in ((0, 0), (int(method.switches[0]), 1)):
        method.step.copy_(method.switches[-1] + step)
        assert method.turn() == turn
    method.step.copy_(method.switches[-1] - 1)
    assert method.turn() == 1


@pytest.mark.parametrize("turn", [0, 1])
def test_only_the_teacher_whose_turn_it_is_follows(turn):
    method = unlike(turn)
    before = [weights(teacher.network) for teacher in method.teachers]
    with torch.no_grad():
        method.teachers[turn].updates.fill_(1000)
    method.after_step(0.5)
    assert same(weights(method.teachers[1 - turn].network), before[1 - turn])
    moved = zip(weights(method.teachers[turn].network), before[turn], weights(method.student), strict=True)
    for now, then, student in moved:
        torch.testing.assert_close(now, 0.99 * then + 0.01 * student, rtol=1e-5, atol=1e-7)


def entropy_bits(p):
    return -sum(x * math.log2(x) for x in p)


@pytest.mark.parametrize(
    ("first", "second", "student", "label"),
    [
        ((0.90, 0.10), (0.85, 0.15), (0.01, 0.99), 0),  # teachers agree: the student is not asked
        ((0.70, 0.30), (0.75, 0.25), (0.99, 0.01), -1),  # they agree, but are not sure enough
        ((0.60, 0.40), (0.35, 0.65), (0.95, 0.05), 0),  # conflict: the student is surer, of the other class
        ((0.60, 0.40), (0.35, 0.65), (0.05, 0.95), -1),  # of the same class: the teachers' doubt stands
        ((0.02, 0.98), (0.60, 0.40), (0.70, 0.30), 1),  # the teachers are surer, the sure one of them outweighs
        ((0.40, 0.60), (0.70, 0.30), (0.40, 0.60), -1),  # nobody is sure
    ],
)
def test_conflicts_are_settled_voxel_by_voxel(first, second, student, label):
    w1, w2 = math.exp(-entropy_bits(first)), math.exp(-entropy_bits(second))
    mean = [(w1 * a + w2 * b) / (w1 + w2) for a, b in zip(first, second, strict=True)]
    confidence, expected = max(mean), mean.index(max(mean))
    conflict = np.argmax(first) != np.argmax(second)
    if conflict and np.argmax(student) != expected and max(student) > confidence:
        confidence, expected = max(student), int(np.argmax(student))
    assert label == (expected if confidence >= 0.8 else -1)  # the table above is right

    p = [torch.tensor(x, dtype=torch.float64).view(1, 2, 1, 1, 1) for x in (first, second, student)]
    assert build(AdMt).combat(*p).item() == label


def test_the_sure_teachers_word_weighs_by_the_published_entropy():
    # w_1 = exp(-0.141441), w_2 = exp(-0.970951): (w_1 0.98 + w_2 0.4) / (w_1 + w_2) = 0.803798
    p = [torch.tensor(x, dtype=torch.float64).view(1, 2, 1, 1, 1) for x in ((0.02, 0.98), (0.6, 0.4), (0.5, 0.5))]
    assert build(AdMt, threshold=0.8037).combat(*p).item() == 1
    assert build(AdMt, threshold=0.8039).combat(*p).item() == -1


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("turn", [0, 1])
def test_the_terms_are_those_of_the_published_code(turn, classes):
    method = unlike(turn, classes, threshold={1: 0.6, 3: 0.4}[classes])
    terms = method(a_batch(classes), 1.0)
    batch = a_batch(classes)
    view = batch.pasted_view() if turn else batch.strong_view(first=batch.labelled)
    networks = (*method.teachers, method.student)
    label = method.combat(*(torch.softmax(network(batch.image[2:]), dim=1) for network in networks))
    target = view.apply(label)
    assert 0 < (target < 0).double().mean() < 1
    logits = method.student(view.image)
    right = F.one_hot(target.clamp(min=0), classes + 1).movedim(-1, 1).double()
    losses = -(torch.log_softmax(logits, dim=1) * right).sum(dim=1)
    torch.testing.assert_close(terms["unlabelled"], 2 * losses[target >= 0].mean())
    torch.testing.assert_close(terms["region"], region_by_hand(method.student(batch.image[:2]), batch.label))
    assert terms.keys() == {"region", "unlabelled"}


def test_no_gradient_reaches_the_teachers():
    method = unlike()
    total(method(a_batch(), 1.0)).backward()
    assert all(weight.grad is None for weight in method.teachers.parameters())
    assert any(weight.grad.abs().max() > 0 for weight in method.student.parameters())


def test_nothing_is_learned_where_nobody_is_sure():
    method = unlike(threshold=1.0)
    assert method(a_batch(), 1.0)["unlabelled"] == 0


def test_only_the_teacher_whose_turn_it_is_drops_out():
    for turn in (0, 1):
        method = unlike(turn, dropout=0.5).train()
        method(a_batch(), 0.5)
        assert method.teachers[turn].network.training
        assert not method.teachers[1 - turn].network.training


def test_the_weight_is_full_after_6000_of_15000_steps():
    check_ramp(unlike(1, threshold=0.5), "unlabelled", steps=15_000)


def test_without_unlabelled_patches_only_the_labelled_loss_is_left():
    assert check_without_unlabelled(AdMt)["unlabelled"] == 0
    method, batch = unlike(1), a_batch()
    labelled = Batch(batch.image[:2], batch.label, generator=SampleGenerator(0, 0, range(2)), plan=PLAN)
    assert method(labelled, 1.0)["unlabelled"] == 0


@pytest.mark.parametrize("classes", [1, 3])
def test_the_student_alone_predicts(classes):
    check_prediction(AdMt, classes)
    assert set(build(AdMt).inference_modules()) == {"student"}


def test_it_goes_on_from_its_state_exactly():
    check_resume(AdMt, period=1)  # a turn each step
    method, other = build(AdMt), build(AdMt, seed=1)
    for _ in range(7):
        method.after_step(0.5)
    other.load_state_dict(method.state_dict())
    for _ in range(100):
        assert other.turn() == method.turn()
        method.after_step(0.5)
        other.after_step(0.5)
