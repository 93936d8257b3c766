"""Boxes for pasting: their sides and places."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from duoseg.model.boxes import cutmix_boxes, pasted, pasting_boxes
from duoseg.model.draws import SampleGenerator

SHAPE = (12, 9, 7)


def extents(mask):
    inside = mask.nonzero()
    return inside.min(0).values, inside.max(0).values + 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_box_comes_from_the_next_patch_or_for_a_lone_one_from_the_spare(count):
    image, label = torch.rand(count, 2, *SHAPE), torch.randint(0, 9, (count, *SHAPE))
    spare = torch.rand(1, 2, *SHAPE), torch.randint(0, 9, (1, *SHAPE))
    inside = cutmix_boxes(SampleGenerator(0, 0, range(count)), SHAPE)
    found = pasted(image, inside, spare[0]), pasted(label, inside, spare[1])
    for index in range(count):
        donors = (image[index - 1], label[index - 1]) if count > 1 else (spare[0][0], spare[1][0])
        for given, got, donor in zip(
            (image[index], label[index]), (found[0][index], found[1][index]), donors, strict=True
        ):
            box = inside[index].expand_as(given)
            assert box.any() and torch.equal(got[box], donor[box]) and torch.equal(got[~box], given[~box])


def test_a_pasting_box_has_its_share_of_each_side_and_reaches_every_place():
    masks = pasting_boxes(SampleGenerator(0, 0, range(400)), SHAPE, 2 / 3)
    starts = [set(), set(), set()]
    for mask in masks:
        low, high = extents(mask)
        assert (high - low).tolist() == [8, 6, 4] and mask.sum() == 8 * 6 * 4
        for axis, start in enumerate(low.tolist()):
            starts[axis].add(start)
    assert starts == [set(range(5)), set(range(4)), set(range(4))]


def test_a_pasting_box_of_a_thin_patch_has_a_voxel_at_least():
    (mask,) = pasting_boxes(SampleGenerator(0, 0, [0]), (6, 6, 1), 0.5)
    assert mask.sum() == 9


def test_cutmix_boxes_are_as_large_as_the_published_ones():
    found = cutmix_boxes(SampleGenerator(0, 0, range(2000)), (16, 20, 24)).double().mean().item()
    rng, shares = np.random.default_rng(0), []
    for _ in range(20_000):
        ratio, share = math.sqrt(1 - rng.beta(4, 4)), 1.0
        for length in (16, 20, 24):
            half, centre = int(length * ratio) // 2, rng.integers(int(length / 8), length)
            share *= (np.clip(centre + half, 0, length) - np.clip(centre - half, 0, length)) / length
        shares.append(share)
    assert found == pytest.approx(np.mean(shares), rel=0.05)


def test_cutmix_boxes_of_single_slices_span_the_slice():
    assert all(mask.any() for mask in cutmix_boxes(SampleGenerator(0, 0, range(20)), (16, 16, 1)))


@pytest.mark.parametrize("draw", [lambda g: pasting_boxes(g, SHAPE, 0.5), lambda g: cutmix_boxes(g, SHAPE)])
def test_a_samples_box_depends_on_its_own_stream_alone(draw):
    several = draw(SampleGenerator(3, 7, [0, 1, 2]))
    assert torch.equal(draw(SampleGenerator(3, 7, [2]))[0], several[2])
    assert several.shape == (3, *SHAPE)
