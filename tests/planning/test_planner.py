from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duoseg.errors import InputError
from duoseg.planning.fingerprint import CaseFacts, ChannelFacts, ClassFacts, Fingerprint
from duoseg.planning.fitting import require_fitting_patch, total_stride
from duoseg.planning.plan import Plan
from duoseg.planning.planner import make_plan
from duoseg.planning.recipe import choose_normalisation
from duoseg.planning.requests import checked_request
from duoseg.planning.sizing import choose_strides, is_anisotropic


def fingerprint(content, spacing, *, extent=None, classes=("organ",), channels=("MRI",), unlabelled=3):
    extent = extent or tuple(n * mm for n, mm in zip(content, spacing, strict=True))
    return Fingerprint(
        channels=channels,
        classes={name: value for value, name in enumerate(classes, start=1)},
        labelled=1,
        unlabelled=unlabelled,
        cases=(CaseFacts(name="a", labelled=True, shape=content, spacing=spacing, content=content),),
        intensities=tuple(
            ChannelFacts(name=name, mean=40, std=20, percentile_00_5=-50, median=40, percentile_99_5=150)
            for name in channels
        ),
        anatomy=tuple(
            ClassFacts(name=name, value=value, volumes_ml=(1.0,), extents_mm=(extent,))
            for value, name in enumerate(classes, start=1)
        ),
    )


HIPPOCAMPUS = fingerprint((35, 50, 36), (1.0, 1.0, 1.0), extent=(20.0, 17.0, 14.0))
LEFT_ATRIUM = fingerprint((190, 142, 88), (0.625,) * 3, extent=(100.0, 60.0, 35.0))


def test_small_scans_keep_their_spacing_and_fit_into_one_patch() -> None:
    plan = make_plan(HIPPOCAMPUS, device="cpu")
    assert plan.spacing == (1.0, 1.0, 1.0) and plan.patch == (40, 56, 40)
    assert plan.network.stem == "full" and plan.network.channels == (8, 16, 32, 64)
    assert plan.steps == 1500


def test_large_scans_are_coarsened_on_a_cpu_and_not_on_a_gpu() -> None:
    plan = make_plan(LEFT_ATRIUM, device="cpu")
    assert plan.spacing == (1.25, 1.25, 1.25) and plan.network.stem == "strided"
    assert "60%" in plan.reasons["spacing"]
    gpu = make_plan(LEFT_ATRIUM, device="cuda")
    assert gpu.spacing == (0.625,) * 3 and gpu.network.stem == "full" and gpu.steps == 6000


def test_small_organ_keeps_eight_voxels_across() -> None:
    plan = make_plan(fingerprint((300, 300, 300), (0.5,) * 3, extent=(50.0, 50.0, 6.0)), device="cpu")
    assert plan.spacing == (1.5, 1.5, 0.75)
    assert "smallest class" in plan.reasons["spacing"]


def test_thick_slices_keep_their_spacing_and_are_pooled_last() -> None:
    plan = make_plan(fingerprint((320, 320, 24), (0.5, 0.5, 5.0)), device="cpu")
    assert plan.spacing[2] == 5.0 and plan.spacing[0] == plan.spacing[1] > 0.5
    assert plan.network.strides[0] == (2, 2, 1)
    assert plan.network.stem == "full"
    assert plan.augmentation.rotation_degrees[2] > plan.augmentation.rotation_degrees[0]


def test_pooling_of_isotropic_patches_leaves_four_to_eight_voxels() -> None:
    assert choose_strides((64, 64, 48), (1.0, 1.0, 1.0), strided_stem=True) == (
        (2, 2, 2),
        (2, 2, 2),
        (2, 2, 1),
    )
    assert choose_strides((40, 56, 40), (1.0, 1.0, 1.0), strided_stem=False) == ((2, 2, 2),) * 3


