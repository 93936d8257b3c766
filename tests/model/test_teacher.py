"""Teachers: an average that follows, and a copy that does not share weights."""

from __future__ import annotations

import torch
from torch import nn

from duoseg.model.teacher import Teacher


def a_student(value):
    student = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        for weight in student.parameters():
            weight.fill_(value)
    return student


def test_the_first_update_takes_the_student_over_and_later_ones_average():
    teacher = Teacher(a_student(5.0))
    seen = []
    for value in (1.0, 2.0, 3.0):
        teacher.follow(a_student(value), 0.99)
        seen.append(next(teacher.parameters()).mean().item())
    # The true average while 1 - 1 / (n + 1) is below the decay: 1, (1 + 2) / 2, (1 + 2 + 3) / 3.
    torch.testing.assert_close(torch.tensor(seen), torch.tensor([1.0, 1.5, 2.0]))


def test_without_a_rise_the_decay_holds_from_the_first_update():
    teacher = Teacher(a_student(1.0))
    teacher.follow(a_student(2.0), 0.9, rising=False)
    torch.testing.assert_close(next(teacher.parameters()), torch.full((2, 2), 1.1))


def test_it_shares_no_weight_with_the_student_and_gets_no_gradient():
    student = a_student(1.0)
    teacher = Teacher(student)
    with torch.no_grad():
        next(student.parameters()).fill_(7.0)
    assert next(teacher.parameters()).mean() == 1
    assert not teacher(torch.ones(3, 2)).requires_grad


def test_become_takes_over_weights_and_statistics_and_begins_the_average_anew():
    student = a_student(3.0)
    student(torch.randn(4, 2))
    teacher = Teacher(a_student(1.0))
    teacher.follow(a_student(2.0), 0.99)
    teacher.become(student)
    state = teacher.network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in student.state_dict().items())
    assert teacher.updates == 0
