"""A tiny network and batch for the tests of methods, what papers say written out, and checks that several share."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage

from duoseg.methods.base import Batch
from duoseg.model.draws import SampleGenerator
from duoseg.model.networks import NetworkFactory
from duoseg.planning.plan import AugmentationPlan, NetworkPlan, Normalisation, Plan

SHAPE = (8, 8, 8)
PLAN = Plan(
    channels=("mri",),
    classes={"organ": 1},
    spacing=(1, 1, 1),
    patch=SHAPE,
    normalisation=(Normalisation(channel="mri", scheme="zscore"),),
    augmentation=AugmentationPlan(mirror_axes=(0, 1, 2), quarter_turns=True),
    steps=10,
)


def networks(classes=1, dropout=0.0):
    plan = NetworkPlan(channels=(3, 4), strides=((2, 2, 2),), dropout=dropout)
    return NetworkFactory(plan, in_channels=1, classes=classes, patch=SHAPE)


def a_batch(classes=1, labelled=2, total=4, dtype=torch.float64, step=0):
    """The same patches each time; ``step`` changes what is drawn from the batch's generator alone."""
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(total, 1, *SHAPE, generator=generator, dtype=dtype)
    label = torch.randint(classes + 1, (labelled, *SHAPE), generator=generator)
    return Batch(image, label, generator=SampleGenerator(0, step, range(total)), plan=PLAN)


def a_batch_of_bodies(classes=1, *, spacing):
    """Two labelled patches of four, with bodies thick enough to have an inside."""
    batch = a_batch(classes)
    field = np.random.default_rng(5).normal(size=(2, classes + 1, *SHAPE))
    label = torch.from_numpy(ndimage.gaussian_filter(field, (0, 0, 1.5, 1.5, 1.5)).argmax(axis=1))
    plan = PLAN.model_copy(update={"spacing": spacing})
    return Batch(batch.image, label, generator=batch.generator, plan=plan)


def build(kind, classes=1, dropout=0.0, seed=0, **settings):
    """A method of double precision, always with the same weights for one seed."""
    torch.manual_seed(seed)
    return kind(networks(classes, dropout), kind.Settings(**settings)).double()


def total(terms):
    return torch.stack(list(terms.values())).sum()


def weights(module):
    """A copy of all parameters and buffers."""
    return [value.clone() for value in module.state_dict().values()]


def same(first, second):
    return all(torch.equal(own, other) for own, other in zip(first, second, strict=True))


def reach(term, module):
    """The largest gradient of a term in each of a module's parameters."""
    gradients = torch.autograd.grad(term, list(module.parameters()), retain_graph=True, allow_unused=True)
    return [0.0 if gradient is None else gradient.abs().max().item() for gradient in gradients]


def dice_by_hand(foreground, label):
    """Mean of 1 - Dice over classes 1 to K, of all voxels with a label; foreground (B, K, *spatial)."""
    known, losses = label >= 0, []
    for index, p in enumerate(foreground.unbind(dim=1), start=1):
        p, y = p[known], (label[known] == index).double()
        losses.append(1 - (2 * (p * y).sum() + 1e-5) / ((p * p).sum() + (y * y).sum() + 1e-5))
    return sum(losses) / len(losses)


def region_by_hand(logits, label):
    """(CE + Dice) / 2 over voxels with a label; logits (B, K + 1, *spatial)."""
    p, known = torch.softmax(logits, dim=1), label >= 0
    right = sum(own * (label == index) for index, own in enumerate(p.unbind(dim=1)))
    return (-right[known].log().mean() + dice_by_hand(p[:, 1:], label)) / 2


def maps_by_hand(label, classes, spacing):
    """Normalised distance maps (B, K, *spatial) of labels in which each class is there and does not fill its patch."""
    maps = torch.empty(len(label), classes, *label.shape[1:], dtype=torch.float64)
    for one, own in zip(label.numpy(), maps, strict=True):
        for index in range(classes):
            inside, outside = one == index + 1, (one != index + 1) & (one >= 0)
            away = ndimage.distance_transform_edt(~inside, sampling=spacing)
            deep = ndimage.distance_transform_edt(~outside, sampling=spacing) * inside
            on_boundary = inside & ndimage.binary_dilation(outside)  # a face neighbour lies outside
            own[index] = torch.from_numpy(away / away.max() - np.where(on_boundary, 0, deep / deep.max()))
    return maps


