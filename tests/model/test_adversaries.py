"""Adversaries take any patch, and judge without learning."""

from __future__ import annotations

import pytest
import torch

from duoseg.model.adversaries import ConfidenceNetwork, ShapeDiscriminator, judge

PATCHES = [(8, 8, 8), (32, 48, 32), (56, 56, 40), (17, 9, 5), (32, 40, 1), (2, 3, 1)]


@pytest.mark.parametrize("patch", PATCHES)
def test_the_shape_discriminator_takes_any_patch(patch):
    adversary = ShapeDiscriminator(3, 2, width=4, patch=patch)
    found = adversary(torch.randn(2, 3, *patch), torch.randn(2, 2, *patch))
    assert found.shape == (2,) and found.isfinite().all()
    assert adversary(torch.zeros(0, 3, *patch), torch.zeros(0, 2, *patch)).shape == (0,)


@pytest.mark.parametrize("patch", PATCHES)
def test_the_confidence_network_speaks_of_every_voxel(patch):
    adversary = ConfidenceNetwork(4, width=4, patch=patch)
    found = adversary(torch.randn(2, 4, *patch))
    assert found.shape == (2, 1, *patch) and found.isfinite().all()
    assert adversary(torch.zeros(0, 4, *patch)).shape == (0, 1, *patch)


def test_both_are_as_wide_as_published_beside_a_v_net_of_16():
    shape = ShapeDiscriminator(1, 1, width=64, patch=(112, 112, 80))
    assert [layer.out_channels for layer in (shape.maps, shape.image, *shape.down)] == [64, 64, 128, 256, 512]
    confidence = ConfidenceNetwork(2, width=64, patch=(112, 112, 80))
    assert [layer.out_channels for layer in confidence.down] == [64, 128, 256]
    assert {layer.kernel_size for layer in (*shape.down, *confidence.down)} == {(4, 4, 4)}


def test_a_judge_says_the_same_as_the_adversary_and_learns_nothing():
    torch.manual_seed(0)
    adversary = ShapeDiscriminator(1, 1, width=4, patch=(8, 8, 8))
    maps, image = torch.randn(2, 1, 8, 8, 8, requires_grad=True), torch.randn(2, 1, 8, 8, 8)
    verdict = judge(adversary, maps, image, dropout=False)
    assert torch.equal(verdict, adversary(maps, image, dropout=False))
    verdict.sum().backward()
    assert maps.grad is not None and maps.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in adversary.parameters())


def test_dropout_is_for_learning_alone():
    torch.manual_seed(0)
    adversary = ShapeDiscriminator(1, 1, width=4, patch=(8, 8, 8))
    maps, image = torch.randn(2, 1, 8, 8, 8), torch.randn(2, 1, 8, 8, 8)
    assert not torch.equal(adversary(maps, image), adversary(maps, image))
    assert torch.equal(adversary.eval()(maps, image), adversary.train()(maps, image, dropout=False))
