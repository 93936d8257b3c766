"""Scans and masks as pages show them: what is no class is not shown as one."""

from __future__ import annotations

import nibabel as nib
import numpy as np

import duoseg
from duoseg.commands.picturing import read_picture, scored_pictures
from duoseg.pictures.planes import object_box, object_centre
from duoseg.scores.output import read_scores


def write(path, voxels):
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    return path


def test_voxels_that_nobody_annotated_are_no_part_of_the_truth(tmp_path):
    image = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    mask = np.zeros(image.shape, np.uint8)
    mask[18:22, 18:22, 8:12] = 1
    truth = mask.copy()
    truth[:, :, 30:] = 255
    entry = {
        "case": "a",
        "images": [str(write(tmp_path / "a_0000.nii.gz", image))],
        "mask": "a.nii.gz",
        "classes": {"organ": 1},
    }
    write(tmp_path / "a.nii.gz", mask)
    picture = read_picture(entry, tmp_path, truth=write(tmp_path / "truth.nii.gz", truth))
    np.testing.assert_array_equal(picture.masks["truth"], picture.masks["prediction"])
    assert object_centre(picture)[2] in range(8, 12) and object_box(picture)[2].stop < 30


def test_a_scan_that_is_gone_costs_its_own_picture_alone(trained, phantoms, tmp_path, caplog):
    scans = tmp_path / "scans"
    scans.mkdir()
    for file in (phantoms / "imagesTs").iterdir():
        (scans / file.name).write_bytes(file.read_bytes())
    duoseg.predict(trained, scans, tmp_path / "masks", device="cpu", threads=1)
    duoseg.evaluate(tmp_path / "masks", phantoms / "labelsTs", json=tmp_path / "scores.json")
    scores = read_scores(tmp_path / "scores.json")
    assert len(scored_pictures(scores, tmp_path / "masks", phantoms / "labelsTs")) == 2
    gone = min(scans.iterdir())
    gone.unlink()
    assert len(scored_pictures(scores, tmp_path / "masks", phantoms / "labelsTs")) == 1
    assert gone.name in caplog.text
    labels = tmp_path / "labels"
    labels.mkdir()
    (kept,) = [
        file for file in (phantoms / "labelsTs").iterdir() if gone.name.removesuffix("_0000.nii.gz") not in file.name
    ]
    (labels / kept.name).write_bytes(kept.read_bytes())
    page = duoseg.report(tmp_path / "masks", reference=labels, scores=tmp_path / "scores.json")
    assert page.is_file()
