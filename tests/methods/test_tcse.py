"""What makes TCSE that method: the student on turned patches, its average on straight ones."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from method_cases import PLAN, a_batch, build, check_prediction, check_resume, check_without_unlabelled
from torch import nn
from torch.nn import functional as F

from duoseg.methods.tcse import Tcse
from duoseg.model.draws import SampleGenerator
from duoseg.model.teacher import Teacher
from duoseg.model.views import weak_view


def test_the_terms_are_those_of_the_paper():
    method, batch = build(Tcse, noise=0.0), a_batch()
    method.teacher.become(build(Tcse, seed=1).student)
    terms = method(batch, 0.5)

    view = weak_view(batch.image, plan=PLAN.augmentation, generator=SampleGenerator(0, 0, range(4)), spacing=(1, 1, 1))
    assert not torch.equal(view.image, batch.image)
    logits = method.student(view.image)
    z, turned = torch.softmax(logits, dim=1), view.apply(batch.label)
    p, y = z[:2, 1], turned.double()
    dice = (2 * (p * y).sum() + 1e-5) / ((p * p).sum() + (y * y).sum() + 1e-5)
    torch.testing.assert_close(terms["region"], (F.cross_entropy(logits[:2], turned) + 1 - dice) / 2)

    straight = torch.softmax(method.teacher(batch.image), dim=1)
    expected = math.exp(-5 * (1 - 0.5 / 0.75) ** 2) * ((z - view.apply(straight)) ** 2).mean()
    torch.testing.assert_close(terms["consistency"], expected)
    assert terms.keys() == {"region", "consistency"}


class Pointwise(nn.Module):
    """A network that turns with its image: it sees single voxels."""

    def forward(self, image):
        return torch.cat([image, -image], dim=1)


class Placed(Pointwise):
    """A network that does not: it minds where a voxel lies."""

    def forward(self, image):
        place = torch.linspace(-1, 1, image.shape[2]).view(1, 1, -1, 1, 1).to(image)
        return torch.cat([image, place + 0 * image], dim=1)


@pytest.mark.parametrize(("network", "consistent"), [(Pointwise(), True), (Placed(), False)])
def test_only_a_network_that_turns_with_its_image_is_consistent(network, consistent):
    method = build(Tcse, noise=0.0)
    method.student, method.teacher = network, Teacher(network)
    found = method(a_batch(), 1.0)["consistency"]
    assert (found < 1e-24) if consistent else (found > 1e-3)


def test_student_and_teacher_see_noise_of_their_own():
    method, batch = build(Tcse), a_batch()
    seen = {}
    method.student.register_forward_pre_hook(lambda _, given: seen.update(student=given[0]))
    method.teacher.register_forward_pre_hook(lambda _, given: seen.update(teacher=given[0]))
    method(batch, 1.0)
    view = weak_view(batch.image, plan=PLAN.augmentation, generator=SampleGenerator(0, 0, range(4)), spacing=(1, 1, 1))
    first, second = seen["student"] - view.image, seen["teacher"] - batch.image
    for noise in (first, second):
        assert abs(noise.std() - 0.1) < 0.02 and noise.abs().max() <= 0.2 + 1e-6
    assert not torch.allclose(first, view.apply(second))


@pytest.mark.parametrize(("progress", "share"), [(0.3, 0.4), (0.75, 1.0), (0.9, 1.0)])
def test_the_weight_is_full_after_three_quarters_of_the_training(progress, share):
    method, batch = build(Tcse, noise=0.0), a_batch()
    method.teacher.become(build(Tcse, seed=1).student)
    full = method(batch, 1.0)["consistency"]
    batch = a_batch()
    torch.testing.assert_close(method(batch, progress)["consistency"], full * math.exp(-5 * (1 - share) ** 2))


def test_only_the_student_gets_gradients_and_the_teacher_follows():
    method = build(Tcse)
    before = copy.deepcopy(method.teacher.network)
    method(a_batch(), 1.0)["consistency"].backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert any(p.grad.abs().max() > 0 for p in method.student.parameters())
    with torch.no_grad():
        for p in method.student.parameters():
            p.add_(1.0)
    method.teacher.updates.fill_(9999)
    method.after_step(1.0)
    for old, new in zip(before.parameters(), method.teacher.network.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.001)


def test_labelled_patches_alone_are_enough():
    check_without_unlabelled(Tcse)


@pytest.mark.parametrize("classes", [1, 3])
def test_the_student_alone_predicts(classes):
    check_prediction(Tcse, classes)


def test_a_restored_method_goes_on_the_same():
    check_resume(Tcse)
