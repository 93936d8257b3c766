"""What makes UA-MT that method: a student that learns only where the teacher's mean opinion has little entropy."""

from __future__ import annotations

import math

import pytest
import torch
from method_cases import a_batch, build, check_prediction, check_resume, check_without_unlabelled, total

from duoseg.methods.ua_mt import UaMt


class Fixed(torch.nn.Module):
    """A teacher with given logits, whatever it sees."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits
        self.looks = 0

    def forward(self, image):
        self.looks += 1
        return self.logits


def case(progress, probability):
    """A batch and a method whose teacher gives class 1 this probability in each unlabelled voxel."""
    method, batch = build(UaMt, weight=0.7), a_batch()
    logits = torch.stack([torch.zeros_like(probability), torch.logit(probability)], dim=1)
    method.teacher = Fixed(logits)
    student = torch.softmax(method.student(batch.image), 1)[2:]
    return method, method(batch, progress)["consistency"], student


@pytest.mark.parametrize("progress", [0.0, 0.5, 0.9])
def test_the_consistency_is_the_mean_square_over_voxels_below_the_rising_threshold(progress):
    probability = torch.linspace(0.5, 0.999, 2 * 8**3, dtype=torch.float64).reshape(2, 8, 8, 8)
    method, consistency, student = case(progress, probability)
    u = -(probability * probability.log() + (1 - probability) * (1 - probability).log())
    threshold = (0.75 + 0.25 * math.exp(-5 * (1 - progress) ** 2)) * math.log(2)
    mask = u < threshold
    assert 0 < mask.sum() < mask.numel()
    squares = (student[:, 1] - probability) ** 2 + (student[:, 0] - (1 - probability)) ** 2
    expected = squares[mask].sum() / (2 * mask.sum())
    weight = 0.7 * math.exp(-5 * (1 - progress) ** 2)
    torch.testing.assert_close(consistency, weight * expected, rtol=1e-4, atol=1e-9)
    assert method.teacher.looks == 1 + 8


def test_where_the_teacher_is_never_sure_nothing_is_learned_from_it():
    _, consistency, _ = case(0.0, torch.full((2, 8, 8, 8), 0.5, dtype=torch.float64))
    assert consistency.item() == 0


def test_the_looks_differ_by_noise_and_by_the_networks_dropout():
    method, batch = build(UaMt), a_batch()
    assert not torch.equal(method.look(batch), method.look(batch))
    still = build(UaMt, noise=0.0)
    assert torch.equal(still.look(batch), still.look(batch))
    torch.manual_seed(0)
    dropping = build(UaMt, dropout=0.5, noise=0.0)
    assert not torch.equal(dropping.look(batch), dropping.look(batch))


def test_no_gradient_reaches_the_teacher():
    method = build(UaMt)
    total(method(a_batch(), 1.0)).backward()
    assert all(weight.grad is None for weight in method.teacher.parameters())
    assert all(weight.grad is not None for weight in method.student.parameters())


def test_without_unlabelled_patches_only_the_labelled_loss_is_left():
    assert check_without_unlabelled(UaMt)["consistency"] == 0


@pytest.mark.parametrize("classes", [1, 3])
def test_the_student_predicts_from_its_own_weights_alone(classes):
    check_prediction(UaMt, classes)
    assert set(build(UaMt).inference_modules()) == {"student"}


def test_it_goes_on_from_its_state_exactly():
    check_resume(UaMt)
