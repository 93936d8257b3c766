"""Two supervised students: each learns alone, together they average."""

from __future__ import annotations

import pytest
import torch
from method_cases import a_batch, build, check_prediction, region_by_hand, total

from duoseg.methods.supervised_pair import SupervisedPair


@pytest.mark.parametrize("classes", [1, 3])
def test_each_student_learns_as_it_would_alone(classes):
    pair, batch = build(SupervisedPair, classes), a_batch(classes, labelled=4)
    assert [stage.batch for stage in pair.stages] == ["labelled"]
    terms = pair(batch, 0.0)
    total(terms).backward()
    assert terms.keys() == {"first", "second"}
    for name, term in terms.items():
        student = pair.get_submodule(name)
        alone = region_by_hand(student(batch.image), batch.label)
        torch.testing.assert_close(term, alone)
        own = list(student.parameters())
        torch.testing.assert_close([weight.grad for weight in own], list(torch.autograd.grad(alone, own)))


@pytest.mark.parametrize("classes", [1, 3])
def test_the_prediction_is_the_mean_of_two_students_that_differ(classes):
    pair, image = build(SupervisedPair, classes), a_batch(classes).image
    first, second = (torch.softmax(student(image), dim=1) for student in (pair.first, pair.second))
    assert not torch.equal(first, second)
    torch.testing.assert_close(pair.members(image), [first, second])
    torch.testing.assert_close(pair.probabilities(image), (first + second) / 2)
    check_prediction(SupervisedPair, classes)