@settings(max_examples=100)
@given(
    st.tuples(*[st.integers(1, 8) | st.integers(1, 512)] * 3),
    st.tuples(*[st.sampled_from([0.4, 0.7, 1.0, 2.5, 6.0])] * 3),
    st.sampled_from(["cpu", "cuda", "mps"]),
    st.sampled_from([1, 8, 9, 127]),
)
def test_every_plan_fits_its_network_its_budget_and_survives_json(content, spacing, device, classes) -> None:
    facts = fingerprint(content, spacing, classes=tuple(f"class {index}" for index in range(classes)))
    try:
        plan = make_plan(facts, device=device)
    except InputError as error:
        assert math.prod(content) == 1 and "single voxel" in str(error)
        return
    network = plan.network
    require_fitting_patch(network, plan.patch)
    assert network.stem == "full" or (device == "cpu" and not is_anisotropic(plan.spacing))
    stride = total_stride(network)
    assert all(side % step == 0 for side, step in zip(plan.patch, stride, strict=True))
    assert all(side // step <= 16 for side, step in zip(plan.patch, stride, strict=True))
    budget = 128 * 128 * 96 if device != "cpu" else 64 * 64 * 48
    assert math.prod(plan.patch) * max(8, classes) <= 8 * 1.05 * budget
    assert len(network.channels) == len(network.strides) + 1
    real = [mm for mm, n in zip(spacing, content, strict=True) if n > 1]  # the thickness of a lone voxel does not count
    assert all(new <= 3 * min(real) or new == old for new, old in zip(plan.spacing, spacing, strict=True))
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert make_plan(facts, device=device).model_dump_json() == plan.model_dump_json()


def test_every_choice_has_a_reason() -> None:
    reasons = make_plan(LEFT_ATRIUM, device="cpu").reasons
    wanted = "classes spacing patch network normalisation augmentation batch optimiser schedule steps window"
    assert set(wanted.split()) == set(reasons) and all(reasons.values())


def test_sides_in_class_names_forbid_mirroring() -> None:
    assert make_plan(HIPPOCAMPUS, device="cpu").augmentation.mirror_axes == (0,)
    sided = fingerprint((40, 40, 40), (1.0,) * 3, classes=("kidney_left", "kidney_right"))
    assert make_plan(sided, device="cpu").augmentation.mirror_axes == ()


@pytest.mark.parametrize(
    ("classes", "mirrored"),
    [
        (("KidneyLeft", "KidneyRight"), False),
        (("Kidney_L", "Kidney_R"), False),
        (("LKidney", "spleen"), False),
        (("Lt kidney", "Rt kidney"), False),
        (("ren sin.", "ren dex."), False),
        (("left_atrium",), False),
        (("Niere links", "Niere rechts"), False),
        (("1", "2"), False),
        (("1",), True),
        (("liver", "3"), True),
        (("Rectum", "LV", "bright spot", "lesion"), True),
        (("Linke Niere", "Rechte Niere"), False),
        (("Niere_re", "Niere_li"), False),
        (("rein gauche", "rein droit"), False),
        (("riñón izquierdo", "riñón derecho"), False),
        (("rene sinistro", "rene destro"), False),
        (("ventriculus dexter",), False),
        (("LV", "MYO", "RV"), False),
        (("LA", "RA_cavity"), False),
        (("LA", "RV"), True),
        (("Höhle", "Öre"), True),
    ],
)
def test_mirroring_follows_the_words_of_class_names(classes, mirrored) -> None:
    plan = make_plan(fingerprint((40, 40, 40), (1.0,) * 3, classes=classes), device="cpu")
    assert plan.augmentation.mirror_axes == ((0,) if mirrored else ())
    if classes == ("1", "2"):
        assert "have no names" in plan.reasons["augmentation"]


@pytest.mark.parametrize(
    ("channel", "scheme"),
    [
        *((channel, "ct") for channel in ("CT", "cta", "CBCT-1", "ldct_low", "T1 (CT grid)")),
        *((channel, "zscore") for channel in ("T1ct", "CT1", "channel 0", "octa")),
    ],
)
def test_ct_is_told_by_a_whole_word(channel, scheme) -> None:
    plan = make_plan(fingerprint((40, 40, 40), (1.0,) * 3, channels=(channel,)), device="cpu")
    assert plan.normalisation[0].scheme == scheme


def test_ct_gets_a_fixed_window_and_other_channels_their_own_scale() -> None:
    plan = make_plan(fingerprint((40, 40, 40), (1.0,) * 3, channels=("CT_portal", "PET")), device="cpu")
    ct, pet = plan.normalisation
    assert ct.scheme == "ct" and ct.window == (-50, 150) and ct.mean == 40 and pet.scheme == "zscore"


def test_without_unlabelled_scans_the_batch_is_labelled() -> None:
    batch = make_plan(fingerprint((40, 40, 40), (1.0,) * 3, unlabelled=0), device="cpu").batch
    assert (batch.labelled, batch.unlabelled) == (4, 0)


def test_given_patch_is_used_and_an_impossible_one_refused_with_the_nearest() -> None:
    assert make_plan(LEFT_ATRIUM, device="cpu", patch=(64, 64, 48)).patch == (64, 64, 48)
    with pytest.raises(InputError, match=r"side of 51 voxels.*48 and 52"):
        make_plan(LEFT_ATRIUM, device="cpu", patch=(51, 64, 48))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"spacing": (0, 1, 1)}, "spacing.*three positive, finite numbers of mm"),
        ({"spacing": (math.nan, 1, 1)}, "spacing.*three positive"),
        ({"spacing": (math.inf, 1, 1)}, "spacing.*three positive"),
        ({"spacing": [1.0, 1.0]}, "spacing.*three positive"),
        ({"spacing": "1,1,1"}, "spacing.*'1,1,1'.*three positive"),
        ({"patch": (0, 16, 16)}, "patch.*three whole numbers of voxels"),
        ({"patch": [16.5, 16, 16]}, "patch.*three whole numbers"),
        ({"patch": 16}, "patch.*three whole numbers"),
        ({"steps": 0}, "steps.*whole number from 1 on"),
        ({"steps": "many"}, "steps.*'many'.*whole number"),
    ],
)
def test_option_that_is_no_such_value_is_refused_with_what_it_must_be(asked, expected) -> None:
    with pytest.raises(InputError, match=expected):
        make_plan(LEFT_ATRIUM, device="cpu", **asked)


