"""Whole augmentations and views: independence of samples, alignment of image and label, exact inverses."""

from __future__ import annotations

import pytest
import torch

from duoseg.model.augment import SampleGenerator, augment, strong_view, weak_view
from duoseg.planning.plan import AugmentationPlan

INPUT, SIZE = (19, 19, 15), (16, 16, 12)
CERTAIN = AugmentationPlan(
    mirror_axes=(0, 1, 2),
    quarter_turns=True,
    spatial_probability=1.0,
    brightness_probability=1.0,
    contrast_probability=1.0,
    gamma_probability=1.0,
    noise_probability=1.0,
    blur_probability=1.0,
    low_resolution_probability=1.0,
)
MIXED = AugmentationPlan(mirror_axes=(0, 2), quarter_turns=True)
STILL = AugmentationPlan(
    spatial_probability=0.0,
    brightness_probability=0.0,
    contrast_probability=0.0,
    gamma_probability=0.0,
    noise_probability=0.0,
    blur_probability=0.0,
    low_resolution_probability=0.0,
)


def batch(n: int = 4, channels: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(n, channels, *INPUT, generator=generator)
    return image, torch.randint(-1, 3, (n, *INPUT), generator=generator)


@pytest.mark.parametrize("plan", [MIXED, CERTAIN], ids=["mixed", "certain"])
@pytest.mark.parametrize("step", [0, 1, 2])
def test_sample_is_bit_identical_whatever_else_is_in_the_batch(plan, step):
    image, label = batch()
    together, labels = augment(image, label, size=SIZE, plan=plan, generator=SampleGenerator(0, step, range(4)))
    order = [2, 0, 3, 1]
    shuffled, _ = augment(image[order], None, size=SIZE, plan=plan, generator=SampleGenerator(0, step, order))
    assert torch.equal(shuffled, together[order])
    for i in range(4):
        alone, own = augment(
            image[i : i + 1], label[i : i + 1], size=SIZE, plan=plan, generator=SampleGenerator(0, step, [i])
        )
        assert torch.equal(alone[0], together[i])
        assert own is not None and labels is not None
        assert torch.equal(own[0], labels[i])


@pytest.mark.parametrize("view", [weak_view, strong_view])
def test_views_of_a_sample_do_not_depend_on_the_batch(view):
    image, _ = batch()
    together = view(image, plan=CERTAIN, generator=SampleGenerator(0, 0, range(4)))
    for i in range(4):
        alone = view(image[i : i + 1], plan=CERTAIN, generator=SampleGenerator(0, 0, [i]))
        assert torch.equal(alone.image[0], together.image[i])
        assert alone.frames[0] == together.frames[i]


def test_result_does_not_depend_on_how_many_samples_are_labelled():
    image, label = batch()
    results = [
        augment(image, some, size=SIZE, plan=MIXED, generator=SampleGenerator(0, 5, range(4)))
        for some in (None, label[:2], label, label[:0])
    ]
    assert all(torch.equal(result[0], results[0][0]) for result in results)
    none, two, four, empty = (moved for _, moved in results)
    assert none is None and two is not None and four is not None and empty is not None
    assert empty.shape == (0, *SIZE)
    assert torch.equal(two, four[:2])


def test_shapes_and_types_and_inputs_left_alone():
    image, label = batch()
    before = image.clone(), label.clone()
    out, moved = augment(image.half(), label[:2], size=SIZE, plan=CERTAIN, generator=SampleGenerator(0, 0, range(4)))
    assert out.shape == (4, 2, *SIZE) and out.dtype == torch.float32 and torch.isfinite(out).all()
    assert moved is not None and moved.shape == (2, *SIZE) and moved.dtype == torch.int64
    augment(image, label, size=INPUT, plan=STILL, generator=SampleGenerator(0, 0, range(4)))
    augment(image, label, size=INPUT, plan=CERTAIN, generator=SampleGenerator(0, 0, range(4)))
    assert torch.equal(image, before[0]) and torch.equal(label, before[1])


def test_everything_switched_off_is_the_centre_crop():
    image, label = batch()
    out, moved = augment(image, label, size=SIZE, plan=STILL, generator=SampleGenerator(0, 0, range(4)))
    assert torch.equal(out, image[..., 1:17, 1:17, 1:13])
    assert moved is not None and torch.equal(moved, label[..., 1:17, 1:17, 1:13])


def test_label_stays_on_its_structure_through_every_spatial_change():
    size, shape = (32, 32, 24), (40, 40, 30)
    axes = [torch.arange(n) - (n - 1) / 2 for n in shape]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    # An egg off the centre: no symmetry hides a wrong axis, sign or shift.
    egg = ((x - 4) / 9) ** 2 + ((y + 3) / 6) ** 2 + ((z - 2) / (5 + 0.1 * x)) ** 2 < 1
    label = egg.long().expand(8, *shape)
    plan = STILL.model_copy(
        update={
            "spatial_probability": 1.0,
            "mirror_axes": (0, 1, 2),
            "quarter_turns": True,
            "elastic_voxels": 1.5,
        }
    )
    image, moved = augment(
        label[:, None].float(), label, size=size, plan=plan, generator=SampleGenerator(0, 0, range(8))
    )
    assert moved is not None
    found, truth = image[:, 0] > 0.5, moved == 1
    dice = 2 * (found & truth).sum((1, 2, 3)) / (found.sum((1, 2, 3)) + truth.sum((1, 2, 3)))
    assert dice.min() > 0.95
    assert not torch.equal(moved[0], moved[1])


@pytest.mark.parametrize("size", [(8, 8, 8), (8, 8, 6), (8, 6, 8), (5, 6, 7)])
@pytest.mark.parametrize("view", [weak_view, strong_view])
def test_view_inverts_exactly_for_any_type_and_rank(view, size):
    image = torch.randn(6, 2, *size)
    made = view(image, plan=CERTAIN, generator=SampleGenerator(0, 0, range(6)))
    for tensor in (
        image,
        torch.randint(-1, 3, (6, *size)),
        torch.rand(6, 3, *size) > 0.5,
        image[:2],
        image[:0],
    ):
        assert torch.equal(made.invert(made.apply(tensor)), tensor)
        assert torch.equal(made.apply(made.invert(tensor)), tensor)


def test_weak_view_changes_the_frame_alone():
    image, _ = batch(8)
    view = weak_view(image, plan=CERTAIN, generator=SampleGenerator(0, 0, range(8)))
    assert torch.equal(view.image, view.apply(image))
    assert len(set(view.frames)) > 3


def test_a_strong_view_within_autocast_is_that_without():
    image = torch.randn(8, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    plain = strong_view(image, plan=CERTAIN, generator=SampleGenerator(0, 0, range(8)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = strong_view(image, plan=CERTAIN, generator=SampleGenerator(0, 0, range(8)))
    assert torch.equal(plain.image, mixed.image) and mixed.image.dtype == torch.float32


def test_strong_view_changes_intensities_in_the_frame_it_reports():
    image = torch.zeros(8, 1, 20, 20, 20)
    image[:, :, 3:13, 1:10, 4:17] = 4.0
    view = strong_view(image, plan=CERTAIN, generator=SampleGenerator(0, 0, range(8)))
    assert not torch.allclose(view.image, view.apply(image), atol=0.05)
    for restored, original in zip(view.invert(view.image), image, strict=True):
        assert torch.corrcoef(torch.stack([restored.flatten(), original.flatten()]))[0, 1] > 0.7


def test_a_strong_view_is_strong_whatever_the_plan_says_of_intensities():
    """Protocols of published methods change none: then half of a method's views would be the patch itself."""
    image = torch.randn(8, 1, 12, 12, 12)
    view = strong_view(image, plan=STILL, generator=SampleGenerator(0, 0, range(8)))
    changed = (view.invert(view.image) != image).flatten(1).any(dim=1)
    assert changed.sum() >= 6
    usual = strong_view(image, plan=AugmentationPlan(), generator=SampleGenerator(0, 0, range(8)))
    torch.testing.assert_close(view.image, usual.image, rtol=0, atol=0)


def test_two_views_from_one_generator_differ():
    image, _ = batch(8)
    generator = SampleGenerator(0, 0, range(8))
    first, second = (weak_view(image, plan=CERTAIN, generator=generator) for _ in range(2))
    assert first.frames != second.frames


def test_gradients_flow_through_a_view():
    prediction = torch.randn(4, 2, 8, 8, 6, requires_grad=True)
    view = weak_view(torch.zeros(4, 1, 8, 8, 6), plan=CERTAIN, generator=SampleGenerator(0, 0, range(4)))
    weights = torch.randn(4, 2, 8, 8, 6)
    (view.apply(prediction) * view.apply(weights)).sum().backward()
    assert prediction.grad is not None and torch.equal(prediction.grad, weights)


def test_shapes_that_do_not_fit_are_refused():
    image, label = batch()
    generator = SampleGenerator(0, 0, range(4))
    with pytest.raises(ValueError, match="cannot give"):
        augment(image, label, size=(20, 16, 12), plan=STILL, generator=generator)
    with pytest.raises(ValueError, match="do not fit"):
        augment(image, label[:, 1:], size=SIZE, plan=STILL, generator=generator)
    with pytest.raises(ValueError, match="streams"):
        augment(image, label, size=SIZE, plan=STILL, generator=SampleGenerator(0, 0, range(3)))
