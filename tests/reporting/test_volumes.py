"""Volumes in a page: the right voxels in the right place, within a limit."""

from __future__ import annotations

import base64
import gzip
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from duoseg.pictures.planes import CasePicture
from duoseg.reporting import page
from duoseg.reporting.page import render
from duoseg.reporting.records import RunSummary
from duoseg.reporting.volumes import class_values, inlined

RUN = RunSummary("a", "duo", 1, 1.0)
SPACING = (1.0, 1.5, 2.0)


def a_picture(side=60, *, noise=0.0) -> CasePicture:
    """A body in the middle of a scan whose intensities rise along x, predicted one voxel too far to the front."""
    truth = np.zeros((side, side, side), int)
    middle = slice(side // 2 - 5, side // 2 + 5)
    truth[middle, middle, middle] = 2
    image = np.broadcast_to(np.arange(side, dtype=float)[:, None, None], truth.shape).copy()
    image += noise * np.random.default_rng(0).normal(size=truth.shape)
    return CasePicture("a", 0.8, image, truth, np.roll(truth, 1, axis=1), SPACING)


def unpacked(text: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


def test_masks_are_those_of_the_scan_cropped_around_the_object():
    picture = a_picture()
    found = {name: unpacked(text) for name, text in inlined(picture, [2]).items()}
    assert set(found) == {"image", "truth", "prediction"}
    for volume in found.values():
        assert volume.get_data_dtype() == np.uint8
        np.testing.assert_allclose(volume.header.get_zooms(), SPACING)
        assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")
        assert volume.shape == (46, 35, 28)  # both bodies and 18 mm around them
    for name in ("truth", "prediction"):
        mask = np.asarray(found[name].dataobj)
        assert (mask == 1).sum() == 1000 and set(np.unique(mask)) == {0, 1}
    moved = [np.argwhere(np.asarray(found[name].dataobj)).mean(axis=0) for name in ("prediction", "truth")]
    np.testing.assert_allclose(moved[0] - moved[1], (0, 1, 0))
    grey = np.asarray(found["image"].dataobj).astype(int)
    assert (np.diff(grey[:, 0, 0]) >= 3).all()  # 256 greys over 60 voxels


def test_what_is_too_large_becomes_coarser_in_the_same_place():
    picture = a_picture(noise=30.0)
    whole = inlined(picture, [2])
    limit = sum(map(len, whole.values())) // 3
    small = inlined(picture, [2], most_bytes=limit)
    assert sum(map(len, small.values())) <= limit
    first, second = unpacked(whole["truth"]), unpacked(small["truth"])
    extents = [np.array(volume.shape) * volume.header.get_zooms() for volume in (first, second)]
    np.testing.assert_allclose(extents[0], extents[1], rtol=0.05)
    volumes = [(np.asarray(v.dataobj) > 0).sum() * np.prod(v.header.get_zooms()) for v in (first, second)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.15)
    assert inlined(picture, [2], most_bytes=1).keys() == whole.keys()


def test_a_scan_of_any_size_stays_within_the_limit():
    noise = np.random.default_rng(0).normal(size=(120, 120, 120))
    picture = CasePicture("a", None, noise, None, np.ones(noise.shape, int), SPACING, uncertainty=abs(noise) / 9)
    for limit in (20_000, 200_000):
        found = inlined(picture, [1], most_bytes=limit)
        assert limit / 4 < sum(map(len, found.values())) <= limit


def test_any_values_and_the_thinnest_scan_can_be_shown():
    mask = np.zeros((40, 40, 1), int)
    mask[5:20, 5:20], mask[20:30, 5:20], mask[30:, 5:20] = 256, 500, 850
    image = np.random.default_rng(0).normal(size=mask.shape)
    picture = CasePicture("a", None, image, None, mask, SPACING)
    found = inlined(picture, class_values([picture]), most_bytes=2_000)
    volume = unpacked(found["prediction"])
    assert set(np.unique(volume.dataobj)) == {0, 1, 2, 3} and volume.shape[2] == 1
    assert volume.header.get_zooms()[2] == SPACING[2]


def test_a_class_has_the_same_shade_in_every_mask_also_where_others_are_missing():
    picture = a_picture()
    assert picture.truth is not None
    other = replace(picture, truth=picture.truth // 2, prediction=3 * (picture.prediction // 2))
    values = class_values([picture, other])
    assert values == [1, 2, 3]
    shades = [
        np.unique(unpacked(inlined(one, values)[name]).dataobj).tolist()
        for one in (picture, other)
        for name in ("truth", "prediction")
    ]
    assert shades == [[0, 2], [0, 2], [0, 1], [0, 3]]


def test_a_page_has_a_viewer_only_where_there_is_one(monkeypatch):
    pictures = [("best", a_picture()), ("again", a_picture()), ("worst", replace(a_picture(), case="other"))]
    monkeypatch.setattr(page, "viewer_script", lambda: None)
    without = render(title="t", runs=[RUN], pictures=pictures)
    assert "make viewer" in without and "<canvas" not in without
    monkeypatch.setattr(page, "viewer_script", lambda: "const niivue = 1;")
    shown = render(title="t", runs=[RUN], pictures=pictures)
    assert "make viewer" not in shown and "<canvas" in shown and "const niivue = 1;" in shown
    for number in (0, 1):
        for name in ("image", "truth", "prediction"):
            assert f'id="volume-{number}-{name}"' in shown
    assert 'id="volume-2-image"' not in shown  # of two pictures of one scan the viewer has the first
    assert "<canvas" not in render(title="t", runs=[RUN])
