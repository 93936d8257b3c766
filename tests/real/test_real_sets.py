"""The public sets as they are: read right, split as published, segmented well enough by a short training."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch.nn import functional as F

import duoseg
from duoseg.planning.prepare import prepare_image, prepare_label, restore_mask
from duoseg.planning.reading import read_channels, read_label
from duoseg.scans.dataset import load_dataset
from duoseg.scores.evaluate import score_masks

PROTOCOLS = Path(__file__).parents[2] / "protocols"
SETS = {"hippocampus": (200, 60, 4), "left_atrium": (80, 20, 8)}
PROTOCOL = {"hippocampus": "hippocampus.toml", "left_atrium": "left-atrium-cpu.toml"}


@pytest.fixture(params=SETS)
def name(request):
    return request.param


@pytest.fixture
def data(name, data_folder):
    return data_folder / name


@pytest.fixture
def plan(name, data):
    return duoseg.plan(data, config=PROTOCOLS / PROTOCOL[name], device="cpu")


def test_check_finds_no_error_and_every_case(name, data, figures):
    report = duoseg.check(data)
    train, test, _ = SETS[name]
    assert report.ok, [str(problem) for problem in report.problems if problem.severity == "error"]
    assert len(report.rows) == train + test
    figures(f"check {name}: {len(report.rows)} cases, {len(report.problems)} remarks")


def test_the_labelled_cases_are_the_first_of_the_published_split(name, data):
    published = json.loads((data / "splits.json").read_text())
    labelled = SETS[name][2]
    split = load_dataset(data).split(labelled=labelled)
    assert [case.name for case in split.labelled] == published["train"][:labelled]
    assert {case.name for case in split.unlabelled} == set(published["train"][labelled:])
    assert all(case.label is None for case in split.unlabelled)


def test_a_label_survives_the_way_to_the_plan_and_back(name, data, plan, figures):
    worst = 1.0
    for case in load_dataset(data).test[:8]:
        voxels, grid = read_channels(case)
        label = read_label(case, grid)
        _, placement = prepare_image(voxels, grid, plan)
        prepared = torch.from_numpy(prepare_label(label, placement, plan)).long()
        one_hot = F.one_hot(prepared, len(plan.classes) + 1).movedim(-1, 0).float()
        back = restore_mask(one_hot, placement)
        worst = min(worst, *(v["dice"] for v in score_masks(back, label, grid.spacing, plan.classes).values()))
    assert worst == 1 if name == "hippocampus" else worst > 0.96
    figures(f"round trip {name}: worst Dice {worst:.4f}")


def test_scores_agree_with_simpleitk_on_true_masks(data, plan):
    first, second = load_dataset(data).test[:2]
    reference = np.asarray(nib.load(first.label).dataobj)
    other = np.asarray(nib.load(second.label).dataobj)
    shape = [min(a, b) for a, b in zip(reference.shape, other.shape, strict=True)]
    box = tuple(slice(n) for n in shape)
    spacing = nib.load(first.label).header.get_zooms()[:3]
    for value, ours in zip(
        plan.classes.values(),
        score_masks(other[box], reference[box], spacing, plan.classes).values(),
        strict=True,
    ):
        images = [sitk.GetImageFromArray((m[box] == value).astype(np.uint8)) for m in (reference, other)]
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        overlap.Execute(*images)
        assert ours["dice"] == pytest.approx(overlap.GetDiceCoefficient(1), abs=1e-6)
        assert ours["jaccard"] == pytest.approx(overlap.GetJaccardCoefficient(1), abs=1e-6)


@pytest.mark.parametrize("method", ["supervised", "dtml", "duo"])
def test_a_short_training_on_four_hippocampi_segments_the_holdout(method, data_folder, tmp_path, figures):
    """150 steps of 1,500: no result, but far from chance and on the scans' own grid."""
    data = data_folder / "hippocampus"
    duoseg.train(
        data,
        tmp_path / "run",
        config=PROTOCOLS / "hippocampus.toml",
        method=method,
        steps=150,
        cache=tmp_path / "cache",
        device="cpu",
    )
    dataset = load_dataset(data)
    cases = [case for case in dataset.train if case.name in dataset.holdout][:12]
    duoseg.predict([tmp_path / "run"], [case.images[0] for case in cases], tmp_path / "masks", device="cpu")
    dice = []
    for case in cases:
        mask = nib.load(tmp_path / "masks" / f"{case.name}.nii.gz")
        reference = nib.load(case.label)
        np.testing.assert_array_equal(mask.affine, nib.load(case.images[0]).affine)
        values = score_masks(np.asarray(mask.dataobj), np.asarray(reference.dataobj), (1, 1, 1), dataset.classes)
        dice.append(np.mean([value["dice"] for value in values.values()]))
    assert np.mean(dice) > 0.65
    figures(f"hippocampus, 4 labelled, 150 steps, {method}: holdout Dice {np.mean(dice):.3f}")