@pytest.mark.parametrize("hours", [10_001, 1e200, 1e306])
def test_more_hours_than_anyone_has_are_refused(hours) -> None:
    with pytest.raises(InputError, match=r"hours: .* must be .* up to 10,000"):
        checked_request(steps=None, spacing=None, patch=None, hours=hours)
    assert checked_request(steps=None, spacing=None, patch=None, hours=10_000).hours == 10_000


def test_spacing_that_leaves_a_single_voxel_is_refused_with_the_scans_size() -> None:
    with pytest.raises(InputError, match=r"35 x 50 x 36 mm.*60 x 60 x 60 mm.*finer spacing"):
        make_plan(HIPPOCAMPUS, device="cpu", spacing=(60.0, 60.0, 60.0))
    with pytest.raises(InputError, match="single voxel"):
        make_plan(HIPPOCAMPUS, device="cpu", patch=(1, 1, 1))


@pytest.mark.parametrize("spacing", [(math.nan, 1.0, 1.0), (1.0, math.inf, 1.0)])
def test_plan_holds_no_spacing_that_is_not_finite(spacing) -> None:
    with pytest.raises(ValueError, match="finite"):
        Plan.model_validate({**make_plan(HIPPOCAMPUS, device="cpu").model_dump(), "spacing": spacing})


def test_many_classes_make_the_patch_smaller_and_the_reason_says_so() -> None:
    few, many = (
        make_plan(fingerprint((512, 512, 400), (0.8,) * 3, classes=tuple(f"k{i}" for i in range(n))), device="cuda")
        for n in (8, 104)
    )
    assert math.prod(many.patch) * 104 <= 1.05 * 8 * 128 * 128 * 96 < 1.2 * 8 * math.prod(few.patch)
    assert "104 classes" in many.reasons["patch"] and "classes" not in few.reasons["patch"]


def test_thick_slices_never_meet_a_strided_stem_whatever_patch_is_asked_for() -> None:
    plan = make_plan(fingerprint((320, 320, 24), (0.5, 0.5, 5.0)), device="cpu", patch=(128, 128, 16))
    assert plan.network.stem == "full"


def test_given_spacing_is_used() -> None:
    assert make_plan(LEFT_ATRIUM, device="cpu", spacing=(2.0, 2.0, 2.0), steps=7).spacing == (2.0, 2.0, 2.0)


def test_no_labelled_scan_is_refused_even_where_classes_are_named() -> None:
    with pytest.raises(InputError, match="Annotate at least one scan"):
        make_plan(HIPPOCAMPUS.model_copy(update={"labelled": 0}), device="cpu")


def test_labels_without_any_class_are_refused() -> None:
    with pytest.raises(InputError, match="Annotate at least one scan"):
        make_plan(fingerprint((40, 40, 40), (1.0,) * 3, classes=()), device="cpu")


def test_each_of_two_channels_of_one_name_has_its_own_window():
    found = fingerprint((60, 60, 60), (1, 1, 1), channels=("CT", "CT"))
    second = found.intensities[1].model_copy(update={"mean": 300, "percentile_00_5": 200, "percentile_99_5": 400})
    rules, _ = choose_normalisation(found.model_copy(update={"intensities": (found.intensities[0], second)}))
    assert [rule.window for rule in rules] == [(-50, 150), (200, 400)]