def opinion_by_hand(phi, k):
    """Class probabilities of distance maps (B, K, *spatial): each T, the product of all 1 - T, over their sum."""
    masks = torch.sigmoid(-k * phi)
    scores = torch.cat([(1 - masks).prod(dim=1, keepdim=True), masks], dim=1)
    return scores / scores.sum(dim=1, keepdim=True)


def published_ramp(step, full=6000):
    """exp(-5 (1 - t)^2), t rising every 150 steps up to ``full``."""
    return math.exp(-5 * (1 - min(step // 150, full // 150) / (full // 150)) ** 2)


def check_ramp(method, term, *, full=6000, steps=6000, batch=a_batch):
    """A term's weight rises every 150 steps until it is full."""
    last = method(batch(), 1.0)[term]
    assert last > 0
    for step in (0, 149, 150, full // 2 + 149, full - 1, (full + steps) // 2):
        torch.testing.assert_close(method(batch(), step / steps)[term], published_ramp(step, full) * last)


def check_following(method, decay=0.99):
    """The teacher averages the student's weights, with a decay that rises as 1 - 1 / (n + 1) to its last value."""
    expected = weights(method.teacher.network)
    for step in range(130):
        with torch.no_grad():
            for weight in method.student.parameters():
                weight += 0.01
        method.after_step(0.5)
        a = min(1 - 1 / (step + 1), decay)
        expected = [a * own + (1 - a) * new for own, new in zip(expected, weights(method.student), strict=True)]
    for own, by_hand in zip(weights(method.teacher.network), expected, strict=True):
        torch.testing.assert_close(own, by_hand, rtol=1e-5, atol=1e-5)


def check_rate_of_adversary(method, rate):
    """The adversary, and nothing else, learns by Adam at a rate of its own."""
    student, adversary = method.parameter_groups()
    assert adversary["adam_rate"] == rate and "adam_rate" not in student
    assert {id(p) for p in adversary["params"]} == {id(p) for p in method.adversary.parameters()}
    assert len(student["params"]) + len(adversary["params"]) == len(list(method.parameters()))


def check_without_unlabelled(kind, **settings):
    """Finite losses and gradients where a batch has labels only; returns the terms."""
    method = build(kind, classes=2, **settings)
    terms = method(a_batch(classes=2, labelled=2, total=2), 0.5)
    total(terms).backward()
    assert all(term.isfinite() and term.ndim == 0 for term in terms.values())
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)
    return {name: term.item() for name, term in terms.items()}


def check_prediction(kind, classes, **settings):
    """Opinions are distributions, and the named modules alone give the same prediction in a fresh method."""
    method, image = build(kind, classes, **settings).eval(), a_batch(classes).image
    for opinion in method.members(image):
        assert opinion.shape == (len(image), classes + 1, *SHAPE)
        torch.testing.assert_close(opinion.sum(dim=1), torch.ones_like(opinion[:, 0]))
    fresh = build(kind, classes, seed=1, **settings).eval()
    assert not torch.equal(fresh.probabilities(image), method.probabilities(image))
    for name, module in method.inference_modules().items():
        fresh.get_submodule(name).load_state_dict(module.state_dict())
    assert torch.equal(fresh.probabilities(image), method.probabilities(image))


def check_resume(kind, **settings):
    """A fresh method with the state of a trained one has the same next loss."""
    method = build(kind, **settings)
    optimiser = torch.optim.SGD(method.parameter_groups(), lr=0.1)
    for step in range(2):
        optimiser.zero_grad()
        total(_step(method, step)).backward()
        optimiser.step()
        method.after_step(0.5)
    fresh = build(kind, seed=1, **settings)
    fresh.load_state_dict(method.state_dict())
    expected, found = _step(method, 2), _step(fresh, 2)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def _step(method, step):
    torch.manual_seed(step)  # for dropout, as the trainer does
    return method(a_batch(step=step), 0.5)
