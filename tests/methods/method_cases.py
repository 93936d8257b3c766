"""A tiny network and batch for the tests of methods."""

from __future__ import annotations

import torch

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


def build(kind, classes=1, dropout=0.0, seed=0, **settings):
    """A method of double precision, always with the same weights for one seed."""
    torch.manual_seed(seed)
    return kind(networks(classes, dropout), kind.Settings(**settings)).double()


def total(terms):
    return torch.stack(list(terms.values())).sum()


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
