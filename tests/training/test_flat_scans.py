"""Scans of a single slice go the whole way: planned as slices, trained, predicted on their own grid."""

from __future__ import annotations

import json
import math

import nibabel as nib
import numpy as np
import pytest
import torch

import duoseg
from duoseg.model.augment import SampleGenerator, augment
from duoseg.planning.plan import AugmentationPlan

SIDES = (40, 36)


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """Six slices of 5 mm with a bright disc, stored with the lone axis first: four to train on, two to test."""
    folder = tmp_path_factory.mktemp("slices")
    rng = np.random.default_rng(0)
    x, y = np.indices(SIDES)
    for index in range(6):
        part = "Tr" if index < 4 else "Ts"
        centre, radius = rng.uniform(14, 22, 2), rng.uniform(6, 9)
        disc = np.hypot(x - centre[0], y - centre[1]) < radius
        image = (100 + 80 * disc + rng.normal(0, 8, SIDES)).astype(np.float32)
        for kind, voxels in ((f"images{part}", image), (f"labels{part}", disc.astype(np.uint8))):
            (folder / kind).mkdir(exist_ok=True)
            name = f"s{index}_0000.nii.gz" if kind.startswith("images") else f"s{index}.nii.gz"
            affine = np.array([[0, 0.9, 0, 0], [0, 0, 0.9, 0], [5.0, 0, 0, 0], [0, 0, 0, 1]])
            nib.save(nib.Nifti1Image(voxels[None], affine), folder / kind / name)
    names = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "disc": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps({**names, "numTraining": 4}))
    return folder


def test_a_slice_is_planned_trained_and_predicted_as_one(slices, tmp_path):
    plan = duoseg.plan(slices, steps=60, device="cpu", out=tmp_path / "plan.json")
    assert plan.patch[2] == 1 and plan.spacing == (0.9, 0.9, 5.0)
    assert all(kernel[2] == 1 for kernel in plan.network.kernels)
    assert all(stride[2] == 1 for stride in plan.network.strides)
    run = tmp_path / "run"
    duoseg.train(
        slices, run, method="supervised", plan=tmp_path / "plan.json", cache=tmp_path / "cache", device="cpu", threads=1
    )
    duoseg.predict([run], [slices / "imagesTs"], tmp_path / "masks", device="cpu", threads=1)
    for index in (4, 5):
        mask = nib.nifti1.load(tmp_path / "masks" / f"s{index}.nii.gz")
        truth = nib.nifti1.load(slices / "labelsTs" / f"s{index}.nii.gz")
        assert mask.shape == (1, *SIDES) and np.allclose(mask.affine, truth.affine)
        found, real = (np.asanyarray(volume.dataobj) > 0 for volume in (mask, truth))
        assert 2 * (found & real).sum() / (found.sum() + real.sum()) > 0.9


def test_a_slice_neither_turns_nor_bends_out_of_its_plane():
    plan = AugmentationPlan(spatial_probability=1.0, rotation_degrees=(0, 0, 20), scale=(1.0, 1.0), elastic_voxels=3)
    still = {name: 0.0 for name in type(plan).model_fields if name.endswith("_probability")}
    plan = plan.model_copy(update={**still, "spatial_probability": 1.0})
    image = torch.zeros(8, 1, 64, 64, 3)
    image[..., 1] = 1.0  # the slice, and the emptiness beside it
    for spacing in ((1.0, 1.0, 1.0), (0.5, 0.5, 8.0)):
        moved, _ = augment(
            image, None, size=(32, 32, 1), plan=plan, generator=SampleGenerator(0, 0, range(8)), spacing=spacing
        )
        assert math.isclose(float(moved.min()), 1.0, rel_tol=1e-5)
