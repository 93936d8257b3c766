"""The networks: shapes, refusals, and normalisation against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from duoseg.errors import InputError
from duoseg.model.networks import NetworkFactory
from duoseg.model.unet import InstanceNorm, ResidualUNet
from duoseg.model.vnet import VNet
from duoseg.planning.plan import NetworkPlan

VNET = NetworkPlan(architecture="vnet", channels=(16, 32, 64, 128, 256), strides=((2, 2, 2),) * 4, dropout=0.5)


@pytest.mark.parametrize("stem", ["full", "strided"])
@pytest.mark.parametrize("strides", [((2, 2, 2), (2, 2, 2)), ((2, 2, 1), (2, 2, 1)), ((2, 2, 2), (1, 1, 1))])
def test_every_plan_maps_a_patch_to_maps_of_the_same_size(stem, strides):
    plan = NetworkPlan(stem=stem, channels=(4, 6, 8), strides=strides)
    factory = NetworkFactory(plan, in_channels=2, classes=3, patch=(16, 24, 8))
    image = torch.randn(2, 2, 16, 24, 8)
    assert factory.region()(image).shape == (2, 4, 16, 24, 8)
    assert factory.distance()(image).shape == (2, 3, 16, 24, 8)


def test_the_v_net_has_the_published_number_of_parameters():
    # 9.4 million: the figure that the semi-supervised papers give for their V-Net (e.g. UPCoL, MC-Net: 9.44 M).
    parameters = sum(p.numel() for p in VNet(1, 2).parameters())
    assert round(parameters / 1e6, 2) == 9.45


def test_the_v_net_maps_a_patch_to_maps_of_the_same_size():
    network = NetworkFactory(
        VNET.model_copy(update={"channels": (2, 3, 4, 5, 6)}), in_channels=1, classes=1, patch=(32, 16, 16)
    )
    assert network.region()(torch.randn(2, 1, 32, 16, 16)).shape == (2, 2, 32, 16, 16)


def test_a_patch_that_does_not_fit_is_refused_with_the_sizes_that_do():
    with pytest.raises(InputError, match=r"multiples of 16x16x16.*\(48 or 64\) x \(48 or 64\) x \(32 or 48\)"):
        NetworkFactory(VNET, in_channels=1, classes=1, patch=(56, 56, 40))


def test_a_patch_that_shrinks_to_one_voxel_is_refused():
    with pytest.raises(InputError, match="single voxel"):
        NetworkFactory(VNET, in_channels=1, classes=1, patch=(16, 16, 16))


def test_a_v_net_of_another_shape_is_refused():
    with pytest.raises(InputError, match="5 levels"):
        NetworkFactory(NetworkPlan(architecture="vnet"), in_channels=1, classes=1, patch=(32, 32, 32))


def test_levels_that_do_not_add_up_are_refused():
    with pytest.raises(InputError, match="one stride fewer"):
        NetworkFactory(NetworkPlan(channels=(4, 8)), in_channels=1, classes=1, patch=(32, 32, 32))


def test_students_start_from_different_weights_and_the_same_seed_gives_the_same_pair():
    factory = NetworkFactory(
        NetworkPlan(channels=(4, 8), strides=((2, 2, 2),)), in_channels=1, classes=1, patch=(8, 8, 8)
    )

    def pair():
        torch.manual_seed(5)
        return [torch.cat([p.flatten() for p in factory.distance().parameters()]) for _ in range(2)]

    first, second = pair()
    assert not torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip((first, second), pair(), strict=True))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_instance_norm_equals_pytorchs_forward_and_backward(layout):
    image = torch.randn(3, 5, 6, 7, 8).contiguous(memory_format=layout)
    ours, theirs = InstanceNorm(5), nn.InstanceNorm3d(5, affine=True)
    for norm in (ours, theirs):
        nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
        nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(2))
    weights = torch.randn_like(image)
    results = []
    for norm in (ours, theirs):
        x = image.clone().requires_grad_()
        y = norm(x)
        (y * weights).sum().backward()
        results.append((y.detach(), x.grad, norm.weight.grad, norm.bias.grad))
    for ours_value, theirs_value in zip(*results, strict=True):
        torch.testing.assert_close(ours_value, theirs_value, rtol=1e-4, atol=1e-4)


def test_kernels_reach_along_their_axes_and_no_further():
    kernels = ((3, 3, 1), (3, 3, 1))
    network = ResidualUNet(1, 2, channels=(4, 8), strides=((2, 2, 1),), strided_stem=False, kernels=kernels)
    for norm in network.modules():  # which mixes all voxels
        if isinstance(norm, InstanceNorm):
            norm.forward = lambda x: x
    image = torch.randn(1, 1, 16, 12, 5)
    changed = image.clone()
    changed[..., 2] += 1.0
    moved = (network(image) - network(changed)).abs().amax((0, 1, 2, 3)) > 0
    assert moved.tolist() == [False, False, True, False, False]
    apart = image.clone()
    apart[:, :, 0] += 1.0
    assert bool((network(image) - network(apart))[:, :, 4].abs().max() > 0)


def test_a_slice_gives_the_same_whichever_axis_it_lies_across():
    def weights(kernel):
        torch.manual_seed(0)
        stride = tuple(2 if side == 3 else 1 for side in kernel)
        return ResidualUNet(1, 2, channels=(4, 8), strides=(stride,), strided_stem=False, kernels=(kernel,) * 2)

    image = torch.randn(2, 1, 16, 12)
    across = [weights(kernel)(image.unsqueeze(axis)).squeeze(axis) for axis, kernel in ((2, (1, 3, 3)), (4, (3, 3, 1)))]
    torch.testing.assert_close(*across, rtol=1e-4, atol=1e-5)


def test_equal_kernels_are_the_network_without_any():
    def weights(kernels):
        torch.manual_seed(0)
        network = ResidualUNet(1, 2, channels=(4, 8), strides=((2, 2, 2),), strided_stem=True, kernels=kernels)
        return network(torch.ones(1, 1, 16, 16, 16))

    assert torch.equal(weights(None), weights(((3, 3, 3), (3, 3, 3))))


def test_samples_of_a_batch_do_not_see_each_other():
    network = ResidualUNet(1, 2, channels=(4, 8), strides=((2, 2, 2),), strided_stem=True)
    image = torch.randn(3, 1, 16, 16, 16)
    torch.testing.assert_close(network(image)[1:2], network(image[1:2]), rtol=1e-4, atol=1e-5)


COMPOSED = [
    NetworkPlan(stem="full", channels=(4, 6, 8), strides=((2, 2, 2), (2, 2, 1))),
    NetworkPlan(stem="strided", channels=(4, 6, 8), strides=((2, 2, 2), (1, 1, 1))),
    NetworkPlan(stem="full", channels=(4, 6), strides=((2, 2, 1),), kernels=((3, 3, 1), (3, 3, 1))),
    VNET.model_copy(update={"channels": (2, 3, 4, 5, 6)}),
]


@pytest.mark.parametrize("plan", COMPOSED, ids=["full", "strided", "slices", "vnet"])
def test_networks_of_several_outputs_give_maps_of_the_patchs_size(plan):
    factory = NetworkFactory(plan, in_channels=2, classes=3, patch=(32, 32, 16))
    image = torch.randn(2, 2, 32, 32, 16)
    region, distance = factory.region_and_distance()(image)
    assert region.shape == (2, 4, 32, 32, 16) and distance.shape == (2, 3, 32, 32, 16)
    for network, count in (
        (factory.several_decoders(("transposed", "trilinear", "nearest")), 3),
        (factory.pyramid(4), min(4, len(plan.strides))),
    ):
        maps = network(image)
        assert [one.shape for one in maps] == [(2, 4, 32, 32, 16)] * count
        torch.stack([one.mean() for one in maps]).sum().backward()
        assert all(weight.grad is not None for weight in network.parameters())


def test_several_decoders_share_one_encoder_and_differ_in_weights():
    factory = NetworkFactory(COMPOSED[0], in_channels=1, classes=1, patch=(16, 16, 16))
    network = factory.several_decoders(("transposed", "transposed"))
    alone = sum(w.numel() for w in factory.region().parameters())
    decoder = sum(w.numel() for w in network.decoders[0].parameters())
    assert sum(w.numel() for w in network.parameters()) == alone + decoder
    first, second = network(torch.randn(1, 1, 16, 16, 16))
    assert not torch.equal(first, second)


def test_the_finest_level_of_a_pyramid_is_the_network_alone():
    factory = NetworkFactory(COMPOSED[0], in_channels=1, classes=1, patch=(16, 16, 16))
    torch.manual_seed(0)
    alone = factory.region()
    torch.manual_seed(0)
    pyramid, image = factory.pyramid(2), torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(pyramid(image)[0], alone(image))


def test_instance_norm_of_an_empty_batch_is_empty_on_every_device():
    # On accelerators PyTorch's own would refuse it; `meta` takes the same way.
    norm = InstanceNorm(5).to("meta")
    assert norm(torch.empty(0, 5, 4, 4, 4, device="meta")).shape == (0, 5, 4, 4, 4)
    assert InstanceNorm(5)(torch.empty(0, 5, 4, 4, 4)).shape == (0, 5, 4, 4, 4)


def test_another_way_of_upsampling_uses_no_transposed_convolution_anywhere():
    factory = NetworkFactory(COMPOSED[1], in_channels=1, classes=1, patch=(16, 16, 16))
    first, second = factory.several_decoders(("transposed", "trilinear")).decoders
    kinds = [{type(module) for module in decoder.modules()} for decoder in (first, second)]
    assert torch.nn.ConvTranspose3d in kinds[0] and torch.nn.ConvTranspose3d not in kinds[1]
