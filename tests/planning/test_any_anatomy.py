"""Plans for scans of every shape: thick slices, single slices, a handful of voxels, whole bodies, many channels."""

from __future__ import annotations

import itertools
import json
import math
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import planning_cases as make
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duoseg.errors import InputError
from duoseg.planning.cache import prepare_cases
from duoseg.planning.fingerprint import CaseFacts, ClassFacts, Fingerprint, take_fingerprint
from duoseg.planning.fitting import require_fitting_patch
from duoseg.planning.levels import choose_kernels
from duoseg.planning.overrides import override
from duoseg.planning.plan import NetworkPlan, Plan
from duoseg.planning.planner import make_plan
from duoseg.planning.sizing import PATCH_TOLERANCE, choose_patch, choose_strides, halvings


def scans(content, spacing, *, extent=None, classes=1, channels=("MR",), labelled=3) -> Fingerprint:
    names = [f"organ {index}" for index in range(classes)]
    extent = extent or tuple(n * mm for n, mm in zip(content, spacing, strict=True))
    return Fingerprint(
        channels=channels,
        classes={name: value for value, name in enumerate(names, start=1)},
        labelled=labelled,
        unlabelled=10,
        cases=(CaseFacts(name="a", labelled=True, shape=content, spacing=spacing, content=content),),
        anatomy=tuple(
            ClassFacts(name=name, value=value, volumes_ml=(1.0,), extents_mm=(extent,))
            for value, name in enumerate(names, start=1)
        ),
    )


