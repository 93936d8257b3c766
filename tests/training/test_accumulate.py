"""A batch that is taken in parts: the same patches, the mean of what they teach, less memory."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from torch import nn

import duoseg
from duoseg.commands.hours import warn_of_memory
from duoseg.commands.runs import build_method
from duoseg.config import Config
from duoseg.errors import InputError
from duoseg.methods.base import Method
from duoseg.planning.plan import AugmentationPlan, BatchPlan, Normalisation, OptimiserPlan, Plan
from duoseg.training.engine import make_fabric
from duoseg.training.log import read_log
from duoseg.training.memory import estimate_bytes
from duoseg.training.patches import RawBatch
from duoseg.training.places import Place
from duoseg.training.steps import Steps

STILL = {name: 0.0 for name in AugmentationPlan.model_fields if name.endswith("probability")}


class EachAlone(Method):
    """Its loss is a mean over samples, so that parts of equal size add up to the whole exactly."""

    def __init__(self):
        nn.Module.__init__(self)
        torch.manual_seed(0)
        self.layer = nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, batch, progress):
        error = (self.layer(batch.image)[:, 0]).square().mean(dim=(1, 2, 3))
        target = (self.layer(batch.image[: batch.labelled])[:, 0] - batch.label).square().mean()
        return {"all": error.mean(), "labelled": target}


def plan_of(accumulate: int) -> Plan:
    return Plan(
        channels=("MRI",),
        classes={"organ": 1},
        spacing=(1, 1, 1),
        patch=(6, 6, 6),
        normalisation=(Normalisation(channel="MRI", scheme="zscore"),),
        batch=BatchPlan(labelled=2, unlabelled=4, accumulate=accumulate),
        optimiser=OptimiserPlan(name="sgd", learning_rate=0.1, clip_norm=0.5),
        augmentation=AugmentationPlan(mirror_axes=(), elastic_voxels=0.0, **STILL),
        steps=1,
    )


def a_batch() -> RawBatch:
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, 2, (2, 6, 6, 6), generator=generator, dtype=torch.int8)
    return RawBatch(torch.randn((6, 1, 6, 6, 6), generator=generator), label, range(6))


def test_parts_have_all_items_once_each_with_as_many_labels():
    batch = a_batch()
    first, second = batch.parts(2)
    assert (list(first.positions), list(second.positions)) == ([0, 2, 3], [1, 4, 5])
    for part, own in ((first, [0]), (second, [1])):
        assert torch.equal(part.image, batch.image[part.positions])
        assert torch.equal(part.label, batch.label[own])
    (whole,) = batch.parts(1)
    assert torch.equal(whole.image, batch.image) and list(whole.positions) == list(range(6))


def test_parts_teach_what_the_whole_batch_does():
    results = []
    for accumulate in (1, 2):
        method = EachAlone()
        steps = Steps(make_fabric("cpu", "32"), method, plan_of(accumulate), seed=0)
        terms = steps.take(a_batch(), step=0, progress=0.0)
        results.append((terms, [weight.detach().clone() for weight in method.parameters()]))
    (terms, weights), (terms_of_parts, weights_of_parts) = results
    for name, term in terms.items():
        torch.testing.assert_close(terms_of_parts[name], term)
    before = list(EachAlone().parameters())
    for own, other, start in zip(weights_of_parts, weights, before, strict=True):
        torch.testing.assert_close(own, other)
        assert not torch.equal(own, start)


@pytest.mark.parametrize("method", ["supervised", "dtml", "duo", "bcp"])
def test_a_training_in_parts_begins_as_one_without(phantoms, tiny_protocol, tmp_path, method):
    first = {}
    for accumulate in (1, 2):
        out = tmp_path / str(accumulate)
        duoseg.train(
            phantoms,
            out,
            method=method,
            accumulate=accumulate,
            config=tiny_protocol,
            steps=3,
            cache=tmp_path / "cache",
            device="cpu",
            threads=1,
        )
        assert json.loads((out / "plan.json").read_text())["batch"]["accumulate"] == accumulate
        first[accumulate] = read_log(out)[0]
    # Dice is one of a part, not of the batch: close, and no more
    assert first[2]["loss"] == pytest.approx(first[1]["loss"], rel=0.15)
    duoseg.train(phantoms, tmp_path / "2", cache=tmp_path / "cache", resume=True, device="cpu", threads=1)
    with pytest.raises(InputError, match="accumulate"):
        duoseg.train(phantoms, tmp_path / "2", resume=True, accumulate=1, device="cpu", threads=1)


def test_a_batch_that_has_no_such_parts_is_refused(phantoms, tmp_path):
    with pytest.raises(InputError, match="2 labelled and 2 unlabelled patches cannot be taken in 3 equal parts"):
        duoseg.train(phantoms, tmp_path / "run", accumulate=3, device="cpu")
    assert not (tmp_path / "run" / "config.toml").exists()


def test_a_step_that_runs_out_of_memory_says_what_to_do(phantoms, tiny_protocol, tmp_path, monkeypatch):
    def exhausted(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr("duoseg.training.steps.Steps.take", exhausted)
    with pytest.raises(InputError, match=r"needs more memory than there is.*--accumulate 2"):
        duoseg.train(phantoms, tmp_path / "run", config=tiny_protocol, cache=tmp_path / "cache", device="cpu")


def test_the_warning_of_too_little_memory_says_in_how_many_parts_it_would_fit(phantoms, tmp_path, monkeypatch, caplog):
    config = Config(method="supervised")
    plan = duoseg.plan(phantoms, device="cpu")
    with torch.device("meta"):
        whole = estimate_bytes(build_method(config, plan), plan)
        parts = plan.model_copy(update={"batch": plan.batch.model_copy(update={"accumulate": 2})})
        half = estimate_bytes(build_method(config, parts), parts)
    assert half < 0.6 * whole
    monkeypatch.setattr("duoseg.commands.hours.available_bytes", lambda device: int(1.2 * half))
    options = {"method": "supervised", "steps": 1, "cache": tmp_path / "cache", "device": "cpu", "threads": 1}
    with caplog.at_level(logging.WARNING, logger="duoseg"):
        duoseg.train(phantoms, tmp_path / "whole", **options)
    assert "What would fit: `duoseg train --accumulate 2`, or `duoseg plan --patch" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="duoseg"):
        duoseg.train(phantoms, tmp_path / "parts", accumulate=2, **options)
    assert "memory" not in caplog.text


def test_processes_on_one_machine_share_its_memory_and_are_told_of_parts_that_they_can_share(
    phantoms, monkeypatch, caplog
):
    config, plan = Config(method="supervised"), duoseg.plan(phantoms, device="cpu")
    plan = plan.model_copy(update={"batch": BatchPlan(labelled=4, unlabelled=4)})
    monkeypatch.setattr("duoseg.commands.hours.find_place", lambda: Place(0, 2, 0, 2, "torchrun"))
    with torch.device("meta"):
        need = estimate_bytes(build_method(config, plan), plan, processes=2)
    for there, warned in ((8 * need, False), (int(1.3 * need), True)):  # of which each process has half
        caplog.clear()
        monkeypatch.setattr("duoseg.commands.hours.available_bytes", lambda device, there=there: there)
        with caplog.at_level(logging.WARNING, logger="duoseg"):
            warn_of_memory(plan, config, "cpu")
        assert ("memory" in caplog.text) == warned
    assert "`duoseg train --accumulate 2`" in caplog.text
    assert "--accumulate 4" not in caplog.text  # of 4 patches two processes cannot take 4 parts each
