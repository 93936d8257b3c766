"""What makes MC-Net that method: two unlike decoders of one encoder, and sharpened labels for each other."""

from __future__ import annotations

import pytest
import torch
from method_cases import (
    a_batch,
    build,
    check_prediction,
    check_ramp,
    check_resume,
    check_without_unlabelled,
    dice_by_hand,
)
from torch import nn

from duoseg.methods.mc_net import McNet


def both_dice(a, b, label):
    return (dice_by_hand(a[: len(label), 1:], label) + dice_by_hand(b[: len(label), 1:], label)) / 2


def test_the_terms_are_the_papers_with_its_sharpening_of_one_class():
    method, batch = build(McNet), a_batch()
    terms = method(batch, 1.0)
    a, b = method.members(batch.image)

    def sharp(p):
        return p**10 / (p**10 + (1 - p) ** 10)

    torch.testing.assert_close(terms["consistency"], ((a - sharp(b)) ** 2).mean() + ((b - sharp(a)) ** 2).mean())
    torch.testing.assert_close(terms["region"], both_dice(a, b, batch.label))
    assert terms.keys() == {"region", "consistency"}


def test_several_classes_are_sharpened_together():
    method, batch = build(McNet, 3, temperature=0.5), a_batch(3)
    a, b = method.members(batch.image)

    def sharp(p):
        return p**2 / (p**2).sum(dim=1, keepdim=True)

    terms = method(batch, 1.0)
    torch.testing.assert_close(terms["consistency"], ((a - sharp(b)) ** 2).mean() + ((b - sharp(a)) ** 2).mean())
    torch.testing.assert_close(terms["region"], both_dice(a, b, batch.label))


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
    check_ramp(build(McNet), "consistency")


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
