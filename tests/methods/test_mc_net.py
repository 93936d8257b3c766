"""What makes MC-Net that method: two unlike decoders of one encoder, and sharpened labels for each other."""

from __future__ import annotations

import math

import pytest
import torch
from method_cases import a_batch, build, check_prediction, check_resume, check_without_unlabelled
from torch import nn

from duoseg.methods.mc_net import McNet


def dice_loss(p, label):
    """Mean of 1 - Dice over foreground classes, over the batch."""
    losses = []
    for k in range(1, p.shape[1]):
        own, truth = p[:, k], (label == k).double()
        losses.append(1 - (2 * (own * truth).sum() + 1e-5) / ((own**2).sum() + (truth**2).sum() + 1e-5))
    return sum(losses) / len(losses)


def test_the_terms_are_the_papers_with_its_sharpening_of_one_class():
    method, batch = build(McNet), a_batch()
    terms = method(batch, 1.0)
    a, b = method.members(batch.image)

    def sharp(p):
        return p**10 / (p**10 + (1 - p) ** 10)

    torch.testing.assert_close(terms["consistency"], ((a - sharp(b)) ** 2).mean() + ((b - sharp(a)) ** 2).mean())
    torch.testing.assert_close(terms["region"], (dice_loss(a[:2], batch.label) + dice_loss(b[:2], batch.label)) / 2)
    assert terms.keys() == {"region", "consistency"}


def test_several_classes_are_sharpened_together():
    method, batch = build(McNet, 3, temperature=0.5), a_batch(3)
    a, b = method.members(batch.image)

    def sharp(p):
        return p**2 / (p**2).sum(dim=1, keepdim=True)

    terms = method(batch, 1.0)
    torch.testing.assert_close(terms["consistency"], ((a - sharp(b)) ** 2).mean() + ((b - sharp(a)) ** 2).mean())
    torch.testing.assert_close(terms["region"], (dice_loss(a[:2], batch.label) + dice_loss(b[:2], batch.label)) / 2)


def test_the_soft_label_of_a_known_voxel():
    method = build(McNet)
    logits = torch.tensor([0.45, 0.55], dtype=torch.float64).log().view(1, 2, 1, 1, 1)
    # 0.55^10 / (0.55^10 + 0.45^10) = 0.0025330 / (0.0025330 + 0.0003405)
    assert method.soft_label(logits)[0, 1].item() == pytest.approx(0.88150, abs=1e-5)


def test_gradients_also_flow_through_the_labels_as_in_the_published_code():
    method, batch = build(McNet), a_batch()
    first, second = method.network.decoders
    a, b = (torch.softmax(maps, dim=1) for maps in method.network(batch.image))

    def sharp(p):
        return p**10 / (p**10 + (1 - p) ** 10)

    weights = [*first.parameters(), *second.parameters()]
    expected = torch.autograd.grad(((a - sharp(b)) ** 2).mean() + ((b - sharp(a)) ** 2).mean(), weights)
    found = torch.autograd.grad(method(batch, 1.0)["consistency"], weights)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other)


def test_the_weight_follows_the_published_ramp_of_6000_steps():
    method, batch = build(McNet), a_batch()
    last = method(batch, 1.0)["consistency"]
    for step in (0, 149, 150, 3000, 5999):
        ramp = math.exp(-5 * (1 - (step // 150) / 40) ** 2)
        torch.testing.assert_close(method(batch, step / 6000)["consistency"], ramp * last)


def test_one_decoder_goes_up_by_transposed_convolutions_the_other_by_interpolation():
    first, second = build(McNet).network.decoders
    assert any(isinstance(module, nn.ConvTranspose3d) for module in first.modules())
    assert not any(isinstance(module, nn.ConvTranspose3d) for module in second.modules())
    assert any(isinstance(module, nn.Upsample) and module.mode == "trilinear" for module in second.modules())


def test_the_mean_of_both_decoders_predicts_or_the_first_alone():
    image = a_batch().image
    a, b = (torch.softmax(maps, dim=1) for maps in build(McNet).network(image))
    torch.testing.assert_close(build(McNet).probabilities(image), (a + b) / 2)
    torch.testing.assert_close(build(McNet, predict="first").probabilities(image), a)


def test_without_unlabelled_patches_the_decoders_still_agree_on_labelled_ones():
    assert check_without_unlabelled(McNet)["consistency"] > 0


@pytest.mark.parametrize("classes", [1, 3])
def test_it_predicts_from_its_inference_modules_alone(classes):
    check_prediction(McNet, classes)


def test_it_goes_on_from_its_state_exactly():
    check_resume(McNet)
