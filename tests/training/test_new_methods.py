"""What a training does for whoever writes a method: notes in the log, state that lasts, weights that predict."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from safetensors.torch import load_file

import duoseg
import duoseg.methods
from duoseg.commands.runs import load_model
from duoseg.errors import InputError
from duoseg.training.checkpoint import load_checkpoint
from duoseg.training.log import read_log

HEAD = """
import torch
from torch import nn
from duoseg.methods.supervised import Supervised as _Theirs


class Mine(_Theirs):
    def __init__(self, networks, settings):
        super().__init__(networks, settings)
"""


@pytest.fixture
def train_mine(phantoms, tiny_protocol, tmp_path, monkeypatch):
    """Train `supervised` with what stands in a class's body."""
    (tmp_path / "methods").mkdir()
    monkeypatch.setattr(duoseg.methods, "__path__", [*duoseg.methods.__path__, str(tmp_path / "methods")])

    def train(body: str, **options):
        (tmp_path / "methods" / "mine.py").write_text(HEAD + body)
        cache = tmp_path / "cache"
        return duoseg.train(phantoms, tmp_path / "run", config=tiny_protocol, method="mine", cache=cache, **options)

    yield train
    sys.modules.pop("duoseg.methods.mine", None)


def test_what_a_method_notes_stands_in_the_log_and_on_the_page_and_is_not_learned(train_mine):
    run = train_mine(
        "        self.register_buffer('step', torch.zeros(()))\n\n"
        "    def forward(self, batch, progress):\n"
        "        batch.note('hundreds', 100 * self.step if self.step != 3 else self.step / 0)\n"
        "        batch.note('half', 0.5)\n"
        "        return super().forward(batch, progress)\n\n"
        "    def after_step(self, progress):\n        self.step += 1\n"
    )
    records = read_log(run.folder)
    assert [record.get("noted/hundreds") for record in records[:5]] == [0, 100, 200, None, 400]
    assert all(record["loss"] == record["region"] < 10 and record["noted/half"] == 0.5 for record in records)
    page = (run.folder / "report.html").read_text()
    assert "Noted by the method" in page and "hundreds" in page


def test_a_network_with_two_names_is_kept_under_both(train_mine):
    run = train_mine("        self.students = nn.ModuleList([self.region])\n")
    kept, trained = load_file(run.folder / "model.safetensors"), load_checkpoint(run.folder)["method"]
    assert kept.keys() == trained.keys() and any(name.startswith("students.0.") for name in kept)
    assert all(torch.equal(kept[name], trained[name]) for name in kept)
    load_model(run.folder, device="cpu")


def test_a_buffer_that_became_undefined_is_never_saved(train_mine):
    with pytest.raises(InputError, match="became infinite or undefined"):
        train_mine(
            "        self.register_buffer('queue', torch.zeros(2))\n\n"
            "    def after_step(self, progress):\n        self.queue /= 0\n"
        )


def test_state_that_is_undefined_from_the_start_and_extra_state_are_the_methods_own(train_mine):
    run = train_mine(
        "        self.register_buffer('unknown', torch.full((2,), torch.nan))\n"
        "        self.kernels = [__import__('numpy').ones(3)]\n"
        "        self.learned = list(self.region.parameters())\n\n"
        "    def get_extra_state(self):\n        return {'n': 3}\n\n"
        "    def set_extra_state(self, state):\n        assert state == {'n': 3}\n"
    )
    assert load_checkpoint(run.folder)["method"]["_extra_state"] == {"n": 3}


@pytest.mark.parametrize("name", ["noted/x", "training_dice/x", "seconds"])
def test_a_loss_term_with_a_name_of_the_logs_own_is_refused(train_mine, name):
    with pytest.raises(InputError, match=f"The method calls a loss term '{name}'"):
        train_mine(
            "\n    def forward(self, batch, progress):\n"
            f"        return {{{name!r}: super().forward(batch, progress)['region']}}\n"
        )


def test_a_memory_that_grows_is_refused_at_the_first_step(train_mine, tmp_path):
    with pytest.raises(InputError, match=r"mine\.py: Mine\.queue: was of shape \(0,\)"):
        train_mine(
            "        self.register_buffer('queue', torch.zeros(0))\n\n"
            "    def after_step(self, progress):\n        self.queue = torch.cat([self.queue, torch.ones(1)])\n"
        )
    assert len(read_log(tmp_path / "run")) <= 1


def test_a_run_that_went_on_with_other_code_of_its_method_keeps_the_digests_of_both(train_mine, tmp_path, caplog):
    body = "\n    def after_step(self, progress):\n        {}\n"
    train_mine(body.format("pass"))
    first = json.loads((tmp_path / "run" / "environment.json").read_text())["method_code"]
    sys.modules.pop("duoseg.methods.mine")
    train_mine(body.format("return None"), resume=True)
    both = json.loads((tmp_path / "run" / "environment.json").read_text())["method_code"]
    assert both.startswith(f"{first}+") and len(both) == 2 * len(first) + 1 and "other code" in caplog.text
    caplog.clear()
    sys.modules.pop("duoseg.methods.mine")
    train_mine(body.format("pass"), resume=True)  # whoever takes the change back is told all the same
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["method_code"] == both
    assert "other code" in caplog.text


def test_a_training_leaves_the_callers_draws_alone(train_mine):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_mine("")
    assert torch.equal(torch.rand(3), expected)


def test_true_is_no_number_in_a_methods_settings(phantoms, tiny_protocol, tmp_path):
    protocol = tmp_path / "wrong.toml"
    protocol.write_text(tiny_protocol.read_text() + "\n[methods.duo]\nweight = true\nby_class = true\n")
    with pytest.raises(InputError, match=r"\[methods\.duo\]: 'weight': .*is true or false, and should be a number"):
        duoseg.train(phantoms, tmp_path / "run", config=protocol)
