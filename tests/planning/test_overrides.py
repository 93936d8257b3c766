from __future__ import annotations

import planning_cases as make
import pytest

from duoseg.errors import InputError
from duoseg.planning.planner import override


def test_sections_merge_and_other_values_are_replaced() -> None:
    plan = make.plan(reasons={"optimiser": "AdamW.", "steps": "The default."})
    changed = override(plan, {"steps": 5, "optimiser": {"learning_rate": 0.1}, "patch": [32, 16, 16]})
    assert changed.steps == 5 and changed.patch == (32, 16, 16)
    assert changed.optimiser.learning_rate == 0.1 and changed.optimiser.name == plan.optimiser.name
    assert changed.reasons["steps"] == "Set by hand."
    assert changed.reasons["optimiser"] == "Set by hand: learning_rate. The automatic choice: AdamW."
    assert plan.steps == 10


def test_another_schedule_takes_the_place_of_the_automatic_ones_reason() -> None:
    changed = override(
        make.plan(reasons={"optimiser": "AdamW.", "schedule": "Calm."}), {"optimiser": {"schedule": "step"}}
    )
    assert changed.reasons["schedule"] == "Set by hand: schedule. The automatic choice: Calm."
    assert changed.reasons["optimiser"] == "AdamW."


def test_override_with_the_plans_own_values_changes_nothing() -> None:
    plan = make.plan()
    assert override(plan, {"steps": 10, "patch": [16, 16, 16], "network": {"strides": [[2, 2, 2]]}}) == plan
    assert override(plan, {}) == plan


@pytest.mark.parametrize(
    ("changes", "nearest"),
    [({"step": 3}, "steps"), ({"optimiser": {"learning_rat": 3}}, "learning_rate")],
)
def test_unknown_setting_is_refused_with_the_nearest_known_one(changes, nearest) -> None:
    with pytest.raises(InputError, match=f"did you mean '{nearest}'"):
        override(make.plan(), changes)


def test_invalid_value_is_refused_by_its_path() -> None:
    with pytest.raises(InputError, match=r"optimiser\.learning_rate"):
        override(make.plan(), {"optimiser": {"learning_rate": -1}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ("MRI", "CT")}, "1 rules of normalisation for 2 channels"),
        ({"classes": {"organ": 1, "tumour": 1}}, "two classes have one value"),
        ({"ignore_value": 4}, "ignore_value 4 is that of the background or a class"),
        ({"normalisation": [{"channel": "MRI", "scheme": "ct", "window": (300, -100)}]}, "holds nothing"),
        ({"normalisation": [{"channel": "MRI", "scheme": "ct", "std": -5}]}, "greater than 0"),
        ({"augmentation": {"scale": (0, -1)}}, "scale runs from"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(changes, message) -> None:
    with pytest.raises(InputError, match=message):
        override(make.plan(), changes)


def test_windows_that_would_leave_gaps_are_refused() -> None:
    with pytest.raises(InputError, match="leaves gaps"):
        override(make.plan(), {"window": {"stride": (1000, 1, 1)}})


def test_patch_that_does_not_fit_the_network_is_refused_with_sizes_that_do() -> None:
    with pytest.raises(InputError, match=r"\(16 or 18\) x 16 x 16"):
        override(make.plan(), {"patch": [17, 16, 16]})
    with pytest.raises(InputError, match=r"vnet.*\(48 or 64\) x \(48 or 64\) x \(32 or 48\)"):
        override(make.plan(), {"patch": [56, 56, 40], "network": {"architecture": "vnet"}})
