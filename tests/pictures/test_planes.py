"""Pictures: outlines lie where the masks are, the patient's sides where radiologists expect them."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from duoseg.pictures.planes import CasePicture, greys, object_centre, outline, planes


def _loops(path: str) -> list[list[tuple[float, float]]]:
    loops = []
    for part in path.split("Z")[:-1]:
        pairs = re.split("[ML]", part)[1:]
        loops.append([(float(x), float(y)) for x, y in (pair.split() for pair in pairs)])
    return loops


def _area(loop: list[tuple[float, float]]) -> float:
    x, y = np.array(loop).T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def _picture(**changes: Any) -> CasePicture:
    truth = np.zeros((20, 24, 12), int)
    truth[3:8, 4:12, 2:7] = 1
    picture = CasePicture(
        case="a", dice=0.5, image=truth * 100.0, truth=truth, prediction=truth, spacing=(1.0, 1.0, 2.0)
    )
    return replace(picture, **changes)


def test_outline_of_a_box_has_its_place_and_area_with_cut_corners():
    mask = np.zeros((10, 12), int)
    mask[2:5, 4:10] = 1
    (loop,) = _loops(outline(mask, (2.0, 1.5)))
    points = np.array(loop)
    assert points.min(axis=0).tolist() == [4 * 1.5, 2 * 2.0]
    assert points.max(axis=0).tolist() == [10 * 1.5, 5 * 2.0]
    assert abs(_area(loop)) == pytest.approx((3 * 6 - 4 * 0.125) * 3.0)


def test_outlines_drawn_filled_give_the_mask_back():
    rng = np.random.default_rng(0)
    coarse = rng.random((9, 8)) > 0.55
    mask = np.kron(coarse, np.ones((4, 4), bool)).astype(int)
    canvas = Image.new("1", (mask.shape[1] * 8, mask.shape[0] * 8))
    filled = np.zeros(mask.shape, bool)
    for loop in _loops(outline(mask, (8.0, 8.0))):
        one = canvas.copy()
        ImageDraw.Draw(one).polygon(loop, fill=1)
        # The even-odd rule: a hole inside a piece takes its area away again.
        filled ^= np.asarray(one)[4::8, 4::8]
    assert np.array_equal(filled, mask > 0)


def test_a_hole_turns_the_other_way_round():
    mask = np.ones((7, 7), int)
    mask[2:5, 2:5] = 0
    areas = sorted(_area(loop) for loop in _loops(outline(mask, (1.0, 1.0))))
    assert areas == pytest.approx([-(9 - 0.5), 49 - 0.5])


def test_every_class_has_its_own_outline_where_classes_touch():
    mask = np.zeros((6, 6), int)
    mask[1:3, 1:5] = 1
    mask[3:5, 1:5] = 2
    assert len(_loops(outline(mask, (1.0, 1.0)))) == 2


def test_the_patients_right_front_and_head_are_on_the_left_and_on_top():
    # The object lies to the patient's left, behind and low: small x, y and z.
    truth = np.zeros((40, 40, 40), int)
    truth[2:6, 2:6, 2:6] = 1
    views = planes(_picture(truth=truth, prediction=truth, image=truth * 1.0, spacing=(2.0, 2.0, 2.0)))
    assert [view.letters for view in views] == [
        ("R", "L", "A", "P"),
        ("R", "L", "S", "I"),
        ("A", "P", "S", "I"),
    ]
    for view in views:
        middle = np.mean(_loops(view.truth)[0], axis=0)
        assert middle[0] > view.width / 2
        assert middle[1] > view.height / 2


def test_image_and_outline_show_the_same_place_in_true_proportions():
    picture = _picture()
    for view in planes(picture):
        grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(view.png.split(",")[1]))))
        assert grey.shape[1] / grey.shape[0] == pytest.approx(view.width / view.height, rel=0.01)
        bright = np.argwhere(grey > 127)
        scale = view.width / grey.shape[1]
        points = np.array(_loops(view.truth)[0])
        assert np.allclose(points.min(axis=0), bright.min(axis=0)[::-1] * scale, atol=0.5)
        assert np.allclose(points.max(axis=0), (bright.max(axis=0)[::-1] + 1) * scale, atol=0.5)
    axial, coronal, _ = planes(picture)
    assert (axial.width, axial.height) == (20, 24)
    assert (coronal.width, coronal.height) == (20, 24)


def test_planes_meet_the_object_even_where_its_centre_of_mass_does_not():
    truth = np.zeros((20, 24, 12), int)
    truth[2, 2, 2] = truth[17, 20, 9] = 1
    centre = object_centre(_picture(truth=truth))
    assert truth[centre[0]].any()
    assert truth[:, centre[1]].any()
    assert truth[:, :, centre[2]].any()


def test_empty_masks_and_flat_or_unfinished_images_still_give_pictures():
    empty = np.zeros((20, 24, 12), int)
    flat = np.full(empty.shape, np.nan)
    for view in planes(_picture(truth=empty, prediction=empty, image=flat)):
        assert view.png.startswith("data:image/png;base64,")
        assert view.truth == view.prediction == ""


def test_voxels_that_are_no_number_are_drawn_black_as_what_lies_below_the_window():
    image = np.array([np.nan, -np.inf, -1000.0, 60.0, np.inf])
    assert greys(image, -1000, 60).tolist() == [0, 0, 0, 255, 255]


def test_arrays_of_unlike_shape_are_refused():
    with pytest.raises(ValueError, match="one \\(X, Y, Z\\) shape"):
        _picture(image=np.zeros((3, 3, 3)))
