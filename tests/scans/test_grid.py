"""Grids: where voxels lie, and whether two grids are the same place."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from duoseg.scans.scan import Grid

SHAPE = (5, 6, 7)


def oblique(spacing=(0.7, 1.1, 3.0), angles=(10, -20, 15), origin=(-30.0, 12.0, 5.0)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = origin
    return affine


def test_spacing_orientation_and_volume_are_nibabels():
    affine = oblique()[:, [2, 0, 1, 3]] * [1, -1, 1, 1]
    grid = Grid(SHAPE, affine)
    assert grid.spacing == pytest.approx(nib.affines.voxel_sizes(affine))
    assert grid.orientation == "".join(nib.aff2axcodes(affine))
    assert grid.voxel_volume_ml == pytest.approx(0.7 * 1.1 * 3.0 / 1000)


def test_corners_are_the_centres_of_the_corner_voxels():
    affine = oblique()
    index = list(itertools.product((0, 4), (0, 5), (0, 6)))
    np.testing.assert_allclose(Grid(SHAPE, affine).corners(), apply_affine(affine, index), atol=1e-12)


def test_the_affine_cannot_be_changed_from_outside():
    affine = np.eye(4)
    grid = Grid(SHAPE, affine)
    affine[0, 0] = 9
    assert grid.spacing == (1, 1, 1)
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 2


@settings(max_examples=50, deadline=None)
@given(
    order=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([1, -1])] * 3),
    angles=st.tuples(*[st.floats(-25, 25)] * 3),
)
def test_canonical_order_is_that_of_nibabels_as_closest_canonical(order, signs, angles):
    affine = oblique(angles=angles)[:, [*order, 3]] * [*signs, 1]
    voxels = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    grid = Grid(SHAPE, affine)
    permutation, flips = grid.canonical()
    ours = np.flip(voxels.transpose(permutation), tuple(axis for axis in range(3) if flips[axis]))
    theirs = nib.as_closest_canonical(nib.Nifti1Image(voxels.astype(np.int32), affine))
    np.testing.assert_array_equal(ours, np.asarray(theirs.dataobj))
    np.testing.assert_allclose(grid.reordered((permutation, flips)).affine, theirs.affine, atol=1e-9)
    difference = Grid(theirs.shape, theirs.affine).difference(grid)
    assert difference.reordered or Grid(theirs.shape, theirs.affine).matches(grid)


def test_the_same_points_in_another_axis_order_are_told_from_another_place():
    grid = Grid(SHAPE, oblique())
    other = grid.reordered(((2, 0, 1), (True, False, True)))
    assert not grid.matches(other)
    assert grid.difference(other).reordered
    moved = other.affine.copy()
    moved[0, 3] += 2
    assert not grid.difference(Grid(other.shape, moved)).reordered


def test_a_box_of_the_same_corners_but_other_voxels_is_not_a_reordering():
    fine_x = Grid((21, 11, 11), np.diag([1.0, 2.0, 2.0, 1.0]))
    fine_y = Grid((11, 21, 11), np.diag([2.0, 1.0, 2.0, 1.0]))
    assert not fine_x.difference(fine_y).reordered


@pytest.mark.parametrize(("shift", "same"), [(0.009, True), (0.02, True), (0.04, False)])
def test_grids_match_up_to_one_percent_of_the_smallest_voxel_side(shift, same):
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    moved = affine.copy()
    moved[1, 3] = shift
    assert Grid(SHAPE, affine).matches(Grid(SHAPE, moved)) is same
    assert Grid(SHAPE, affine).difference(Grid(SHAPE, moved)).corner_mm == pytest.approx(shift)


def test_the_distance_is_that_of_the_worst_corner_in_mm_and_voxels():
    stretched = Grid(SHAPE, np.diag([1.0, 1.0, 1.5, 1.0]))
    difference = Grid(SHAPE, np.diag([1.0, 1.0, 1.0, 1.0])).difference(stretched)
    assert difference.corner_mm == pytest.approx(3.0)
    assert difference.corner_voxels == pytest.approx(3.0)
    assert difference.same_shape


def test_voxels_of_microns_do_not_match_when_they_are_voxels_apart():
    fine = np.diag([0.002, 0.002, 0.002, 1.0])
    shifted = fine.copy()
    shifted[0, 3] = 0.0095
    assert not Grid((5, 5, 5), fine).matches(Grid((5, 5, 5), shifted))
