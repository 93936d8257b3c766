"""Surface distances where the answer is known by hand, and their symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from duoseg.scores.evaluate import score_masks
from duoseg.scores.overlap import count_overlap, mean_dice
from duoseg.scores.results import CaseScores
from duoseg.scores.surface import surface, surface_distances

SPACING = (0.5, 1.25, 3.0)
small_masks = hnp.arrays(bool, (5, 4, 6))
spacings = st.tuples(*[st.sampled_from([0.45, 1.0, 2.5])] * 3)
quick = settings(max_examples=40)


def score(prediction: np.ndarray, reference: np.ndarray, spacing=SPACING, tolerance_mm: float = 1.0) -> dict:
    return score_masks(
        prediction.astype(np.uint8), reference.astype(np.uint8), spacing, {"x": 1}, tolerance_mm=tolerance_mm
    )["x"]


def single(*position: int, shape: tuple[int, int, int] = (9, 9, 9)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[position] = True
    return mask


def test_two_single_voxels_are_as_far_apart_as_their_centres() -> None:
    found = score(single(1, 2, 3), single(4, 6, 4))
    expected = float(np.linalg.norm(np.array([3, 4, 1]) * SPACING))
    assert found["hd95_mm"] == pytest.approx(expected, abs=1e-5)
    assert found["assd_mm"] == pytest.approx(expected, abs=1e-5)
    assert (found["dice"], found["nsd"]) == (0.0, 0.0)


@pytest.mark.parametrize(("axis", "shift"), [(0, 4), (1, 2), (2, 1)])
def test_plates_at_a_known_distance(axis: int, shift: int) -> None:
    # Plates of one voxel: every voxel's nearest is straight across.
    first = np.zeros((8, 8, 8), bool)
    np.moveaxis(first, axis, 0)[1] = True
    found = score(first, np.roll(first, shift, axis=axis))
    assert found["hd95_mm"] == pytest.approx(shift * SPACING[axis], abs=1e-5)
    assert found["assd_mm"] == pytest.approx(shift * SPACING[axis], abs=1e-5)


def test_percentile_interpolates_linearly_and_the_larger_direction_counts() -> None:
    # Distances from the rod of ten voxels to the first of them: 0..9, whose 95th percentile is 0.95 * 9.
    rod, point = np.zeros((12, 3, 3), bool), single(1, 1, 1, shape=(12, 3, 3))
    rod[1:11, 1, 1] = True
    found = score(rod, point, spacing=(1.0, 1.0, 1.0), tolerance_mm=2.0)
    assert found["hd95_mm"] == pytest.approx(8.55, abs=1e-5)
    assert found["assd_mm"] == pytest.approx(45 / 11, abs=1e-5)
    assert found["nsd"] == pytest.approx(4 / 11)


def test_concentric_spheres_are_their_difference_in_radius_apart() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(-20, 21) * 0.5] * 3, indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    found = score(radius <= 5, radius <= 8, spacing=(0.5, 0.5, 0.5))
    assert found["assd_mm"] == pytest.approx(3.0, abs=0.25)
    assert found["hd95_mm"] == pytest.approx(3.0, abs=0.5)
    assert found["dice"] == pytest.approx(2 * 5**3 / (5**3 + 8**3), abs=0.01)
    assert found["reference_volume_ml"] == pytest.approx(4 / 3 * np.pi * 8**3 / 1000, rel=0.02)


def test_image_border_counts_as_outside() -> None:
    full = np.ones((4, 5, 6), bool)
    assert surface(full).sum() == 4 * 5 * 6 - 2 * 3 * 4
    assert score(full, full)["hd95_mm"] == 0.0


def test_distance_exactly_at_the_tolerance_is_within_it() -> None:
    for spacing in (0.1, 0.3, 0.7, 1.1):
        found = score(single(1, 1, 1), single(4, 1, 1), spacing=(spacing, 1, 1), tolerance_mm=3 * spacing)
        assert found["nsd"] == 1.0


def test_missing_organ_scores_zero_dice_and_null_distance() -> None:
    organ, nothing = single(2, 2, 2), np.zeros((9, 9, 9), bool)
    for pair in ((nothing, organ), (organ, nothing)):
        found = score(*pair)
        assert [found[m] for m in ("dice", "jaccard", "nsd")] == [0.0, 0.0, 0.0]
        assert found["hd95_mm"] is None and found["assd_mm"] is None
    assert score(nothing, organ)["reference_volume_ml"] == pytest.approx(np.prod(SPACING) / 1000)


def test_absent_organ_that_is_not_predicted_is_perfect() -> None:
    nothing = np.zeros((3, 3, 3), bool)
    found = score(nothing, nothing)
    assert [found[m] for m in ("dice", "jaccard", "nsd", "hd95_mm", "assd_mm", "volume_ml")] == [
        1,
        1,
        1,
        0,
        0,
        0,
    ]


def test_ignored_voxels_count_for_nothing() -> None:
    reference = np.zeros((10, 10, 10), np.uint8)
    reference[2:6, 2:8, 2:8] = 1
    reference[6:] = 9
    garbage = np.where(reference == 9, np.random.default_rng(0).integers(0, 2, reference.shape), reference == 1)
    found = score_masks(garbage, reference, SPACING, {"x": 1}, ignore_value=9)["x"]
    assert [found[m] for m in ("dice", "nsd", "hd95_mm")] == [1.0, 1.0, 0.0]
    assert found["volume_ml"] == pytest.approx(4 * 6 * 6 * np.prod(SPACING) / 1000)


def test_ignored_region_makes_no_surface() -> None:
    # Two plates that go on into the ignored half: their cut faces must not count as a perfect match.
    mask = np.zeros((8, 5, 5), bool)
    mask[0:4, 1:4, 1:4] = True
    unknown = np.zeros_like(mask)
    unknown[4:] = True
    found = surface(mask, unknown)
    assert not found[3, 2, 2] and found[3, 1, 2] and found[0, 2, 2]


def test_organ_that_meets_only_ignored_voxels_has_no_known_surface() -> None:
    reference = np.full((7, 7, 7), 9, np.uint8)
    reference[2:5, 2:5, 2:5] = 1
    found = score_masks(np.ones((7, 7, 7), np.uint8), reference, SPACING, {"x": 1}, ignore_value=9)["x"]
    assert found["dice"] == 1.0
    assert found["hd95_mm"] is None and found["nsd"] is None


@quick
@given(small_masks, small_masks, spacings)
def test_scores_do_not_depend_on_which_mask_is_the_reference(first: np.ndarray, second: np.ndarray, spacing) -> None:
    one, other = score(first, second, spacing), score(second, first, spacing)
    for metric in ("dice", "jaccard", "hd95_mm", "assd_mm", "nsd"):
        assert one[metric] == pytest.approx(other[metric], abs=1e-9)


@quick
@given(small_masks, small_masks, spacings, st.tuples(*[st.integers(1, 6)] * 3))
def test_scores_do_not_depend_on_where_the_organ_lies(first, second, spacing, offset) -> None:
    def place(mask: np.ndarray, at: tuple[int, ...]) -> np.ndarray:
        field = np.zeros((13, 12, 14), bool)
        field[tuple(slice(o, o + n) for o, n in zip(at, mask.shape, strict=True))] = mask
        return field

    one = score(place(first, (1, 1, 1)), place(second, (1, 1, 1)), spacing)
    other = score(place(first, offset), place(second, offset), spacing)
    assert one == other


@quick
@given(small_masks, small_masks, spacings, st.booleans())
def test_cropping_changes_nothing(first: np.ndarray, second: np.ndarray, spacing, at_border: bool) -> None:
    """A small mask in a large empty field against scipy on the whole field."""
    start = 0 if at_border else 9
    field = np.zeros((2, 24, 23, 25), bool)
    field[:, start : start + 5, start : start + 4, start : start + 6] = first, second
    cross = ndimage.generate_binary_structure(3, 1)
    surfaces = [mask & ~ndimage.binary_erosion(mask, cross) for mask in field]
    found = surface_distances(field[0], field[1], spacing)
    if not first.any() or not second.any():
        assert found is None
        return
    assert found is not None
    across = [ndimage.distance_transform_edt(~shell, sampling=spacing) for shell in surfaces]
    np.testing.assert_allclose(found.from_prediction, across[1][surfaces[0]], atol=1e-4)
    np.testing.assert_allclose(found.from_reference, across[0][surfaces[1]], atol=1e-4)


@quick
@given(small_masks, small_masks, hnp.arrays(bool, (5, 4, 6)))
def test_cropping_changes_nothing_beside_ignored_voxels(first, second, unknown) -> None:
    first, second = first & ~unknown, second & ~unknown
    field = np.zeros((3, 11, 10, 12), bool)
    field[:, 3:8, 3:7, 3:9] = first, second, unknown
    cropped = surface_distances(field[0], field[1], SPACING, unknown=field[2])
    shells = [surface(mask, field[2]) for mask in field[:2]]
    if cropped is None:
        assert not (shells[0].any() and shells[1].any())
        return
    across = ndimage.distance_transform_edt(~shells[1], sampling=SPACING)
    np.testing.assert_allclose(cropped.from_prediction, across[shells[0]], atol=1e-4)


def test_memory_order_and_views_change_nothing() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.random((2, 12, 9, 7)) > 0.6
    for store in (np.ascontiguousarray, np.asfortranarray):
        one, other = (store(mask)[::-1, :, ::-1] for mask in (first, second))
        assert score(one, other) == pytest.approx(score(first, second))


def test_the_dice_of_what_is_there_leaves_out_classes_that_are_in_neither_mask() -> None:
    prediction, reference = np.zeros((2, 10, 1, 1), np.uint8)
    prediction[:7], reference[3:10] = 1, 1  # four of seven voxels meet, so the Dice is 4/7
    reference[0] = 3  # which was missed
    labels = {"organ": 1, "tumour": 2, "cyst": 3}
    case = CaseScores("a", score_masks(prediction, reference, (1.0, 1.0, 1.0), labels))
    counts = [count_overlap(prediction == value, reference == value) for value in labels.values()]
    assert case.dice_of_present == pytest.approx((4 / 7 + 0) / 2) == mean_dice(counts)
    assert case.dice == pytest.approx((4 / 7 + 1 + 0) / 3)  # the tables', in which nothing found is right
    nothing = CaseScores("b", score_masks(0 * prediction, 0 * reference, (1.0, 1.0, 1.0), labels))
    assert nothing.dice_of_present is None and mean_dice([]) is None
