"""Two supervised students: each alone is `supervised`, together they average."""

from __future__ import annotations

import torch
from method_cases import a_batch, build, check_prediction, total

from duoseg.methods.supervised import Supervised
from duoseg.methods.supervised_pair import SupervisedPair


def test_each_student_learns_as_a_supervised_one_of_its_weights_would():
    pair, batch = build(SupervisedPair), a_batch(labelled=4, total=4)
    total(pair(batch, 0.0)).backward()
    for student in (pair.first, pair.second):
        alone = build(Supervised)
        alone.region.load_state_dict(student.state_dict())
        total(alone(batch, 0.0)).backward()
        for ours, theirs in zip(student.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_prediction_is_the_mean_of_two_students_that_differ():
    pair, image = build(SupervisedPair), a_batch().image
    first, second = pair.members(image)
    assert not torch.equal(first, second)
    torch.testing.assert_close(pair.probabilities(image), (first + second) / 2)
    check_prediction(SupervisedPair, 3)
