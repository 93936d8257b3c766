from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from duoseg.errors import InputError
from duoseg.planning.reading import read_images, read_label
from duoseg.scans.cases import Case
from duoseg.scans.formats import write
from duoseg.scans.scan import Grid

AFFINE = np.array([[0.9, 0.1, 0, 3], [-0.1, 0.9, 0, -5], [0, 0, 2.0, 7], [0, 0, 0, 1.0]])
TURN = np.array([[2, 1], [0, -1], [1, 1]])


def save(path: Path, voxels: np.ndarray, turn: np.ndarray | None = None) -> Path:
    image = nib.Nifti1Image(voxels, AFFINE)
    nib.save(image if turn is None else image.as_reoriented(turn), path)
    return path


def voxels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 99, (4, 5, 6)).astype(np.float32)


def test_channels_and_labels_stored_in_another_axis_order_are_brought_to_that_of_the_first_image(tmp_path):
    label = (voxels(2) > 50).astype(np.uint8)
    images = save(tmp_path / "a_0000.nii", voxels(0)), save(tmp_path / "a_0001.nii", voxels(1), TURN)
    case = Case("a", images, save(tmp_path / "label.nii", label, TURN), "a")
    read = read_images(case)
    np.testing.assert_array_equal(read.voxels, np.stack([voxels(0), voxels(1)]))
    np.testing.assert_array_equal(read_label(case, read.grid), label)
    (note,) = read.notes
    assert note.startswith("a_0001.nii: holds the same points in the world as a_0000.nii")
    assert note.endswith("it is reordered.")


def test_a_mirrored_label_is_refused_with_the_distance(tmp_path):
    image = save(tmp_path / "a.nii", voxels())
    mirrored = np.diag([-1.0, 1, 1, 1]) @ AFFINE
    nib.save(nib.Nifti1Image(voxels(), mirrored), tmp_path / "label.nii")
    case = Case("a", (image,), tmp_path / "label.nii", "a")
    with pytest.raises(InputError, match=r"label\.nii: not on the grid.*lie up to [0-9.]+ mm"):
        read_label(case, read_images(case).grid)


def test_voxels_that_are_not_finite_become_the_lowest_finite_value_with_a_note(tmp_path):
    image = voxels() - 60
    lowest = image.min()
    image[0, 0, :3] = np.nan, np.inf, -np.inf
    read = read_images(Case("a", (save(tmp_path / "a.nii", image),), None, "a"))
    np.testing.assert_array_equal(read.voxels[0, 0, 0, :3], lowest)
    np.testing.assert_array_equal(read.voxels[0, 1:], image[1:])
    assert "3 of 120 voxels" in read.notes[0]


def test_an_image_of_nan_alone_is_refused(tmp_path):
    case = Case("a", (save(tmp_path / "a.nii", voxels() * np.nan),), None, "a")
    with pytest.raises(InputError, match=r"a\.nii: all voxels are NaN"):
        read_images(case)


def test_segments_that_slicer_stored_without_their_empty_rim_get_it_back(tmp_path):
    image = save(tmp_path / "a.nii", np.ones((7, 8, 9), np.float32))
    whole = np.zeros((7, 8, 9), np.uint8)
    whole[2:5, 3:7, 1:4] = np.random.default_rng(0).integers(0, 2, (3, 4, 3))
    part = AFFINE.copy()
    part[:3, 3] += AFFINE[:3, :3] @ (2, 3, 1)
    label = tmp_path / "a.seg.nrrd"
    write(label, whole[2:5, 3:7, 1:4], grid=Grid((3, 4, 3), part), segments={"organ": 1})
    case = Case("a", (image,), label, "a")
    np.testing.assert_array_equal(read_label(case, read_images(case).grid), whole)


def test_a_mask_of_another_shape_that_is_no_segmentation_is_refused_although_it_lies_inside(tmp_path):
    image = save(tmp_path / "a.nii", np.ones((7, 8, 9), np.float32))
    label = save(tmp_path / "b.nii", np.ones((3, 4, 3), np.uint8))
    case = Case("a", (image,), label, "a")
    with pytest.raises(InputError, match="3 x 4 x 3 is not the 7 x 8 x 9"):
        read_label(case, read_images(case).grid)
