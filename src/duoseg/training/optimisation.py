"""Optimisers and learning-rate schedules, as the plan names them; the rate is a function of progress, without state."""

from __future__ import annotations

import math

import torch

from duoseg.planning.plan import OptimiserPlan

ADAM_BETAS = (0.9, 0.99)
"""Those of published adversaries (Hung et al., BMVC 2018)."""


def make_optimisers(groups: list[dict], plan: OptimiserPlan) -> list[torch.optim.Optimizer]:
    """The plan's optimiser over a method's parameter groups, and Adam over those with an ``adam_rate``, if any."""
    planned = [group for group in groups if "adam_rate" not in group]
    apart = [{"params": group["params"], "lr": group["adam_rate"]} for group in groups if "adam_rate" in group]
    return [_planned(planned, plan), *([torch.optim.Adam(apart, betas=ADAM_BETAS)] if apart else [])]


def _planned(groups: list[dict], plan: OptimiserPlan) -> torch.optim.Optimizer:
    if plan.name == "sgd":
        return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=plan.momentum, weight_decay=plan.weight_decay)
    return torch.optim.AdamW(groups, lr=plan.learning_rate, weight_decay=plan.weight_decay)


def learning_rate(plan: OptimiserPlan, step: int, steps: int) -> float:
    """The rate at ``step`` (from 0) of a stage of ``steps``.

    It rises over the first ``warm_up`` share to ``learning_rate``. Then ``cosine`` falls to 0 at the end of the stage;
    ``step`` multiplies by ``step_factor`` every ``step_every`` steps, counted from the stage's first.
    """
    rising = math.ceil(plan.warm_up * steps)
    if step < rising:
        return plan.learning_rate * (step + 1) / (rising + 1)
    if plan.schedule == "step":
        return plan.learning_rate * plan.step_factor ** (step // plan.step_every)
    if plan.schedule == "constant":
        return plan.learning_rate
    return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every group."""
    for group in optimiser.param_groups:
        group["lr"] = rate
