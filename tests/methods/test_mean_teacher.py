"""What makes Mean Teacher that method: the average that teaches, and the noise that tells the two looks apart."""

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
    total,
)

from duoseg.methods.mean_teacher import MeanTeacher


@pytest.mark.parametrize(("settings", "largest"), [({}, 0.1), ({"weight": 0.4}, 0.4)])
@pytest.mark.parametrize("classes", [1, 3])
def test_the_losses_are_the_papers_on_labelled_and_unlabelled_patches(classes, settings, largest):
    method = build(MeanTeacher, classes, noise=0.0, **settings)
    method.teacher.network.load_state_dict(build(MeanTeacher, classes, seed=1).student.state_dict())
    batch = a_batch(classes)
    terms = method(batch, 0.5)
    student = torch.softmax(method.student(batch.image), 1)[2:]
    teacher = torch.softmax(method.teacher.network(batch.image), 1)[2:]
    # mean over classes, voxels and both unlabelled patches
    squares = ((student - teacher) ** 2).sum() / (2 * (classes + 1) * 8**3)
    torch.testing.assert_close(terms["consistency"], largest * math.exp(-5 * 0.5**2) * squares)
    torch.testing.assert_close(terms["region"], region_by_hand(method.student(batch.image[:2]), batch.label))
    assert terms.keys() == {"region", "consistency"}


def test_the_weight_follows_the_published_ramp_of_6000_steps():
    check_ramp(build(MeanTeacher), "consistency")


def test_the_teachers_images_alone_are_noisy_within_twice_the_deviation():
    method, batch = build(MeanTeacher), a_batch()
    seen = {}
    for who in (method.student, method.teacher):
        who.register_forward_pre_hook(lambda module, inputs: seen.setdefault(module, inputs[0]))
    method(batch, 0.5)
    assert torch.equal(seen[method.student], batch.image)
    noise = seen[method.teacher] - batch.image[2:]
    assert noise.abs().max() <= 0.2 + 1e-9
    # a normal deviate of deviation 0.1 cut at 0.2 has deviation 0.0959
    assert noise.std().item() == pytest.approx(0.0959, abs=0.005)


def test_no_gradient_reaches_the_teacher_which_follows_by_the_published_average():
    method = build(MeanTeacher)
    total(method(a_batch(), 1.0)).backward()
    assert all(weight.grad is None for weight in method.teacher.parameters())
    check_following(method)


@pytest.mark.parametrize("who", ["teacher", "student"])
def test_the_one_who_is_asked_predicts(who):
    method, image = build(MeanTeacher, predict=who), a_batch().image
    method.teacher.network.load_state_dict(build(MeanTeacher, seed=1).student.state_dict())
    expected = torch.softmax(getattr(method, who)(image), 1)
    assert torch.equal(method.probabilities(image), expected)


def test_without_unlabelled_patches_they_agree_on_labelled_ones():
    assert check_without_unlabelled(MeanTeacher)["consistency"] > 0


@pytest.mark.parametrize("classes", [1, 3])
def test_it_predicts_from_its_inference_modules_alone(classes):
    check_prediction(MeanTeacher, classes)


def test_it_goes_on_from_its_state_exactly():
    check_resume(MeanTeacher)
