"""Looks at what is being learned: right, at the right steps, and without any effect on the training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import duoseg
from duoseg.training.log import read_log
from duoseg.training.looks import is_due, training_dice


class Says(nn.Module):
    """A method that finds class 1 left of the middle, and class 2 nowhere; in training mode something else."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Dropout(0.5).eval()
        self.free = nn.Dropout(0.5)

    def probabilities(self, image):
        assert not self.free.training
        said = torch.zeros(len(image), 3, *image.shape[2:])
        said[:, 1, :2] = 1.0
        said[:, 0, 2:] = 1.0
        return said


def test_dice_is_that_of_the_patches_where_the_label_is_known():
    method, label = Says(), torch.zeros(2, 4, 4, 4, dtype=torch.long)
    label[:, 1:3] = 1
    expected = 2 * 32 / (64 + 64)
    assert training_dice(method, torch.zeros(2, 1, 4, 4, 4), label, ["a", "b"]) == {"training_dice/a": expected}
    label[:, 0] = -1  # half of what is said does not count
    label[0, 3, 0, 0] = 2
    found = training_dice(method, torch.zeros(2, 1, 4, 4, 4), label, ["a", "b"])
    assert found == {"training_dice/a": 2 * 32 / (32 + 64), "training_dice/b": 0.0}
    assert method.free.training and method.training and not method.frozen.training


@pytest.mark.parametrize("steps", [1, 7, 19, 50, 99, 149, 1000, 1234, 100_000])
def test_looks_are_some_fifty_no_more_than_one_in_twenty_steps_and_the_last_has_one(steps):
    due = [step for step in range(1, steps + 1) if is_due(step, steps)]
    assert due[-1] == steps
    assert min(steps // 20, 47) <= len(due) <= min(steps // 20, 50) + 1


def test_looking_changes_nothing_of_what_is_learned(phantoms, tiny_protocol, tmp_path, monkeypatch):
    options = {"config": tiny_protocol, "cache": tmp_path / "cache", "method": "ua_mt", "device": "cpu", "threads": 1}
    duoseg.train(phantoms, tmp_path / "looked", **options)
    monkeypatch.setattr("duoseg.training.loop.is_due", lambda step, steps: False)
    duoseg.train(phantoms, tmp_path / "blind", **options)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("looked", "blind")]
    assert weights[0] == weights[1]
    looked, blind = (read_log(tmp_path / name) for name in ("looked", "blind"))
    dice = [record["training_dice/atrium"] for record in looked if "training_dice/atrium" in record]
    assert dice and all(0 <= value <= 1 for value in dice)
    assert not any("training_dice/atrium" in record for record in blind)
