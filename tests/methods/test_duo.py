"""What makes duo that method: its equations, who teaches whom on which views, and DTML once its parts are off."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from method_cases import (
    PLAN,
    a_batch,
    a_batch_of_bodies,
    build,
    check_prediction,
    check_resume,
    check_without_unlabelled,
    dice_by_hand,
    opinion_by_hand,
    region_by_hand,
    same,
    total,
    weights,
)
from torch.nn import functional as F

from duoseg.methods.base import Batch
from duoseg.methods.dtml import Dtml
from duoseg.methods.duo import Duo

PARTS_OFF = {
    "pre_train": 0.0,
    "k": 1500.0,
    "unlabelled": "difference",
    "ramp": 1.0,
    "predict": "region",
}
CHOICES = [{}, PARTS_OFF]


pytestmark = pytest.mark.usefixtures("views_in_double_precision")


def unlike(classes=1, **settings):
    """A method whose average is not its student."""
    method, other = build(Duo, classes, **settings), build(Duo, classes, seed=1, **settings)
    method.region_average.network.load_state_dict(other.region.state_dict())
    return method


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_without_its_parts_duo_is_dtml(progress, classes):
    duo, dtml = build(Duo, classes, **PARTS_OFF), build(Dtml, classes, ramp_levels=0)
    found, expected = duo(a_batch(classes), progress), dtml(a_batch(classes), progress)
    assert found.keys() == expected.keys()
    for name, term in expected.items():
        torch.testing.assert_close(found[name], term, rtol=1e-12, atol=0)
    total(found).backward()
    total(expected).backward()
    for own, other in zip((duo.region, duo.boundary), (dtml.region, dtml.boundary), strict=True):
        for p, q in zip(own.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-15)
    image = a_batch(classes).image
    torch.testing.assert_close(duo.probabilities(image), dtml.probabilities(image))
    assert [(stage.share, stage.batch) for stage in duo.stages] == [(1.0, "mixed")]


@pytest.mark.parametrize("classes", [1, 2])
def test_labelled_patches_teach_both_students(classes):
    method, batch = build(Duo, classes, k=10.0), a_batch_of_bodies(classes, spacing=(1, 1, 1))
    terms, x, y = method(batch, 0.5), batch.image[:2], batch.label
    torch.testing.assert_close(terms["region"], region_by_hand(method.region(x), y))
    mask = torch.sigmoid(-10 * torch.tanh(method.boundary(x)))
    torch.testing.assert_close(terms["boundary"], dice_by_hand(mask, y))


@pytest.mark.parametrize("classes", [1, 3])
def test_unlabelled_patches_teach_both_students_what_the_average_of_the_region_student_is_sure_of(classes):
    threshold = {1: 0.6, 3: 0.4}[classes]
    method = unlike(classes, views=(), weight=0.3, threshold=threshold, by_class=False)
    batch = a_batch(classes)
    u = batch.image[2:]
    confidence, label = torch.softmax(method.region_average(u), dim=1).max(dim=1)
    sure = confidence >= threshold
    assert 0 < sure.double().mean() < 1
    right = F.one_hot(label, classes + 1).movedim(-1, 1)
    students = (torch.softmax(method.region(u), dim=1), opinion_by_hand(torch.tanh(method.boundary(u)), 20.0))
    terms = method(batch, 0.5)
    for name, student in zip(("region_unlabelled", "boundary_unlabelled"), students, strict=True):
        losses = -(student.log() * right).sum(dim=1)
        torch.testing.assert_close(terms[name], 0.3 * losses[sure].mean())
    assert terms.keys() == {"region", "boundary", "region_unlabelled", "boundary_unlabelled"}


def test_a_class_that_is_less_sure_on_average_has_that_as_its_threshold():
    probable = torch.tensor([0.95, 0.7, 0.9, 0.65, 0.55, 0.6, 0.51, 0.69])
    organ = torch.tensor([False, False, False, True, True, True, True, True])  # 0.6 on average
    p = torch.where(organ, probable, 1 - probable)
    q = torch.stack([1 - p, p]).view(1, 2, 2, 2, 2)
    assert build(Duo).sure(q).flatten().tolist() == [0, -1, 0, 1, -1, 1, -1, 1]
    assert build(Duo, by_class=False).sure(q).flatten().tolist() == [0, -1, 0, -1, -1, -1, -1, -1]
    assert build(Duo, threshold=0.0).sure(q).flatten().tolist() == organ.int().tolist()


def test_without_an_average_the_region_student_itself_is_asked():
    method, batch = unlike(views=(), decay=0.0, threshold=0.6, by_class=False), a_batch()
    confidence, label = torch.softmax(method.region(batch.image[2:]), dim=1).max(dim=1)
    target = label.masked_fill(confidence < 0.6, -1)
    losses = F.cross_entropy(method.region(batch.image[2:]), target, ignore_index=-1)
    torch.testing.assert_close(method(batch, 0.5)["region_unlabelled"], losses)


def test_opinions_are_of_plain_patches_and_are_carried_to_the_changed_ones():
    """Each kind of view comes up, and under each the label that a voxel had is still that voxel's."""
    method, kinds = build(Duo), set()
    for step in range(20):
        batch = a_batch(step=step)
        place = torch.arange(2 * 8**3).view(2, 8, 8, 8)
        image, carried = method.changed(batch, place)
        plain = batch.image[2:].flatten()[carried].unsqueeze(1)  # what lay where each label comes from
        if torch.equal(image, plain):
            foreign = carried // 8**3 != torch.arange(2).view(2, 1, 1, 1)
            assert foreign.any(dim=(1, 2, 3)).all() and not foreign.all()
            kinds.add("pasted")
        else:
            assert np.corrcoef(image.flatten(), plain.flatten())[0, 1] > 0.3
            assert not (carried // 8**3 != torch.arange(2).view(2, 1, 1, 1)).any()
            kinds.add("strong")
    assert kinds == {"pasted", "strong"}


def test_a_lone_unlabelled_patch_gets_its_box_from_an_annotated_one():
    """As on one of two processes, or in one of two parts of a batch."""
    whole = a_batch()
    streams = whole.generator.select(range(1, 3))
    batch = Batch(whole.image[1:3], whole.label[1:], generator=streams, plan=PLAN)
    image, label = build(Duo, views=("pasted",)).changed(batch, torch.full((1, 8, 8, 8), 7))
    inside = label[0] != 7
    assert inside.any() and not inside.all()
    assert torch.equal(image[0, 0][inside], whole.image[1, 0][inside])
    assert torch.equal(label[0][inside], whole.label[1][inside])
    assert torch.equal(image[0, 0][~inside], whole.image[2, 0][~inside])


@pytest.mark.parametrize("kind", ["strong", "pasted"])
def test_a_view_that_is_not_asked_for_never_comes(kind):
    for step in range(8):
        image, _ = build(Duo, views=(kind,)).changed(a_batch(step=step), torch.zeros(2, 8, 8, 8))
        plain = a_batch().image[2:]
        values = set(plain.flatten().tolist())
        assert set(image.flatten().tolist()) <= values if kind == "pasted" else not torch.equal(image, plain)


def test_no_gradient_reaches_the_average_and_it_follows():
    method = unlike()
    total(method(a_batch(), 0.5)).backward()
    average = method.region_average
    assert all(weight.grad is None for weight in average.parameters())
    for student in (method.region, method.boundary):
        assert any(weight.grad.abs().max() > 0 for weight in student.parameters())
    before = weights(average.network)
    average.updates.fill_(1000)
    method.after_step(0.5)
    for now, was, is_ in zip(weights(average.network), before, weights(method.region), strict=True):
        torch.testing.assert_close(now, 0.99 * was + 0.01 * is_, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("steps", "decay"), [(1, 0.0), (12, 0.0), (150, 0.92), (1199, 1 - 12 / 1199), (1200, 0.99), (9000, 0.99)]
)
def test_the_average_looks_back_over_a_twelfth_of_the_training_at_most(steps, decay):
    method = unlike()
    method.start_training(steps)
    average = method.region_average
    before = weights(average.network)
    average.updates.fill_(10_000)
    method.after_step(0.5)
    for now, was, is_ in zip(weights(average.network), before, weights(method.region), strict=True):
        torch.testing.assert_close(now, decay * was + (1 - decay) * is_, rtol=1e-5, atol=1e-7)


def test_an_average_faster_than_that_stays_as_asked():
    method = build(Duo, decay=0.5)
    method.start_training(150)
    assert method.decay == 0.5


def test_labelled_patches_come_first_and_the_schedule_goes_on():
    first, second = build(Duo).stages
    assert (first.share, first.batch, first.anew) == (0.4, "labelled", True)
    assert (second.share, second.batch, second.anew) == (0.6, "mixed", False)


def test_the_asked_student_predicts():
    image = a_batch(2).image
    method = build(Duo, 2)
    region, boundary = (
        torch.softmax(method.region(image), dim=1),
        opinion_by_hand(torch.tanh(method.boundary(image)), 20.0),
    )
    for predict, expected, asks in (
        ("region", region, ["region"]),
        ("boundary", boundary, ["boundary"]),
        ("mean", (region + boundary) / 2, ["region", "boundary"]),
    ):
        method, asked = build(Duo, 2, predict=predict), []
        for name in ("region", "boundary"):
            method.get_submodule(name).register_forward_hook(lambda *_, name=name, asked=asked: asked.append(name))
        torch.testing.assert_close(method.probabilities(image), expected)
        assert asked == asks


@pytest.mark.parametrize("settings", CHOICES)
def test_it_learns_from_labels_alone_where_there_is_nothing_else(settings):
    terms = check_without_unlabelled(Duo, **settings)
    assert not any(name.endswith("unlabelled") for name in terms)


@pytest.mark.parametrize("settings", CHOICES)
@pytest.mark.parametrize("classes", [1, 3])
def test_predictions_are_distributions_of_the_students_alone(classes, settings):
    check_prediction(Duo, classes, **settings)
    assert not same(weights(build(Duo).region), weights(build(Duo, seed=1).region))


def test_state_is_complete():
    check_resume(Duo, threshold=0.5)
