"""What holds for every method, whichever files lie in the package: it trains, goes on exactly, and predicts."""

from __future__ import annotations

import os
import re
import signal

import numpy as np
import pytest
import torch

import duoseg
from duoseg.commands.runs import build_method, load_plan
from duoseg.config import Config
from duoseg.methods import method_names
from duoseg.methods.base import Batch, Method
from duoseg.methods.registry import find_method
from duoseg.model.draws import SampleGenerator
from duoseg.model.teacher import Teacher
from duoseg.planning.plan import AugmentationPlan, BatchPlan, NetworkPlan, Normalisation, Plan
from duoseg.scans.dataset import load_dataset
from duoseg.scans.formats import read_scan
from duoseg.training.loop import Interrupted
from duoseg.training.memory import estimate_bytes

INTERRUPTED_AT = 7  # of 12 steps: in the second stage of those that have two
PLAN = Plan(
    channels=("t1", "t2"),
    classes={"organ": 1, "lesion": 2},
    spacing=(1, 1, 2),
    patch=(48, 32, 16),
    normalisation=tuple(Normalisation(channel=name, scheme="zscore") for name in ("t1", "t2")),
    network=NetworkPlan(architecture="vnet", channels=(2, 3, 4, 5, 6), strides=((2, 2, 2),) * 4, dropout=0.1),
    augmentation=AugmentationPlan(mirror_axes=(0, 1, 2), quarter_turns=True),
    steps=10,
)


@pytest.fixture(scope="module")
def often_saved(tmp_path_factory, tiny_protocol):
    path = tmp_path_factory.mktemp("protocol") / "often-saved.toml"
    path.write_text(tiny_protocol.read_text() + "\n[training]\ncheckpoint_seconds = 0.001\n")
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("name", method_names())
def test_averages_begin_with_the_weights_that_a_training_begins_with(name):
    torch.manual_seed(0)
    method = build_method(Config(method=name), PLAN)
    with torch.no_grad():
        for module in method.inference_modules().values():
            for weight in module.parameters():
                weight.fill_(0.5)
    method.begin_with_weights()
    method.start_stage(method.stages[-1])
    for module in method.modules():
        if isinstance(module, Teacher):
            learned = {key for key, _ in module.network.named_parameters()}
            assert all(bool((module.network.state_dict()[key] == 0.5).all()) for key in learned)


@pytest.mark.parametrize("name", method_names())
def test_an_interrupted_training_goes_on_to_the_same_weights_and_predicts(name, phantoms, often_saved, cache, tmp_path):
    def train(out, **options):
        return duoseg.train(phantoms, out, cache=cache, device="cpu", threads=1, **options)

    def interrupt(what, done, total, detail=""):
        if what == "train" and done == INTERRUPTED_AT:
            os.kill(os.getpid(), signal.SIGINT)

    train(tmp_path / "whole", config=often_saved, method=name)
    with pytest.raises(Interrupted):
        train(tmp_path / "halved", config=often_saved, method=name, progress=interrupt)
    train(tmp_path / "halved", resume=True)
    whole, halved = ((tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "halved"))
    assert whole == halved

    case = load_dataset(phantoms).test[0]
    scan = read_scan(case.images[0])
    prediction = duoseg.load(tmp_path / "whole", device="cpu").predict(scan.voxels, scan.grid)
    assert prediction.mask.shape == scan.voxels.shape
    torch.testing.assert_close(prediction.probabilities.sum(0), torch.ones(prediction.probabilities.shape[1:]))
    plan = load_plan(tmp_path / "whole" / "plan.json")
    assert set(np.unique(prediction.mask)) <= {0, *plan.classes.values()}
    with torch.device("meta"):
        assert estimate_bytes(build_method(Config(method=name), plan), plan) > 0


@pytest.mark.parametrize("name", method_names())
def test_stages_fill_the_steps_and_every_setting_is_explained(name):
    method = find_method(name)
    assert issubclass(method, Method)
    assert sum(stage.share for stage in method.stages) == pytest.approx(1)
    text = method.Settings.__doc__ or ""
    for field in method.Settings.model_fields:
        assert re.search(rf"^\W*{field}:", text, re.MULTILINE), f"{method.Settings.__name__} explains no '{field}:'"


@pytest.mark.parametrize("unlabelled", [2, 0])
@pytest.mark.parametrize("name", method_names())
def test_a_v_net_learns_in_half_precision_from_uneven_patches_of_several_channels(name, unlabelled, monkeypatch):
    # With AMX and torch 2.13 oneDNN's bf16 makes of equal V-Nets now and then NaN: docs/results/performance.md.
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    plan = PLAN.model_copy(update={"batch": BatchPlan(labelled=2, unlabelled=unlabelled)})
    torch.manual_seed(0)
    method = build_method(Config(method=name), plan)
    optimiser = torch.optim.SGD(method.parameter_groups(), lr=0.01)
    for stage in method.stages:
        method.start_stage(stage)
        labelled = 2 if stage.batch == "mixed" else 2 + unlabelled
        for step in range(2):
            image = torch.randn(2 + unlabelled, 2, *plan.patch, generator=torch.Generator().manual_seed(step))
            label = torch.randint(-1, 3, (labelled, *plan.patch), generator=torch.Generator().manual_seed(step))
            generator = SampleGenerator(0, step, range(len(image)))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                terms = method(Batch(image, label, generator=generator, plan=plan), 0.5)
            assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values()), terms
            optimiser.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            optimiser.step()
            method.after_step(0.5)
    assert all(value.isfinite().all() for value in method.state_dict().values())
    # Whoever predicts has seen scans: its normalisation has statistics of them.
    for network in method.inference_modules().values():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                assert module.num_batches_tracked > 0 and bool((module.running_mean != 0).any())
