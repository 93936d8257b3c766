"""What makes UA-MT that method: a student that learns only where the teacher's mean opinion has little entropy."""

from __future__ import annotations

import math

import pytest
import torch
from method_cases import (
    a_batch,
    build,
    check_following,
    check_prediction,
    check_resume,
    check_without_unlabelled,
    published_ramp,
    region_by_hand,
    total,
)

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


# By step 4,349 lambda has stood still for 149 steps, while h has gone on rising.
@pytest.mark.parametrize("step", [0, 4349, 5400])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(("settings", "largest"), [({}, 0.1), ({"weight": 0.7}, 0.7)])
def test_the_terms_are_the_papers_over_voxels_below_the_rising_threshold(classes, step, settings, largest):
    method, batch = build(UaMt, classes, **settings), a_batch(classes)
    generator = torch.Generator().manual_seed(2)
    sharpness = torch.linspace(0, 2, 2 * 8**3, dtype=torch.float64).view(2, 1, 8, 8, 8)
    method.teacher = Fixed(sharpness * torch.randn(2, classes + 1, 8, 8, 8, generator=generator, dtype=torch.float64))
    terms = method(batch, step / 6000)
    teacher, logits = torch.softmax(method.teacher.logits, dim=1), method.student(batch.image)
    u = -(teacher * teacher.log()).sum(dim=1)
    mask = u < (0.75 + 0.25 * math.exp(-5 * (1 - step / 6000) ** 2)) * math.log(classes + 1)
    assert 0 < mask.sum() < mask.numel()
    squares = ((torch.softmax(logits[2:], dim=1) - teacher) ** 2).sum(dim=1)
    expected = squares[mask].sum() / ((classes + 1) * mask.sum())
    torch.testing.assert_close(terms["consistency"], largest * published_ramp(step) * expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(terms["region"], region_by_hand(logits[:2], batch.label))
    assert method.teacher.looks == 1 + 8
    assert terms.keys() == {"region", "consistency"}


def test_where_the_teacher_is_never_sure_nothing_is_learned_from_it():
    method = build(UaMt)
    method.teacher = Fixed(torch.zeros(2, 2, 8, 8, 8, dtype=torch.float64))
    assert method(a_batch(), 0.0)["consistency"] == 0


def test_the_looks_differ_by_noise_and_by_the_networks_dropout():
    method, batch = build(UaMt), a_batch()
    assert not torch.equal(method.look(batch), method.look(batch))
    still = build(UaMt, noise=0.0)
    assert torch.equal(still.look(batch), still.look(batch))
    torch.manual_seed(0)
    dropping = build(UaMt, dropout=0.5, noise=0.0)
    assert not torch.equal(dropping.look(batch), dropping.look(batch))


def test_no_gradient_reaches_the_teacher_which_follows_by_the_published_average():
    method = build(UaMt)
    total(method(a_batch(), 1.0)).backward()
    assert all(weight.grad is None for weight in method.teacher.parameters())
    assert all(weight.grad is not None for weight in method.student.parameters())
    check_following(method)


def test_without_unlabelled_patches_only_the_labelled_loss_is_left():
    assert check_without_unlabelled(UaMt)["consistency"] == 0


@pytest.mark.parametrize("classes", [1, 3])
def test_the_student_predicts_from_its_own_weights_alone(classes):
    check_prediction(UaMt, classes)
    assert set(build(UaMt).inference_modules()) == {"student"}


def test_it_goes_on_from_its_state_exactly():
    check_resume(UaMt)
