"""A trained model and one array: what the volume of its probabilities asks of memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import duoseg
from duoseg.prediction import inference, model
from duoseg.scans.dataset import load_dataset
from duoseg.scans.formats import read_scan
from duoseg.scans.scan import Grid

TILT = np.array([[1, 0, 0, 0], [0, 1, 0.2, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def test_a_volume_of_microns_is_no_zero(trained, phantoms):
    scan = read_scan(load_dataset(phantoms).test[0].images[0])
    prediction = duoseg.load(trained, device="cpu").predict(scan.voxels, scan.grid)
    tiny = replace(prediction, grid=Grid(scan.grid.shape, np.diag([1e-3, 1e-3, 1e-3, 1])))
    (value,) = set(np.unique(prediction.mask)) - {0}
    assert [*tiny.volumes_ml.values()] == [pytest.approx(np.count_nonzero(prediction.mask == value) * 1e-12, rel=1e-5)]


@pytest.mark.parametrize("tilt", [np.eye(4), TILT])
@pytest.mark.parametrize("keep", [False, True])
def test_probabilities_that_memory_should_not_hold_lie_in_a_file_and_give_the_same_mask(
    trained, phantoms, monkeypatch, tilt, keep
):
    scan = read_scan(load_dataset(phantoms).test[0].images[0])
    asked = (scan.voxels, scan.grid.affine @ tilt)
    held = duoseg.load(trained, device="cpu").predict(*asked)
    rooms = []
    room_for = inference.room_for

    def seen(shape, device):
        rooms.append(room_for(shape, device))
        return rooms[-1]

    monkeypatch.setattr(inference, "MOST_BYTES", 100)
    monkeypatch.setattr(model, "room_for", seen)
    filed = duoseg.load(trained, device="cpu").predict(*asked, keep_probabilities=keep)
    np.testing.assert_array_equal(filed.mask, held.mask)
    assert filed.mask.any()
    # One file, and none where slabs go by: cuts through a sheared scan need all of them.
    assert len(rooms) == int(keep or tilt is TILT)
    assert (filed.probabilities is None) is not keep
