"""Sliding windows: coverage, blending, mirroring, padding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer

from duoseg.planning.plan import WindowPlan
from duoseg.prediction import inference
from duoseg.prediction.inference import in_company, predict_slabs
from duoseg.prediction.watching import watched
from duoseg.prediction.windows import most_at_once, window_corners, window_starts, window_weight

CPU = torch.device("cpu")


def voxelwise(patches):
    """A predictor that looks at each voxel alone: wherever the windows lie, the answer must be the same."""
    p = torch.sigmoid(patches[:, :1])
    return torch.cat([1 - p, p], dim=1)


def predict(image, predictor=voxelwise, patch=(8, 8, 4), mirror=(), **window):
    return predict_slabs(
        image, predictor, classes=2, patch=patch, window=WindowPlan(**window), mirror_axes=mirror, device=CPU
    ).whole()


@pytest.mark.parametrize("shape", [(8, 8, 4), (20, 13, 9), (5, 30, 4), (3, 2, 1)])
@pytest.mark.parametrize("blending", ["gaussian", "uniform"])
def test_a_voxelwise_predictor_is_reproduced_exactly_whatever_the_windows(shape, blending):
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    result = predict(image, blending=blending)
    assert result.shape == (2, *shape)
    torch.testing.assert_close(result, voxelwise(image[None])[0], rtol=1e-5, atol=1e-6)


def test_probabilities_sum_to_one_everywhere():
    def uneven(patches):
        return torch.softmax(torch.cat([patches, patches.cumsum(2)], dim=1), dim=1)

    result = predict(torch.randn(1, 19, 17, 7), uneven)
    torch.testing.assert_close(result.sum(0), torch.ones(19, 17, 7))


def test_uniform_windows_agree_with_monais():
    def position_dependent(patches):
        ramp = torch.linspace(0, 1, patches.shape[2]).view(1, 1, -1, 1, 1)
        p = torch.sigmoid(patches) * ramp
        return torch.cat([1 - p, p], dim=1)

    image = torch.randn(1, 16, 12, 8)
    # Sizes that divide evenly, so that both place the same windows.
    oracle = SlidingWindowInferer(roi_size=(8, 8, 4), sw_batch_size=1, overlap=0.5, mode="constant")
    expected = oracle(image[None], position_dependent)[0]
    torch.testing.assert_close(predict(image, position_dependent, blending="uniform"), expected)


@pytest.mark.parametrize(("shape", "axis"), [((40, 8, 8), 0), ((8, 40, 8), 1), ((12, 9, 30), 2)])
def test_slabs_come_in_order_across_the_axis_of_most_windows_each_no_thicker_than_a_window(shape, axis):
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    slabs = predict_slabs(image, voxelwise, classes=2, patch=(8, 8, 8), window=WindowPlan(), device=CPU)
    parts = list(slabs.parts)
    assert slabs.axis == axis and len(parts) > 2
    assert all(part.shape[1 + axis] <= 8 for part in parts)
    torch.testing.assert_close(torch.cat(parts, 1 + axis), voxelwise(image[None])[0], rtol=1e-5, atol=1e-6)


def test_the_sweep_does_not_wait_for_windows_that_a_slab_does_not_need():
    asked = []
    slabs = predict_slabs(
        torch.randn(1, 80, 8, 8),
        lambda patches: asked.extend(patches) or voxelwise(patches),
        classes=2,
        patch=(8, 8, 8),
        window=WindowPlan(),
        device=CPU,
    )
    next(iter(slabs.parts))
    assert len(asked) == 1


@pytest.mark.parametrize("mirror", [(), (0, 2)])
def test_windows_of_one_value_are_predicted_once_for_each_value(mirror):
    def edged(patches):
        p = torch.sigmoid(patches + torch.linspace(-1, 1, patches.shape[2]).view(1, 1, -1, 1, 1))
        return torch.cat([1 - p, p], dim=1)

    seen = []
    image = torch.zeros(1, 40, 8, 8)
    image[:, 24:] = -2.0
    image[:, 14, 3, 3] = 1.0
    result = predict(image, lambda patches: seen.extend(patches) or edged(patches), patch=(8, 8, 8), mirror=mirror)
    flips = 2 ** len(mirror)
    even = [patch for patch in seen if patch.amin() == patch.amax()]
    assert len(even) == 2 * flips and len(seen) == (2 + 3) * flips
    # the same again with a value that hides all evenness and changes nothing
    expected = predict(image + 1e-9 * torch.randn(image.shape), edged, patch=(8, 8, 8), mirror=mirror)
    torch.testing.assert_close(result, expected)


def test_windows_are_shared_out_evenly_so_that_none_is_alone():
    batches = []
    image = torch.randn(1, 28, 24, 8, generator=torch.Generator().manual_seed(0))
    result = predict(image, lambda patches: batches.append(len(patches)) or voxelwise(patches), patch=(8, 8, 8))
    assert batches == [3, 2] * 6
    torch.testing.assert_close(result, voxelwise(image[None])[0], rtol=1e-5, atol=1e-6)


def test_a_window_alone_is_asked_about_twice_and_its_answer_is_that_of_one():
    batches = []
    asked = in_company(lambda patches: batches.append(len(patches)) or voxelwise(patches))
    for count in (1, 3):
        patches = torch.randn(count, 1, 8, 8, 8)
        assert torch.equal(asked(patches), voxelwise(patches))
    assert batches == [2, 3]


def test_whoever_watches_the_encoders_sees_a_window_alone_once():
    class Method(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.ModuleList([torch.nn.Identity()])
            self.encoder.forward = lambda patches: [patches]

        def forward(self, patches):
            return voxelwise(self.encoder(patches)[-1])

    image = torch.zeros(1, 16, 16, 8)
    image[:, 8:] = torch.randn(1, 8, 16, 8)  # one window for all that is empty, alone, and three more
    method = Method()
    with watched([method]) as seen:
        predict(image, in_company(method, seen), patch=(8, 8, 8))
    windows = [image[:, 4:12, y : y + 8] for y in (0, 4, 8)] + [image[:, 8:, y : y + 8] for y in (0, 4, 8)]
    means = [0.0, *(float(window.mean()) for window in windows)]
    np.testing.assert_allclose(seen.pooled(), [np.mean(means)], atol=1e-6)


def test_other_devices_are_given_as_many_windows_as_keep_them_busy():
    gpu = torch.device("cuda")
    assert most_at_once((112, 112, 80), gpu) == 4
    assert most_at_once((32, 48, 32), gpu) == 85
    assert most_at_once((256, 256, 256), gpu) == 1
    assert most_at_once((256, 256, 256), CPU) == most_at_once((32, 48, 32), CPU) == 4


def test_no_slab_is_larger_than_what_memory_should_hold(monkeypatch):
    image = torch.randn(1, 30, 20, 20, generator=torch.Generator().manual_seed(0))

    def parts():
        window = WindowPlan()
        slabs = predict_slabs(image, voxelwise, classes=2, patch=(16, 16, 16), window=window, device=CPU)
        return list(slabs.parts)

    whole = torch.cat(parts(), dim=1)
    monkeypatch.setattr(inference, "MOST_BYTES", 4 * 2 * 3 * 20 * 20)  # three rows
    small = parts()
    assert max(part.shape[1] for part in small) <= 3
    assert torch.equal(torch.cat(small, dim=1), whole)


def test_more_probabilities_than_memory_should_hold_lie_in_a_file(monkeypatch):
    image = torch.randn(1, 20, 13, 9, generator=torch.Generator().manual_seed(0))
    expected = predict(image)
    monkeypatch.setattr(inference, "MOST_BYTES", 100)
    mapped = []
    plain = np.memmap
    monkeypatch.setattr(np, "memmap", lambda *given, **named: mapped.append(1) or plain(*given, **named))
    assert torch.equal(predict(image), expected)
    assert mapped


def test_every_voxel_is_covered_and_no_window_leaves_the_volume():
    for shape in [(8, 8, 4), (9, 21, 5), (40, 8, 11)]:
        covered = np.zeros(shape, bool)
        for corner in itertools.product(*window_corners(shape, (8, 8, 4), WindowPlan())):
            box = tuple(slice(at, at + side) for at, side in zip(corner, (8, 8, 4), strict=True))
            assert all(s.start >= 0 and s.stop <= n for s, n in zip(box, shape, strict=True))
            covered[box] = True
        assert covered.all()


def test_windows_overlap_by_half_at_least():
    starts = window_starts(100, 32, step=0.5, stride=None)
    assert starts[0] == 0 and starts[-1] == 68
    assert max(np.diff(starts)) <= 16


def test_a_fixed_stride_is_that_of_the_published_test_code():
    # ceil((w - patch) / stride) + 1 windows at stride * i, the last one moved inside
    for size in (112, 113, 150, 202):
        count = int(np.ceil((size - 112) / 18)) + 1
        published = sorted({min(18 * i, size - 112) for i in range(count)})
        assert window_starts(size, 112, step=0.5, stride=18) == published


def test_gaussian_weights_trust_the_centre_most_and_no_voxel_too_little():
    weight = window_weight((16, 16, 8), "gaussian")
    assert weight.max() == 1 and weight.min() >= 1e-4
    assert weight[7, 7, 3] == weight.max() and weight[0, 0, 0] == weight.min()
    torch.testing.assert_close(weight, weight.flip(0, 1, 2))


def test_mirroring_averages_over_all_flips_of_the_axes_named():
    def lopsided(patches):
        p = torch.sigmoid(patches) * torch.linspace(0.2, 0.8, patches.shape[2]).view(1, 1, -1, 1, 1)
        return torch.cat([1 - p, p], dim=1)

    image = torch.randn(1, 8, 8, 4)
    plain, mirrored = predict(image, lopsided), predict(image, lopsided, mirror=(0,))
    flipped = predict(image.flip(1), lopsided).flip(1)
    torch.testing.assert_close(mirrored, (plain + flipped) / 2)


def test_a_scan_smaller_than_the_patch_is_seen_amid_zeros():
    seen = []

    def watch(patches):
        seen.append(patches.clone())
        return voxelwise(patches)

    image = torch.ones(1, 4, 4, 2)
    predict(image, watch)
    assert seen[0].shape == (1, 1, 8, 8, 4)
    assert torch.equal(seen[0][0, :, 2:6, 2:6, 1:3], image) and seen[0].sum() == image.sum()
