"""Fitting plans to time and memory, with made-up costs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_any_anatomy import scans

from duoseg.errors import InputError
from duoseg.planning.budget import Means, StepCost, fit, given_up, ladder
from duoseg.planning.planner import make_plan

BRAIN = scans((180, 200, 160), (1.0, 1.0, 1.0), extent=(60.0, 50.0, 40.0))


def plans(**options):
    return ladder(lambda size: make_plan(BRAIN, device="cpu", size=size, **options))


LADDER = plans()


def cost(plan):
    """One second for the usual plan, in proportion to voxels and the square of the width."""
    share = math.prod(plan.patch) / math.prod(LADDER[0].patch)
    width = plan.network.channels[0] / LADDER[0].network.channels[0]
    return StepCost(share * width**2, round(1e9 * share * width))


def test_rungs_get_cheaper_and_keep_to_the_planners_rules() -> None:
    costs = [cost(plan).seconds for plan in LADDER]
    assert len(LADDER) == 5 and costs == sorted(costs, reverse=True) and costs[-1] < 0.05
    for plan in LADDER:
        assert all(extent / mm >= 8 for extent, mm in zip((60.0, 50.0, 40.0), plan.spacing, strict=True))
        assert plan.network.stem == LADDER[0].network.stem
    assert LADDER[0] == make_plan(BRAIN, device="cpu")


@given(st.floats(0.02, 30), st.floats(1, 20))
def test_more_hours_never_give_a_smaller_plan_nor_fewer_steps_of_the_same(hours, factor) -> None:
    less, more = (fit(LADDER, Means(hours=time), cost) for time in (hours, hours * factor))
    assert cost(more.plan).seconds >= cost(less.plan).seconds
    if more.cost == less.cost:
        assert more.plan.steps >= less.plan.steps


@given(st.floats(0.02, 30), st.floats(0, 20))
def test_steps_fit_the_hours_with_a_tenth_or_the_preparation_set_aside(hours, aside) -> None:
    chosen = fit(LADDER, Means(hours=hours, aside_seconds=aside), cost)
    seconds = chosen.plan.steps * chosen.cost.seconds
    assert seconds <= 0.9 * hours * 3600 + 1e-6 and seconds + aside <= hours * 3600 + 1e-6
    assert chosen.plan.steps <= 4 * 1500


def test_half_the_usual_steps_are_preferred_to_a_smaller_plan_and_fewer_are_not() -> None:
    half = 750 / 0.9 / 3600
    assert fit(LADDER, Means(hours=half * 1.01), cost).plan.patch == LADDER[0].patch
    smaller = fit(LADDER, Means(hours=half * 0.99), cost)
    assert math.prod(smaller.plan.patch) < math.prod(LADDER[0].patch) and smaller.plan.steps > 750


def test_time_beyond_four_times_the_usual_steps_is_left() -> None:
    chosen = fit(LADDER, Means(hours=100), cost)
    assert chosen.plan.steps == 6000 and chosen.room > 6000 and given_up(LADDER[0], chosen.plan) == ""


def test_too_little_time_for_fifty_steps_is_refused_with_the_time_that_is_enough() -> None:
    with pytest.raises(InputError, match=r"--hours 0\.0001: the 50 steps.*give at least --hours 0\.0\d") as refusal:
        fit(LADDER, Means(hours=0.0001), cost)
    enough = float(str(refusal.value).rsplit("--hours ", 1)[1].split(",")[0])
    assert fit(LADDER, Means(hours=enough), cost).plan.steps >= 50


def test_steps_that_were_asked_for_are_kept_and_the_plan_shrinks_to_them() -> None:
    rungs = plans(steps=3000)
    chosen = fit(rungs, Means(hours=0.5, steps=3000), cost)
    assert chosen.plan.steps == 3000 and math.prod(chosen.plan.patch) < math.prod(rungs[0].patch)
    assert fit(rungs, Means(hours=500, steps=3000), cost).plan == rungs[0]
    with pytest.raises(InputError, match=r"the 900000 steps that were asked for would take \d+\.\d h even with"):
        fit(rungs, Means(hours=0.5, steps=900_000), cost)


def test_what_was_asked_for_stays_on_all_rungs() -> None:
    for plan in plans(patch=(64, 64, 48)):
        assert plan.patch == (64, 64, 48)
    for plan in plans(spacing=(1.5, 1.5, 1.5)):
        assert plan.spacing == (1.5, 1.5, 1.5)
    assert len(plans(patch=(64, 64, 48), spacing=(1.5, 1.5, 1.5))) == 2  # the width is left


def test_plans_that_need_more_memory_than_there_is_are_passed_over() -> None:
    chosen = fit(LADDER, Means(hours=100, available_bytes=400_000_000), cost)
    assert chosen.cost.peak_bytes is not None and chosen.cost.peak_bytes <= 360_000_000
    assert chosen.too_large > 0 and "patch" in given_up(LADDER[0], chosen.plan)
    unknown = fit(LADDER, Means(hours=100, available_bytes=1), lambda plan: StepCost(1.0))
    assert unknown.plan.patch == LADDER[0].patch
    with pytest.raises(InputError, match=r"even the smallest plan needs about 0\.0\d+ GB of memory.*available"):
        fit(LADDER, Means(hours=100, available_bytes=1000), cost)
    with pytest.raises(InputError, match="more memory than there is"):
        fit(LADDER, Means(hours=100), lambda plan: StepCost(math.inf))


def test_no_more_plans_are_looked_at_than_needed() -> None:
    asked = []
    fit(LADDER, Means(hours=100), lambda plan: asked.append(plan) or cost(plan))
    assert len(asked) == 1


def test_the_reason_of_a_smaller_network_is_true_of_its_patch() -> None:
    assert "is too many for full-resolution convolutions" in LADDER[0].reasons["network"]
    for plan in LADDER[1:]:
        assert plan.network.stem == "strided" and math.prod(plan.patch) < 110_000
        assert "too many" not in plan.reasons["network"]
        assert "a stem of stride 2 comes first, kept from the plan without --hours" in plan.reasons["network"]


@given(st.floats(0.006, 0.2), st.floats(0, 20))
def test_twenty_seconds_are_kept_for_starting_and_the_page_beside_the_preparation(hours, aside) -> None:
    seconds = hours * 3600
    usable = Means(hours=hours, aside_seconds=aside).usable_seconds
    assert usable == pytest.approx(max(0.0, min(0.9 * seconds, seconds - 20 - aside)))


def test_hours_that_starting_alone_takes_are_refused() -> None:
    with pytest.raises(InputError, match=r"--hours 0\.005: .* give at least --hours 0\.01"):
        fit(LADDER, Means(hours=0.005), lambda plan: StepCost(1e-6))
