"""Phantoms: reproducible, varied, and written as a raw data set in which unlabelled means no file."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from duoseg.errors import InputError
from duoseg.scans.phantoms import make_phantom, write_phantom_dataset

SMALL = {"shape": (28, 28, 16), "spacing": (2.4, 2.4, 4.0)}


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not():
    first, again, other = (make_phantom(seed, **SMALL) for seed in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        assert one.tobytes() == two.tobytes()
    assert first[0].tobytes() != other[0].tobytes()
    assert first[1].tobytes() != other[1].tobytes()


def test_every_class_is_present_and_the_atrium_is_one_piece_of_plausible_volume():
    for seed in range(3):
        image, label, affine = make_phantom(seed, classes=3, channels=2)
        assert image.shape == (2, 56, 56, 32)
        assert image.dtype == np.int16
        assert label.shape == (56, 56, 32)
        assert set(np.unique(label)) == {0, 1, 2, 3}
        pieces, count = ndimage.label(label == 1)
        sizes = np.bincount(pieces.ravel())[1:]
        assert count >= 1
        assert sizes.max() > 0.97 * sizes.sum()
        millilitres = sizes.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000
        assert 7 < millilitres < 40


def test_affine_is_oblique_and_has_the_spacing_asked_for():
    _, _, affine = make_phantom(0, shape=(28, 30, 16), spacing=(2.0, 2.1, 4.0))
    assert np.allclose(np.linalg.norm(affine[:3, :3], axis=0), (2.0, 2.1, 4.0))
    assert np.count_nonzero(np.abs(affine[:3, :3]) > 1e-3) > 3
    assert nib.aff2axcodes(affine) == ("R", "A", "S")


@pytest.mark.parametrize("orientation", ["LPS", "SRA", "ASL"])
def test_another_axis_order_is_the_same_subject_in_the_world(orientation):
    image, label, affine = make_phantom(5, **SMALL)
    turned, turned_label, turned_affine = make_phantom(5, **SMALL, orientation=orientation)
    assert nib.aff2axcodes(turned_affine) == tuple(orientation)
    back = nib.as_closest_canonical(nib.Nifti1Image(turned[0], turned_affine))
    assert np.array_equal(np.asarray(back.dataobj), image[0])
    assert np.allclose(back.affine, affine)
    where = np.argwhere(label == 1).mean(0) @ affine[:3, :3].T + affine[:3, 3]
    there = np.argwhere(turned_label == 1).mean(0) @ turned_affine[:3, :3].T + turned_affine[:3, 3]
    assert np.allclose(where, there)


def test_a_second_channel_or_class_leaves_the_first_as_it_is():
    plain, label, _ = make_phantom(1, **SMALL)
    double, labels, _ = make_phantom(1, **SMALL, classes=3, channels=2)
    assert np.array_equal(plain[0], double[0])
    assert np.array_equal(label == 1, labels == 1)


def test_intensity_alone_does_not_find_the_atrium():
    image, label, _ = make_phantom(2)
    smooth = ndimage.gaussian_filter(image[0].astype(float), 1)
    best = 0.0
    for threshold in np.linspace(smooth.min(), smooth.max(), 40):
        guess = smooth > threshold
        best = max(best, 2 * np.sum(guess & (label == 1)) / (guess.sum() + (label == 1).sum()))
    assert 0.2 < best < 0.75


def test_dataset_has_label_files_for_the_labelled_and_test_scans_only(tmp_path):
    write_phantom_dataset(
        tmp_path, subjects=5, labelled=2, test=1, size=(20, 20, 12), spacing=(3.4, 3.4, 5.4), channels=2
    )
    splits = json.loads((tmp_path / "splits.json").read_text())
    description = json.loads((tmp_path / "dataset.json").read_text())

    def names(part: str) -> set[str]:
        return {path.name for path in (tmp_path / part).iterdir()}

    assert len(splits["train"]) == 5
    assert names("labelsTr") == {f"{case}.nii.gz" for case in splits["train"][:2]}
    assert names("imagesTr") == {f"{case}_000{c}.nii.gz" for case in splits["train"] for c in (0, 1)}
    assert names("labelsTs") == {f"{case}.nii.gz" for case in splits["test"]}
    assert description["labels"] == {"background": 0, "atrium": 1}
    assert len(description["channel_names"]) == 2
    for case in splits["train"][:2]:
        image = nib.Nifti1Image.from_filename(tmp_path / "imagesTr" / f"{case}_0000.nii.gz")
        label = nib.Nifti1Image.from_filename(tmp_path / "labelsTr" / f"{case}.nii.gz")
        assert image.shape == label.shape
        assert np.array_equal(image.affine, label.affine)


def test_dataset_is_reproducible_to_the_byte(tmp_path):
    for name in ("one", "two"):
        write_phantom_dataset(tmp_path / name, subjects=2, labelled=1, test=0, size=(16, 16, 12), spacing=(4, 4, 5))
    for first in sorted((tmp_path / "one").rglob("*.*")):
        second = tmp_path / "two" / first.relative_to(tmp_path / "one")
        assert first.read_bytes() == second.read_bytes(), first.name


def test_impossible_requests_are_refused(tmp_path):
    with pytest.raises(InputError, match="labelled"):
        write_phantom_dataset(tmp_path, subjects=2, labelled=3)
    with pytest.raises(InputError, match="classes"):
        make_phantom(0, classes=4)
    with pytest.raises(InputError, match="XYZ"):
        make_phantom(0, **SMALL, orientation="XYZ")
