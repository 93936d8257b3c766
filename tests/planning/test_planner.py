from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duoseg.errors import InputError
from duoseg.planning.fingerprint import CaseFacts, ChannelFacts, ClassFacts, Fingerprint
from duoseg.planning.fitting import total_stride
from duoseg.planning.plan import Plan
from duoseg.planning.planner import make_plan
from duoseg.planning.sizing import choose_strides


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


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(*[st.integers(4, 512)] * 3),
    st.tuples(*[st.sampled_from([0.4, 0.7, 1.0, 2.5, 6.0])] * 3),
    st.sampled_from(["cpu", "cuda", "mps"]),
)
def test_every_plan_fits_its_network_its_budget_and_survives_json(content, spacing, device) -> None:
    facts = fingerprint(content, spacing)
    plan = make_plan(facts, device=device)
    network = plan.network
    stride = total_stride(network)
    assert all(side % step == 0 for side, step in zip(plan.patch, stride, strict=True))
    assert all(side // step <= 16 for side, step in zip(plan.patch, stride, strict=True))
    assert math.prod(plan.patch) <= 1.05 * (128 * 128 * 96 if device != "cpu" else 64 * 64 * 48)
    assert len(network.channels) == len(network.strides) + 1
    assert all(new <= 3 * min(spacing) or new == old for new, old in zip(plan.spacing, spacing, strict=True))
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


def test_given_spacing_is_used() -> None:
    assert make_plan(LEFT_ATRIUM, device="cpu", spacing=(2.0, 2.0, 2.0), steps=7).spacing == (2.0, 2.0, 2.0)


def test_labels_without_any_class_are_refused() -> None:
    with pytest.raises(InputError, match="Annotate at least one scan"):
        make_plan(fingerprint((40, 40, 40), (1.0,) * 3, classes=()), device="cpu")
