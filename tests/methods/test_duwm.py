"""What makes DUWM that method: two uncertainties of the teacher, each the weight of its own disagreement."""

from __future__ import annotations

import math

import pytest
import torch
from method_cases import (
    a_batch,
    build,
    check_following,
    check_prediction,
    check_ramp,
    check_resume,
    check_without_unlabelled,
    region_by_hand,
)

from duoseg.methods.duwm import Duwm


def share_of_entropy(r):
    """Entropy over axis 1 over its greatest value."""
    return -(r * r.log()).sum(dim=1, keepdim=True) / math.log(r.shape[1])


def a_duwm(classes=1, **settings):
    """With a teacher that thinks otherwise than the student."""
    method = build(Duwm, classes, **settings)
    method.teacher.become(build(Duwm, classes, seed=1).student)
    return method


@pytest.mark.parametrize("classes", [1, 3])
def test_the_terms_are_those_of_the_docstring(classes):
    method, batch = a_duwm(classes, looks=3, certainty=0.7), a_batch(classes)
    terms = method(batch, 0.5)

    logits, features = method.student(batch.image)
    assert features.shape[1] == 3  # the decoder's last level
    again = a_batch(classes)  # the same draws
    looks = [method.teacher(again.image + again.noise(0.1)) for _ in range(3)]
    weight = 0.1 * math.exp(-5 * 0.5**2)
    for name, r, seen in (
        ("prediction", logits, [look[0] for look in looks]),
        ("features", features, [look[1] for look in looks]),
    ):
        r = torch.softmax(r, dim=1)
        target = torch.stack([torch.softmax(one, dim=1) for one in seen]).mean(dim=0)
        disagreement = (torch.exp(-share_of_entropy(target)) * (r - target) ** 2).mean()
        expected = weight * (disagreement + 0.7 * share_of_entropy(r).mean())
        torch.testing.assert_close(terms[name], expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(terms["region"], region_by_hand(logits[:2], batch.label))
    assert terms.keys() == {"region", "prediction", "features"}


@pytest.mark.parametrize("name", ["prediction", "features"])
def test_the_weight_follows_the_ramp_of_ua_mt(name):
    check_ramp(a_duwm(looks=1), name)


def test_disagreement_counts_less_where_the_teacher_is_unsure():
    method = build(Duwm, certainty=0.0)
    sure, unsure = torch.tensor([[1.0 - 1e-9], [1e-9]]).T, torch.tensor([[0.5], [0.5]]).T
    for teacher, share in ((sure, 1.0), (unsure, math.exp(-1.0))):
        student = teacher + torch.tensor([[-0.3, 0.3]])
        assert method.consistency(student, teacher).item() == pytest.approx(share * 0.09, rel=1e-4)


class Sharpened(torch.nn.Module):
    """A student with a factor on all that it says, from which distributions get their sharpness."""

    def __init__(self, student):
        super().__init__()
        self.student = student
        self.factor = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, image):
        return tuple(maps * self.factor for maps in self.student(image))


@pytest.mark.parametrize("name", ["prediction", "features"])
def test_the_student_is_drawn_to_be_certain_of_classes_and_of_features(name):
    method = build(Duwm)
    method.student = Sharpened(method.student)
    method(a_batch(), 1.0)[name].backward()
    assert method.student.factor.grad < 0  # the sharper, the less loss
    indifferent = build(Duwm, certainty=0.0, noise=0.0)
    indifferent.student = Sharpened(indifferent.student)
    indifferent(a_batch(), 1.0)[name].backward()
    assert indifferent.student.factor.grad.abs() < 1e-12  # it already agrees


def test_every_look_is_another_one():
    method = build(Duwm)
    once, often = build(Duwm, looks=1), build(Duwm, looks=8)
    assert not torch.equal(once.look(a_batch())[0], often.look(a_batch())[0])
    quiet = build(Duwm, looks=8, noise=0.0)
    straight = torch.softmax(method.student(a_batch().image)[0], dim=1)
    torch.testing.assert_close(quiet.look(a_batch())[0], straight)


def test_dropout_of_the_network_tells_looks_apart_too():
    method, batch = build(Duwm, dropout=0.5, looks=1, noise=0.0), a_batch()
    assert not torch.equal(method.look(batch)[0], method.look(batch)[0])


def test_the_teacher_follows_as_that_of_ua_mt():
    check_following(build(Duwm))


def test_only_the_student_gets_gradients_from_both_consistencies():
    method = a_duwm()
    terms = method(a_batch(), 1.0)
    (terms["prediction"] + terms["features"]).backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in method.student.parameters())


def test_labelled_patches_alone_are_enough():
    check_without_unlabelled(Duwm)


@pytest.mark.parametrize("classes", [1, 3])
def test_the_student_alone_predicts(classes):
    check_prediction(Duwm, classes)


def test_a_restored_method_goes_on_the_same():
    check_resume(Duwm)
