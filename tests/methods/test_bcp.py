"""What makes BCP that method: patches mixed both ways, learned from both labels, after a stage on labelled ones."""

from __future__ import annotations

import pytest
import torch
from method_cases import (
    PLAN,
    SHAPE,
    a_batch,
    build,
    check_prediction,
    check_resume,
    check_without_unlabelled,
    region_by_hand,
    total,
)
from torch.nn import functional as F

from duoseg.methods.base import Batch
from duoseg.methods.bcp import Bcp
from duoseg.model.draws import SampleGenerator


def only(label, where):
    """The labels of those voxels alone."""
    return torch.where(where, label, -1)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(("settings", "alpha"), [({}, 0.5), ({"unlabelled_weight": 0.2}, 0.2)])
def test_the_losses_are_the_papers_for_two_labelled_and_two_unlabelled_patches(classes, settings, alpha):
    method = build(Bcp, classes, largest_component=False, **settings)
    method.teacher.network.load_state_dict(build(Bcp, classes, seed=1).student.state_dict())
    terms = method(a_batch(classes), 0.5)
    batch = a_batch(classes)
    box = ~method.around(batch)[:2]
    xa, ya, ua = batch.image[:2], batch.label, batch.image[2:]
    va = method.teacher.network(ua).argmax(1)
    xb, yb, ub, vb = (items.flip(0) for items in (xa, ya, ua, va))  # of two, each is the other's neighbour
    inward, outward = (method.student(torch.where(box[:, None], *pair)) for pair in ((ua, xa), (xb, ub)))
    expected = {
        "inward": region_by_hand(inward, only(ya, ~box)) + alpha * region_by_hand(inward, only(va, box)),
        "outward": region_by_hand(outward, only(yb, box)) + alpha * region_by_hand(outward, only(vb, ~box)),
    }
    torch.testing.assert_close(terms, expected)


def test_the_box_has_two_thirds_of_each_side_and_falls_anywhere_within_the_patch():
    method = build(Bcp)
    starts = set()
    for step in range(60):
        for mask in method.around(a_batch(step=step)):
            inside = (~mask).nonzero()
            low, high = inside.min(0).values, inside.max(0).values
            assert (high - low + 1).tolist() == [5, 5, 5] and len(inside) == 5**3  # 2/3 of 8 is 5.33
            starts.add(int(low[0]))
    assert starts == {0, 1, 2, 3}


def test_the_first_stage_learns_from_labelled_patches_pasted_into_each_other():
    method = build(Bcp, 3)
    stages = {stage.name: (stage.batch, stage.share) for stage in method.stages}
    assert stages == {"pre-train": ("labelled", 2 / 17), "self-train": ("mixed", 15 / 17)}
    batch = a_batch(3, labelled=4)
    seen = []
    method.student.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    terms = method(a_batch(3, labelled=4), 0.5)
    box = ~method.around(batch)
    following = [1, 2, 3, 0]
    assert torch.equal(seen[0], torch.where(box.unsqueeze(1), batch.image[following], batch.image))
    mixed = torch.where(box, batch.label[following], batch.label)
    torch.testing.assert_close(terms, {"labelled": region_by_hand(method.student(seen[0]), mixed)})


def test_the_first_stage_takes_the_share_that_is_asked_for():
    first, second = build(Bcp, pre_train=0.4).stages
    assert (first.share, second.share) == (0.4, pytest.approx(0.6))


def test_the_teacher_begins_the_second_stage_as_the_student_and_follows_without_a_rise():
    method = build(Bcp)
    with torch.no_grad():
        for weight in method.student.parameters():
            weight.fill_(1.0)
    method.start_stage(method.stages[1])
    with torch.no_grad():
        for weight in method.student.parameters():
            weight.fill_(2.0)
    method.after_step(0.0)
    for weight in method.teacher.parameters():
        torch.testing.assert_close(weight, torch.full_like(weight, 1.01))


def test_only_the_largest_body_of_a_class_is_kept_in_the_teachers_labels():
    method = build(Bcp, 2)
    bodies = torch.zeros(1, *SHAPE, dtype=torch.long)
    bodies[0, :3, :3, :3], bodies[0, 5:, 5:, :3] = 2, 1
    expected = bodies.clone()
    bodies[0, 6:, 6:, 6:] = 2
    method.teacher.forward = lambda image: F.one_hot(bodies, 3).movedim(-1, 1).double()
    assert torch.equal(method.pseudo_labels(torch.zeros(1, 1, *SHAPE)), expected)


def test_no_gradient_reaches_the_teacher():
    method = build(Bcp)
    total(method(a_batch(), 1.0)).backward()
    assert all(weight.grad is None for weight in method.teacher.parameters())


@pytest.mark.parametrize(("labelled", "unlabelled"), [(1, 3), (3, 1), (2, 4), (1, 1)])
def test_uneven_batches_use_every_patch(labelled, unlabelled):
    method, some = build(Bcp), a_batch(labelled=labelled, total=labelled + unlabelled)
    image = torch.arange(1.0, labelled + unlabelled + 1).double().view(-1, 1, 1, 1, 1).expand(-1, 1, *SHAPE)
    batch = Batch(image, some.label, generator=SampleGenerator(0, 0, range(len(image))), plan=PLAN)
    seen = []
    method.student.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    method(batch, 0.5)
    assert set(seen[0].unique().tolist()) == set(range(1, labelled + unlabelled + 1))


def test_without_unlabelled_patches_labelled_ones_are_mixed():
    assert set(check_without_unlabelled(Bcp)) == {"labelled"}


@pytest.mark.parametrize("classes", [1, 3])
def test_the_student_predicts_from_its_own_weights_alone(classes):
    check_prediction(Bcp, classes)


def test_it_goes_on_from_its_state_exactly():
    check_resume(Bcp)
