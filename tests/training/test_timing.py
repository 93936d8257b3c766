"""A measured step is a real one; memory is estimated before and measured after."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch

from duoseg.methods.base import Method, Stage
from duoseg.methods.dtml import Dtml
from duoseg.methods.supervised import Supervised
from duoseg.model.networks import NetworkFactory
from duoseg.planning.plan import BatchPlan, NetworkPlan, Normalisation, Plan
from duoseg.training import timing
from duoseg.training.memory import PeakMemory, available_bytes, estimate_bytes
from duoseg.training.timing import measure_step


def plan(patch=(16, 16, 8), **changes) -> Plan:
    values = {
        "channels": ("MR",),
        "classes": {"a": 1, "b": 2},
        "spacing": (1.0, 1.0, 1.0),
        "patch": patch,
        "normalisation": (Normalisation(channel="MR", scheme="zscore"),),
        "network": NetworkPlan(channels=(4, 8), strides=((2, 2, 2),)),
        "steps": 10,
    }
    return Plan(**{**values, **changes})


def learner(made: Plan, method=Dtml) -> Method:
    factory = NetworkFactory(made.network, in_channels=1, classes=len(made.classes), patch=made.patch)
    return method(factory, method.Settings())


def test_a_step_takes_time_and_memory_and_leaves_the_generator_as_it_was():
    made = plan()
    one = learner(made)
    weights = [weight.clone() for weight in one.parameters()]
    state = torch.get_rng_state()
    cost = measure_step(one, made, device="cpu")
    assert 0 < cost.seconds < 10
    assert torch.equal(torch.get_rng_state(), state)
    assert any(not torch.equal(before, now) for before, now in zip(weights, one.parameters(), strict=True))


def test_a_larger_patch_takes_longer():
    made, larger = plan(), plan(patch=(48, 48, 32))
    small, large = (measure_step(learner(one), one, device="cpu").seconds for one in (made, larger))
    assert large > 2 * small


def test_measuring_ends_in_time_with_one_step_at_least(monkeypatch):
    made = plan()
    slow = learner(made)
    forward = slow.forward

    def slowly(*given):
        time.sleep(0.2)
        return forward(*given)

    monkeypatch.setattr(slow, "forward", slowly)
    began = time.perf_counter()
    assert measure_step(slow, made, device="cpu", most_seconds=0.1).seconds >= 0.2
    assert time.perf_counter() - began < 1.0


def test_stages_count_by_their_shares(monkeypatch):
    made = plan(batch=BatchPlan(labelled=4, unlabelled=0))
    staged = learner(made, Supervised)
    monkeypatch.setattr(staged, "stages", (Stage("a", 0.25, "labelled"), Stage("b", 0.75, "labelled")))
    seen = []
    monkeypatch.setattr(staged, "start_stage", lambda stage: seen.append(stage.name))
    monkeypatch.setattr("duoseg.training.timing._stage_seconds", lambda steps, sampler, stage, *more: ord(stage.name))
    assert measure_step(staged, made, device="cpu").seconds == 0.25 * ord("a") + 0.75 * ord("b")
    assert seen == ["a", "b"]


def test_want_of_memory_is_an_infinite_time_and_no_crash(monkeypatch):
    made = plan()
    one = learner(made)

    def greedy(*given):
        return torch.empty(1 << 60)

    monkeypatch.setattr(one, "forward", greedy)
    assert math.isinf(measure_step(one, made, device="cpu").seconds)


@pytest.mark.parametrize("classes", [1, 12])
def test_the_estimate_of_memory_lies_within_half_of_what_is_measured(classes):
    made = plan(
        patch=(48, 48, 32),
        classes={str(value): value for value in range(1, classes + 1)},
        network=NetworkPlan(stem="strided", channels=(16, 32, 64), strides=((2, 2, 2), (2, 2, 2))),
    )
    with torch.device("meta"):
        estimate = estimate_bytes(learner(made), made)
    measured = measure_step(learner(made), made, device="cpu").peak_bytes
    if measured is None:
        pytest.skip("this system does not tell")
    assert 0.5 * measured < estimate < 1.6 * measured


def test_an_estimate_of_a_huge_patch_takes_no_memory():
    made = plan(patch=(2048, 2048, 1024), network=NetworkPlan())
    with torch.device("meta"):
        assert estimate_bytes(learner(made), made) > 1e12


def test_peak_memory_is_that_of_what_is_held_at_once():
    peak = PeakMemory("cpu")
    if peak.bytes() is None:
        pytest.skip("this system does not tell")
    held = torch.ones(64 << 20, dtype=torch.uint8)
    del held
    assert 60 << 20 < peak.bytes() < 120 << 20


def test_available_memory_is_known_on_linux_and_unknown_on_mps():
    there = available_bytes("cpu")
    assert there is None or there > 0
    assert available_bytes("mps") is None


def test_a_plan_with_many_stages_is_measured_no_longer_than_one_with_one(monkeypatch):
    made = plan(batch=BatchPlan(labelled=4, unlabelled=0))
    staged = learner(made, Supervised)
    monkeypatch.setattr(staged, "stages", tuple(Stage(name, 0.25, "labelled") for name in "abcd"))
    limits = []
    monkeypatch.setattr("duoseg.training.timing._stage_seconds", lambda *given: limits.append(given[-1]) or 1.0)
    measure_step(staged, made, device="cpu", most_seconds=8.0)
    assert limits == [2.0] * 4


def test_the_foreground_of_the_noise_is_searched_once_and_lies_in_it():
    label = np.random.default_rng(0).integers(0, 3, (9, 8, 7), np.int8)
    noise = timing._Noise(image=label[None].astype(np.float32), label=label, classes=3)
    assert noise.foreground is noise.foreground
    assert [len(found) for found in noise.foreground] == [1, 1, 0]
    assert all(label[tuple(found[0])] == index for index, found in enumerate(noise.foreground[:2], start=1))
