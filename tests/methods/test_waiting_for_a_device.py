"""No method makes the host wait for its device, by a step on one that holds no values: who asks for any fails."""

from __future__ import annotations

import pytest
import torch
from method_cases import PLAN, total

from duoseg.commands.runs import build_method
from duoseg.config import Config
from duoseg.methods import method_names
from duoseg.methods.base import Batch
from duoseg.model.draws import SampleGenerator
from duoseg.planning.plan import NetworkPlan

WAIT = {
    "ad_mt": "whose turn it is stands in its checkpoint",
    "bcp": "keeps the largest components of its labels",
    "dtc": "distances to the end of the patch, as published",
    "sassnet": "distances to the end of the patch, as published",
}
SIZE = (16, 16, 16)


class Nothing(SampleGenerator):
    """Draws without values on the device, as ever on the host."""

    def __init__(self, step: int) -> None:
        super().__init__(0, step, range(4))
        self.device = torch.device("meta")

    def uniform(self, low, high, *shape):
        return super().uniform(low, high, *shape) if self.device.type == "cpu" else self.empty(shape)

    def normal(self, *shape):
        return super().normal(*shape) if self.device.type == "cpu" else self.empty(shape)

    def integers(self, low, high, *shape):
        return super().integers(low, high, *shape) if self.device.type == "cpu" else self.empty(shape, torch.int64)

    def empty(self, shape, dtype=torch.float32):
        return torch.empty((len(self), *shape), dtype=dtype, device=self.device)


def train(name: str) -> None:
    network = NetworkPlan(channels=(3, 4), strides=((2, 2, 2),))
    plan = PLAN.model_copy(update={"patch": SIZE, "network": network})
    with torch.device("meta"):
        method = build_method(Config(method=name), plan)
    for stage in method.stages:
        method.start_stage(stage)
        labelled = 2 if stage.batch == "mixed" else 4
        for step in range(6):  # views that take turns all have theirs
            image = torch.empty(4, 1, *SIZE, device="meta")
            label = torch.empty(labelled, *SIZE, dtype=torch.long, device="meta")
            total(method(Batch(image, label, generator=Nothing(step), plan=plan), 0.5)).backward()
            method.after_step(0.5)


@pytest.mark.parametrize("name", [name for name in method_names() if name not in WAIT])
def test_a_step_reads_nothing_back(name):
    train(name)


@pytest.mark.parametrize("name", WAIT)
def test_those_that_have_to_read_something_back_are_known(name):
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        train(name)
