"""Patches: where they lie, what surrounds them, and that a step's patches depend on the step alone."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from duoseg.planning.plan import AugmentationPlan, BatchPlan, Normalisation, Plan
from duoseg.training.patches import PatchSampler, RawBatch, ReadAhead, margin


@dataclass
class Volume:
    """A scan in memory whose voxels tell where they are: x + 100 y + 10000 z + 1."""

    shape: tuple[int, int, int]
    offset: int = 0

    def __post_init__(self):
        x, y, z = np.indices(self.shape)
        self.image = (x + 100 * y + 10000 * z + 1 + self.offset).astype(np.float32)[None]
        self.label = np.zeros(self.shape, np.int8)
        self.label[tuple(side - 1 for side in self.shape)] = 1

    @property
    def foreground(self):
        return (np.argwhere(self.label == 1).astype(np.int32),)

    def read_image(self, box):
        return self.image[(slice(None), *box)]

    def read_label(self, box):
        return self.label[box]


def a_plan(patch=(8, 8, 4), spatial=0.0, **batch):
    return Plan(
        channels=("mri",),
        classes={"organ": 1},
        spacing=(1, 1, 1),
        patch=patch,
        normalisation=(Normalisation(channel="mri", scheme="zscore"),),
        augmentation=AugmentationPlan(spatial_probability=spatial),
        batch=BatchPlan(**batch),
        steps=10,
    )


def test_labelled_patches_come_first_and_unlabelled_ones_have_no_label():
    sampler = PatchSampler([Volume((20, 20, 10))], [Volume((20, 20, 10), offset=500_000)], a_plan(), seed=0)
    batch = sampler.batch(0, "mixed")
    assert batch.image.shape == (4, 1, 8, 8, 4) and batch.label.shape == (2, 8, 8, 4)
    assert (batch.image[:2] < 500_000).all() and (batch.image[2:] > 500_000).all()


def test_a_labelled_batch_is_as_large_and_holds_labelled_scans_alone():
    sampler = PatchSampler([Volume((20, 20, 10))], [Volume((20, 20, 10), offset=500_000)], a_plan(), seed=0)
    batch = sampler.batch(0, "labelled")
    assert len(batch.image) == len(batch.label) == 4
    assert (batch.image < 500_000).all()


def test_an_image_batch_draws_from_all_scans_and_has_no_labels():
    sampler = PatchSampler([Volume((20, 20, 10))], [Volume((20, 20, 10), offset=500_000)], a_plan(), seed=0)
    batches = [sampler.batch(step, "images") for step in range(8)]
    assert all(len(batch.label) == 0 for batch in batches)
    images = torch.cat([batch.image for batch in batches])
    assert (images < 500_000).any() and (images > 500_000).any()


def test_image_and_label_are_cut_at_the_same_place():
    volume = Volume((20, 20, 10))
    volume.label = (volume.image[0].astype(np.int64) % 2).astype(np.int8)
    batch = PatchSampler([volume], [], a_plan(), seed=1).batch(3, "labelled")
    assert torch.equal(batch.image[:, 0].long() % 2, batch.label.long())


def test_a_step_gives_the_same_patches_in_any_order_and_other_steps_and_seeds_others():
    def sampler(seed):
        return PatchSampler([Volume((40, 40, 20))], [Volume((40, 40, 20))], a_plan(), seed=seed)

    forwards = [sampler(0).batch(step, "mixed").image for step in range(4)]
    backwards = [sampler(0).batch(step, "mixed").image for step in reversed(range(4))]
    assert all(torch.equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))
    assert not torch.equal(forwards[0], forwards[1])
    assert not torch.equal(forwards[0], sampler(1).batch(0, "mixed").image)


def test_foreground_is_in_the_patch_as_often_as_the_plan_says():
    # One foreground voxel in the last corner of a large scan: chance alone would hardly ever meet it.
    sampler = PatchSampler([Volume((60, 60, 30))], [], a_plan(foreground_share=0.5), seed=0)
    hits = [(label == 1).any().item() for step in range(50) for label in sampler.batch(step, "labelled").label]
    assert 0.4 < np.mean(hits) < 0.6


@pytest.mark.parametrize("side", [1, 2, 3, 4, 8])
def test_thin_patches_show_the_foreground_that_they_are_drawn_for(side):
    volume = Volume((20, 20, 20))
    volume.label[:] = 0
    volume.label[10, 10, 10] = 1
    sampler = PatchSampler([volume], [], a_plan(patch=(8, 8, side), foreground_share=1.0), seed=0)
    labels = torch.cat([sampler.batch(step, "labelled").label for step in range(50)])
    assert (labels == 1).flatten(1).any(dim=1).all()
    if side > 1:
        assert len({int(place) for place in (labels == 1).nonzero()[:, 3]}) > 1


def test_a_scan_smaller_than_the_patch_sits_in_its_middle_amid_unknown():
    volume = Volume((4, 4, 2))
    batch = PatchSampler([volume], [], a_plan(), seed=0).batch(0, "labelled")
    assert torch.equal(batch.image[0, 0, 2:6, 2:6, 1:3], torch.from_numpy(volume.image[0]))
    assert batch.image[0].count_nonzero() == volume.image.size
    assert (batch.label[0] == -1).sum() == 8 * 8 * 4 - 32


def test_a_margin_is_read_only_where_something_is_rotated():
    assert margin((64, 64, 48), AugmentationPlan(spatial_probability=0.5)) == (7, 7, 5)
    assert margin((64, 64, 48), AugmentationPlan(spatial_probability=0)) == (0, 0, 0)
    batch = PatchSampler([Volume((40, 40, 20))], [], a_plan(spatial=0.5), seed=0).batch(0, "labelled")
    assert batch.image.shape[2:] == (10, 10, 6)


@pytest.mark.parametrize("threads", [1, 3])
def test_reading_ahead_keeps_the_order_and_counts_the_waiting(threads):
    def slow(step):
        time.sleep(0.01 * (1 + step % 3))  # a later one may be there first
        return RawBatch(torch.tensor([step]), torch.empty(0), [0])

    reader = ReadAhead(slow, range(3, 12), threads=threads)
    assert [int(batch.image) for batch in reader] == list(range(3, 12))
    assert reader.waited > 0


def test_an_error_while_reading_ahead_reaches_the_training():
    def broken(step):
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        list(ReadAhead(broken, range(3)))
