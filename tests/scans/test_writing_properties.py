"""What is written in any format lies where it was meant to, by readers that are not ours."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from duoseg.scans.formats import read_grid, read_scan, write, write_like
from duoseg.scans.scan import Grid

LPS = np.diag([-1.0, -1.0, 1.0])
ENDINGS = (".nii", ".nii.gz", ".hdr", ".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd")


@st.composite
def grids(draw) -> Grid:
    """Any rotation, handedness, axis order, spacing, origin and small shape."""
    turn = Rotation.from_rotvec([draw(st.floats(-3.1, 3.1)) for _ in range(3)]).as_matrix()
    sides = [draw(st.floats(0.05, 12.0)) * draw(st.sampled_from((-1.0, 1.0))) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = (turn * sides)[:, draw(st.permutations(range(3)))]
    affine[:3, 3] = [draw(st.floats(-800, 800)) for _ in range(3)]
    return Grid((draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.integers(1, 7))), affine)


@st.composite
def volumes(draw, shape) -> np.ndarray:
    dtype = draw(st.sampled_from(("bool", "uint8", "int8", "int16", "uint16", "int32", "float32")))
    values = np.random.default_rng(draw(st.integers(0, 999))).integers(0, 2 if dtype == "bool" else 120, shape)
    return values.astype(dtype)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=15)
@given(data=st.data())
def test_other_readers_find_every_voxel_where_it_was_meant_to_be(ending, data) -> None:
    grid = data.draw(grids())
    voxels = data.draw(volumes(grid.shape))
    with TemporaryDirectory() as name:
        path = Path(name) / f"a{ending}"
        write(path, voxels, grid=grid, segments={"organ": 1} if ending == ".seg.nrrd" else None)
        image = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, voxels)
        corners = [[0, 0, 0], [size - 1 for size in grid.shape], [grid.shape[0] - 1, 0, 0], [0, grid.shape[1] - 1, 0]]
        for index in corners:
            world = LPS @ image.TransformIndexToPhysicalPoint(index)
            np.testing.assert_allclose(world, grid.affine[:3] @ [*index, 1], atol=1e-3)
        if ending in (".nii", ".nii.gz", ".hdr"):
            other = nib.load(path)
            np.testing.assert_array_equal(np.asarray(other.dataobj), voxels)
            np.testing.assert_allclose(other.affine, grid.affine, atol=1e-3)
        again = read_scan(path)
        np.testing.assert_array_equal(again.voxels, voxels)
        np.testing.assert_allclose(again.grid.corners(), grid.corners(), atol=1e-3)


@settings(max_examples=25)
@given(data=st.data(), source=st.sampled_from(ENDINGS), target=st.sampled_from(ENDINGS))
def test_a_mask_in_any_format_lies_on_the_grid_of_a_scan_in_any_other(data, source, target) -> None:
    grid = data.draw(grids())
    mask = data.draw(volumes(grid.shape))
    with TemporaryDirectory() as name:
        scan, path = Path(name) / f"scan{source}", Path(name) / f"mask{target}"
        write(scan, np.zeros(grid.shape, np.int16), grid=grid)
        write_like(path, mask, like=scan)
        assert read_grid(scan).matches(read_grid(path))
        np.testing.assert_array_equal(read_scan(path).voxels, mask)
