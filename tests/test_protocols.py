"""The protocol files: each is a valid configuration, and says of the published set-up what the papers say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from duoseg.commands.runs import build_method, require_known_settings
from duoseg.config import Config, load_config
from duoseg.methods import method_names
from duoseg.planning.overrides import override
from duoseg.planning.plan import Normalisation, Plan

PROTOCOLS = sorted((Path(__file__).parents[1] / "protocols").glob("*.toml"))
AUTOMATIC = Plan(
    channels=("MRI",),
    classes={"organ": 1},
    spacing=(1, 1, 1),
    patch=(32, 32, 32),
    normalisation=(Normalisation(channel="MRI", scheme="zscore"),),
    steps=10,
)


def the_plan(config: Config) -> Plan:
    return override(AUTOMATIC, {**config.plan, "steps": config.steps})


@pytest.mark.parametrize("path", PROTOCOLS, ids=lambda path: path.stem)
def test_a_protocol_is_a_plan_under_which_every_method_can_be_built(path):
    config = load_config(path)
    require_known_settings(config)
    plan = the_plan(config)
    for method in method_names():
        with torch.device("meta"):
            build_method(config.with_options(method=method), plan)
    assert {entry.method for entry in config.entries.values()} <= set(method_names())


def test_the_papers_protocol_is_the_published_set_up():
    config = load_config(next(path for path in PROTOCOLS if path.stem == "left-atrium-paper"))
    plan = the_plan(config)
    assert (config.labelled, config.steps) == (16, 6000)
    assert plan.patch == (112, 112, 80)
    assert (plan.batch.labelled, plan.batch.unlabelled) == (2, 2)
    assert plan.network.architecture == "vnet" and plan.network.dropout == 0.5
    with torch.device("meta"):
        student = build_method(config.with_options(method="supervised"), plan)
    assert round(sum(weight.numel() for weight in student.parameters()) / 1e6, 2) == 9.45
    optimiser = plan.optimiser
    assert (optimiser.name, optimiser.learning_rate, optimiser.momentum) == ("sgd", 0.01, 0.9)
    assert (optimiser.weight_decay, optimiser.step_every, optimiser.step_factor) == (1e-4, 2500, 0.1)
    assert plan.window.stride == (18, 18, 4) and plan.window.blending == "uniform"
    assert config.prediction.largest_component
