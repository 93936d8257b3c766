"""Learning rates against PyTorch's own schedulers and the published set-up."""

from __future__ import annotations

import pytest
import torch

from duoseg.planning.plan import OptimiserPlan
from duoseg.training.optimisation import learning_rate, make_optimisers, set_learning_rate


def parameter():
    return torch.zeros(1, requires_grad=True)


def test_cosine_without_warm_up_equals_pytorchs():
    plan = OptimiserPlan(warm_up=0)
    optimiser = torch.optim.SGD([parameter()], lr=plan.learning_rate)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=50)
    for step in range(50):
        assert learning_rate(plan, step, 50) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        oracle.step()


def test_the_published_schedule_falls_tenfold_every_2500_steps():
    plan = OptimiserPlan(name="sgd", learning_rate=0.01, schedule="step", warm_up=0.0)
    rates = [learning_rate(plan, step, 6000) for step in (0, 2499, 2500, 4999, 5000, 5999)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


def test_steps_come_after_a_warm_up_too():
    plan = OptimiserPlan(name="sgd", learning_rate=0.01, schedule="step", step_every=50, warm_up=0.1)
    rates = [learning_rate(plan, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.01 / 11) and rates[:10] == sorted(rates[:10])
    assert rates[10] == rates[49] == 0.01 and rates[50] == pytest.approx(0.001)


def test_warm_up_rises_to_the_full_rate_without_passing_it():
    plan = OptimiserPlan(warm_up=0.1)
    rates = [learning_rate(plan, step, 100) for step in range(100)]
    assert rates[:10] == sorted(rates[:10]) and rates[0] > 0
    assert max(rates) == rates[10] == plan.learning_rate


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_an_adversary_learns_by_adam_at_its_own_rate_whatever_the_plan_says(name):
    student, adversary = (torch.zeros(1, requires_grad=True) for _ in range(2))
    groups = [{"params": [student]}, {"params": [adversary], "adam_rate": 1e-4}]
    planned, apart = make_optimisers(groups, OptimiserPlan(name=name))
    set_learning_rate(planned, 0.5)
    assert [group["params"] for group in planned.param_groups] == [[student]]
    assert [group["params"] for group in apart.param_groups] == [[adversary]]
    assert type(apart) is torch.optim.Adam and apart.param_groups[0]["lr"] == 1e-4


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_plan_names_the_optimiser(name):
    (made,) = make_optimisers(
        [{"params": [torch.zeros(1, requires_grad=True)]}], OptimiserPlan(name=name, weight_decay=0.25)
    )
    assert type(made).__name__.lower() == name
    assert made.param_groups[0]["weight_decay"] == 0.25