@pytest.mark.parametrize("thick", [5.0, 7.5, 10.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_across_thick_slices_nothing_is_pooled_or_convolved_until_the_other_sides_match(thick, axis) -> None:
    content, spacing = [320, 320, 320], [0.8, 0.8, 0.8]
    content[axis], spacing[axis] = 24, thick
    plan = make_plan(scans(tuple(content), tuple(spacing)), device="cpu")
    assert plan.spacing[axis] == thick
    sides = list(plan.spacing)
    for level, kernel in enumerate(plan.network.kernels):
        if level:
            stride = plan.network.strides[level - 1]
            assert stride[axis] == 1 or sides[axis] < 2 * min(sides)
            sides = [mm * step for mm, step in zip(sides, stride, strict=True)]
        others = [side for other, side in enumerate(kernel) if other != axis]
        deepest = level == len(plan.network.strides)
        assert others == [3, 3]
        assert kernel[axis] == (3 if sides[axis] < 2 * min(sides) or deepest else 1)
    assert plan.network.kernels[0][axis] == 1 and plan.network.kernels[-1] == (3, 3, 3)
    assert "do not reach along it" in plan.reasons["network"]


def test_kernels_are_those_of_nnu_net_for_prostate_scans() -> None:
    # Isensee et al. 2021, supplementary note on Prostate: patch 20 x 320 x 256 at 3.6 x 0.62 x 0.62 mm (z, y, x)
    strides = choose_strides((256, 320, 20), (0.62, 0.62, 3.6), strided_stem=False)
    kernels = choose_kernels((256, 320, 20), (0.62, 0.62, 3.6), strides, strided_stem=False)
    assert strides[:3] == ((2, 2, 1), (2, 2, 1), (2, 2, 2))
    assert kernels[:2] == ((3, 3, 1), (3, 3, 1)) and set(kernels[2:]) == {(3, 3, 3)}


@settings(max_examples=60)
@given(
    st.tuples(*[st.integers(1, 6) | st.integers(7, 600)] * 3),
    st.tuples(*[st.sampled_from([0.3, 0.7, 1.0, 1.5, 3.0, 8.0])] * 3),
    st.sampled_from(["cpu", "cuda"]),
)
def test_an_axis_that_is_halved_is_also_convolved_and_a_wide_kernel_stays_wide(content, spacing, device) -> None:
    try:
        plan = make_plan(scans(content, spacing), device=device)
    except InputError:
        assert math.prod(content) == 1
        return
    network = plan.network
    require_fitting_patch(network, plan.patch)
    for level, kernel in enumerate(network.kernels):
        stride = network.strides[level - 1] if level else (1, 1, 1)
        before = network.kernels[level - 1] if level else (1, 1, 1)
        for axis in range(3):
            assert stride[axis] == 1 or kernel[axis] == 3
            assert kernel[axis] >= before[axis]
            assert plan.patch[axis] > 1 or kernel[axis] == 1
    if not network.kernels:
        assert max(plan.spacing) < 2 * min(plan.spacing) or len(network.strides) == 0
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_plans_with_equal_kernels_read_as_they_did_before_there_were_others() -> None:
    plan = make_plan(scans((96, 96, 64), (1.0, 1.0, 1.0)), device="cpu")
    assert plan.network.kernels == () and "kernels" not in json.loads(plan.model_dump_json())["network"]
    old = json.loads(NetworkPlan().model_dump_json())
    assert set(old) == {"architecture", "stem", "channels", "strides", "dropout"}
    assert NetworkPlan.model_validate(old) == NetworkPlan()


def test_a_network_that_a_file_describes_is_the_same_for_thick_slices() -> None:
    plan = make_plan(scans((320, 320, 24), (0.8, 0.8, 6.0)), device="cpu", patch=(32, 32, 16))
    assert plan.network.kernels
    described = {"stem": "full", "channels": [8, 16], "strides": [[2, 2, 2]]}
    assert override(plan, {"network": described}).network.kernels == ()
    assert override(plan, {"network": {**described, "kernels": [[3, 3, 1], [3, 3, 3]]}}).network.kernels[0] == (3, 3, 1)
    narrower = [side // 2 for side in plan.network.channels]
    assert override(plan, {"network": {"channels": narrower}}).network.kernels == plan.network.kernels
    with pytest.raises(InputError, match="2 levels of channels but 1 kernels"):
        override(plan, {"network": {**described, "kernels": [[3, 3, 1]]}})
    with pytest.raises(InputError, match=r"network\.kernels"):
        override(plan, {"network": {**described, "kernels": [[3, 3, 2], [3, 3, 3]]}})


@pytest.mark.parametrize("thickness", [0.2, 1.0, 8.0])
def test_single_slices_are_planned_as_slices_however_thick(thickness) -> None:
    plan = make_plan(scans((384, 320, 1), (0.9, 0.9, thickness)), device="cpu")
    assert plan.patch[2] == 1 and plan.patch[0] >= 128
    assert plan.spacing[2] >= plan.spacing[0]  # else augmentation would count in units of the thickness
    assert all(stride[2] == 1 for stride in plan.network.strides) and len(plan.network.strides) >= 4
    assert all(kernel == (3, 3, 1) for kernel in plan.network.kernels)
    assert plan.augmentation.rotation_degrees == (0.0, 0.0, 20.0)
    assert "slice" in plan.reasons["patch"] and "slice" in plan.reasons["network"]


@pytest.mark.parametrize("content", [(2, 1, 1), (3, 3, 1), (2, 2, 2), (5, 4, 3), (9, 1, 40)])
def test_scans_of_few_voxels_get_a_plan_that_holds_them(content) -> None:
    plan = make_plan(scans(content, (1.0, 1.0, 1.0)), device="cpu")
    require_fitting_patch(plan.network, plan.patch)
    assert all(side >= n for side, n in zip(plan.patch, content, strict=True))


def test_a_patch_larger_than_the_scans_is_taken_and_told() -> None:
    plan = make_plan(scans((35, 50, 36), (1.0, 1.0, 1.0)), device="cpu", patch=(64, 64, 64))
    assert plan.patch == (64, 64, 64) and "35 x 50 x 36 voxels" in plan.reasons["patch"]
    assert make_plan(scans((80, 80, 80), (1.0,) * 3), device="cpu", patch=(64,) * 3).reasons["patch"] == "As asked for."


def test_whole_bodies_get_a_coarser_spacing_and_a_patch_within_the_budget() -> None:
    plan = make_plan(scans((512, 512, 600), (0.8, 0.8, 1.0), extent=(180.0, 150.0, 200.0)), device="cpu")
    assert math.prod(plan.patch) <= 1.05 * 64 * 64 * 48 and max(plan.spacing) < 2.5
    gpu = make_plan(scans((512, 512, 600), (0.8, 0.8, 1.0), extent=(180.0, 150.0, 200.0)), device="cuda")
    assert gpu.spacing[0] < plan.spacing[0] or math.prod(gpu.patch) > math.prod(plan.patch)


def test_eight_channels_and_twenty_classes_keep_the_maps_within_bounds() -> None:
    channels = tuple(f"MR{index}" for index in range(8))
    plan = make_plan(scans((256, 256, 160), (1.0, 1.0, 1.0), classes=20, channels=channels), device="cpu")
    assert math.prod(plan.patch) * 20 <= 1.05 * 8 * 64 * 64 * 48
    assert len(plan.normalisation) == 8 and "20 classes" in plan.reasons["patch"]


def test_one_labelled_scan_is_enough_and_the_plan_says_what_rests_on_it() -> None:
    one = make_plan(scans((96, 96, 64), (1.0, 1.0, 1.0), labelled=1), device="cpu")
    three = make_plan(scans((96, 96, 64), (1.0, 1.0, 1.0), labelled=3), device="cpu")
    assert "one scan" in one.reasons["classes"] and "one scan" not in three.reasons["classes"]
    assert one.model_copy(update={"reasons": {}}) == three.model_copy(update={"reasons": {}})


def test_ct_beside_pet_keeps_its_window_while_pet_is_scaled_by_each_scan(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = np.zeros((24, 20, 16), np.uint8)
    label[6:16, 6:14, 4:12] = 1
    cases = []
    for index, gain in enumerate((1.0, 40.0)):
        ct = np.where(label, 60, -900) + rng.normal(0, 10, label.shape)
        pet = gain * (1 + 4 * label + rng.uniform(0, 1, label.shape))
        paths = tuple(tmp_path / f"c{index}_000{channel}.nii.gz" for channel in range(2))
        for path, voxels in zip(paths, (ct, pet), strict=True):
            nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.eye(4)), path)
        nib.save(nib.Nifti1Image(label, np.eye(4)), tmp_path / f"c{index}_label.nii.gz")
        cases.append(make.Case(f"c{index}", paths, tmp_path / f"c{index}_label.nii.gz", f"c{index}"))
    data = make.dataset(cases, channels=("CT", "PET"), classes={"tumour": 1})
    plan = make_plan(take_fingerprint(data.split(labelled=2), data), device="cpu")
    ct_rule, pet_rule = plan.normalisation
    assert ct_rule.scheme == "ct" and pet_rule.scheme == "zscore"
    assert ct_rule.window is not None and 25 < ct_rule.window[0] < 40 and 80 < ct_rule.window[1] < 95
    whole = (slice(None),) * 3
    first, second = (one.read_image(whole) for one in prepare_cases(cases, plan, tmp_path / "cache"))
    inside = label > 0
    # air lies at the lower end of the fixed window, the organ around 0, in both scans alike
    for image in (first, second):
        assert abs(image[0][inside].mean()) < 0.1 and np.ptp(image[0][~inside]) < 0.01
        assert abs(image[1].mean()) < 0.01 and abs(image[1].std() - 1) < 0.01


def test_a_patch_of_one_slice_does_not_coarsen_scans_that_are_many_slices_thick() -> None:
    facts = scans((200, 200, 200), (1.0, 1.0, 1.0))
    for patch in ((1, 128, 128), (128, 1, 128), (128, 128, 1)):
        assert make_plan(facts, device="cpu", patch=patch).spacing == (1.0, 1.0, 1.0)
    assert make_plan(facts, device="cpu", patch=(1, 64, 64)).spacing == (2.0, 2.0, 2.0)


def test_a_spacing_is_kept_where_coarser_ones_would_show_a_patch_no_more() -> None:
    # 32 of 120 slices: 27% of the scan across them, whatever the sides within them become
    plan = make_plan(scans((256, 256, 120), (0.8, 0.8, 5.0)), device="cpu", patch=(192, 192, 32))
    assert plan.spacing == (0.8, 0.8, 5.0)
    assert "would not show a patch more" in plan.reasons["spacing"]


def every_patch(extent, spacing, budget):
    """All patches within the budget, and the best by share along the worst axis, in sum, and least voxels."""
    sizes = [max(1.0, length / mm) for length, mm in zip(extent, spacing, strict=True)]
    share = min(1.0, (budget / math.prod(sizes)) ** (1 / 3))
    multiples = [2 ** halvings(max(1, round(size * share))) for size in sizes]
    ends = [step * math.ceil(round(size) / step) for size, step in zip(sizes, multiples, strict=True)]
    sides = [range(step, end + 1, step) for step, end in zip(multiples, ends, strict=True)]
    fitting = [patch for patch in itertools.product(*sides) if math.prod(patch) <= budget * PATCH_TOLERANCE]

    def rank(patch):
        shares = [min(1.0, side / size) for side, size in zip(patch, sizes, strict=True)]
        return min(shares), sum(shares), -math.prod(patch)

    return max(fitting, key=rank, default=None)


@settings(max_examples=150)
@given(
    st.tuples(*[st.floats(1, 400)] * 3),
    st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 2.5, 6.0])] * 3),
    st.sampled_from([4096, 24_576, 110_000, 196_608]),
)
def test_the_patch_is_the_best_of_all_within_the_budget(extent, spacing, budget) -> None:
    best = every_patch(extent, spacing, budget)
    assert best is None or choose_patch(extent, spacing, budget) == best


@pytest.mark.parametrize(
    ("content", "spacing", "asked"),
    [
        ((512, 512, 1), (1.0, 1.0, 5.0), (0.001, 0.001, 5.0)),  # every multiple of the sides' share is too large
        ((60, 60, 60), (1.0, 1.0, 1.0), (0.02, 0.02, 0.02)),
        ((60, 60, 3), (1.0, 1.0, 3.0), (0.0001, 0.0001, 3.0)),
        ((60, 60, 60), (1.0, 1.0, 1.0), (1e-300, 1e-300, 1e-300)),
    ],
)
def test_far_too_fine_a_spacing_still_gives_a_patch_and_at_once(content, spacing, asked) -> None:
    began = time.perf_counter()
    plan = make_plan(scans(content, spacing), device="cpu", spacing=asked)
    assert time.perf_counter() - began < 1
    require_fitting_patch(plan.network, plan.patch)
    assert 50_000 < math.prod(plan.patch) <= 1.05 * 64 * 64 * 48
    assert plan.patch[0] == pytest.approx(plan.patch[1], rel=0.5)
