"""What makes URPC that method: scales that are drawn to their mean where they already nearly agree."""

from __future__ import annotations

import pytest
import torch
from method_cases import PLAN, check_prediction, check_ramp, check_resume, check_without_unlabelled, region_by_hand

from duoseg.methods.base import Batch
from duoseg.methods.urpc import Urpc, UrpcSettings, rectified_consistency
from duoseg.model.draws import SampleGenerator
from duoseg.model.networks import NetworkFactory
from duoseg.planning.plan import NetworkPlan

SHAPE = (16, 16, 16)


def a_pyramid(classes=1, scales=4):
    """A network deep enough for three scales."""
    torch.manual_seed(0)
    plan = NetworkPlan(channels=(3, 4, 5, 6), strides=((2, 2, 2),) * 3)
    factory = NetworkFactory(plan, in_channels=1, classes=classes, patch=SHAPE)
    return Urpc(factory, UrpcSettings(scales=scales)).double()


def a_large_batch(classes=1):
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(3, 1, *SHAPE, generator=generator, dtype=torch.float64)
    label = torch.randint(classes + 1, (1, *SHAPE), generator=generator)
    return Batch(image, label, generator=SampleGenerator(0, 0, range(3)), plan=PLAN)


def by_hand(scales):
    """L_c from its equations, voxel after voxel."""
    p = [torch.softmax(logits, dim=1) for logits in scales]
    mean = sum(p) / len(p)
    total = 0
    for own in p:
        distance = (mean * (mean / own).log()).sum(dim=1)
        weight = torch.exp(-distance)
        squares = ((mean - own) ** 2).mean(dim=1)
        total += (weight * squares).mean() / weight.mean() + distance.mean()
    return total / len(p)


@pytest.mark.parametrize("classes", [1, 3])
def test_the_terms_are_those_of_the_published_code(classes):
    method, batch = a_pyramid(classes), a_large_batch(classes)
    terms = method(batch, 1.0)
    scales = method.network(batch.image)
    assert len(scales) == 3
    torch.testing.assert_close(terms["consistency"], 0.1 * by_hand([logits[1:] for logits in scales]))
    region = sum(region_by_hand(logits[:1], batch.label) for logits in scales) / 3
    torch.testing.assert_close(terms["region"], region)
    assert terms.keys() == {"region", "consistency"}


def test_a_voxel_worked_out_with_a_calculator():
    # p = (0.9, 0.1) and (0.5, 0.5), mean (0.7, 0.3)
    # D_1 = 0.7 ln(0.7/0.9) + 0.3 ln(0.3/0.1) = 0.153664, D_2 = 0.7 ln(0.7/0.5) + 0.3 ln(0.3/0.5) = 0.082283
    # one voxel: its weight cancels; each squared difference is 0.04
    scales = [torch.tensor(p, dtype=torch.float64).log().view(1, 2, 1, 1, 1) for p in ([0.9, 0.1], [0.5, 0.5])]
    expected = 0.04 + (0.153664 + 0.082283) / 2
    assert rectified_consistency(scales).item() == pytest.approx(expected, abs=1e-5)


def test_where_scales_differ_more_they_count_less():
    near, far = torch.tensor([0.55, 0.45]), torch.tensor([0.99, 0.01])
    even = torch.full((1, 2, 2, 1, 1), 0.5)
    other = torch.stack([near, far], dim=1).view(1, 2, 2, 1, 1)
    scales = [even.log(), other.log()]
    found = rectified_consistency(scales)
    p_mean = (even + other) / 2
    plain = torch.stack([(p_mean - p).square().mean() for p in (even, other)]).mean()
    distances = torch.stack([(p_mean * (p_mean / p).log()).sum(1).mean() for p in (even, other)]).mean()
    assert found - distances < plain


def test_gradients_reach_the_mean_and_the_weights_too():
    scales = [torch.randn(2, 3, 2, 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    expected = torch.autograd.grad(by_hand(scales), scales)
    found = torch.autograd.grad(rectified_consistency(scales), scales)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other)


def test_a_class_that_no_scale_believes_in_gives_finite_gradients():
    scales = [torch.tensor([0.0, -400.0]).view(1, 2, 1, 1, 1).requires_grad_() for _ in range(2)]
    rectified_consistency(scales).backward()
    assert all(logits.grad.isfinite().all() for logits in scales)


def test_the_weight_follows_the_published_ramp_of_60000_steps():
    check_ramp(a_pyramid(), "consistency", full=60_000, steps=60_000, batch=a_large_batch)


def test_the_finest_scale_predicts():
    method, image = a_pyramid(), a_large_batch().image
    opinions = [*method.members(image)]
    assert len(opinions) == 3
    assert torch.equal(method.probabilities(image), opinions[0])


def test_the_number_of_scales_is_a_setting():
    assert len(a_pyramid(scales=2).network(a_large_batch().image)) == 2


def test_without_unlabelled_patches_only_the_labelled_loss_is_left():
    assert check_without_unlabelled(Urpc)["consistency"] == 0
    method, batch = a_pyramid(), a_large_batch()
    labelled = Batch(batch.image[:1], batch.label, generator=SampleGenerator(0, 0, range(1)), plan=PLAN)
    assert method(labelled, 1.0)["consistency"] == 0


@pytest.mark.parametrize("classes", [1, 3])
def test_it_predicts_from_its_inference_modules_alone(classes):
    check_prediction(Urpc, classes)


def test_it_goes_on_from_its_state_exactly():
    check_resume(Urpc)
