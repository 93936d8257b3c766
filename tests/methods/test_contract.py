"""Whoever writes a method is told in words what it gives back that it must not."""

from __future__ import annotations

import sys
from collections import deque

import numpy as np
import pytest
import torch
from method_cases import a_batch, networks
from torch import nn

import duoseg.methods
from duoseg.errors import InputError
from duoseg.methods import method_names
from duoseg.methods._contract import (
    require_kept,
    require_labelled_term,
    require_lasting,
    require_opinions,
    require_terms,
    require_whole,
    state_shapes,
)
from duoseg.methods.base import Method, Settings, Stage
from duoseg.methods.registry import code_of, find_method
from duoseg.model.losses import class_probabilities, region_loss


class Mine(Method):
    def __init__(self, factory):
        super().__init__(factory, Settings())
        self.region = factory.region()

    def forward(self, batch, progress):
        return {"region": region_loss(self.region(batch.image)[: batch.labelled], batch.label)}

    def members(self, image):
        return [class_probabilities(self.region(image))]


def mine(**changes) -> Mine:
    return type("Mine", (Mine,), {**changes, "__module__": __name__})(networks())


def test_what_is_right_passes():
    method, batch = mine(), a_batch(dtype=torch.float32)
    terms = method(batch, 0.0)
    assert require_terms(method, terms) == terms
    require_labelled_term(method, terms)
    require_opinions(method, batch.image, 1)
    require_kept(method, batch.image)
    require_whole(method)
    require_lasting(method, state_shapes(method))


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (None, "gives back nothing, not a dict"),
        ({}, "gives back no loss term"),
        ([], "gives back a list, not a dict of named loss terms"),
        (torch.ones(()), r"gives back a tensor of shape \(\)"),
        ({"region": torch.ones(2)}, r"'region' is a tensor of shape \(2,\), not a tensor of one number"),
        ({"region": 1.0}, "'region' is a float"),
        ({1: torch.ones(())}, "a loss term 1, and names are text"),
        ({"region": torch.ones(())}, "no loss term depends on a weight that learns"),
    ],
)
def test_loss_terms_that_are_none_are_named_with_the_methods_file(terms, words):
    with pytest.raises(InputError, match=rf"test_contract\.py: Mine\..*{words}"):
        require_terms(mine(), terms)


def test_a_slip_in_the_names_of_the_terms_of_annotated_patches_is_told():
    with pytest.raises(InputError, match=r"Mine\.labelled_terms: names region, and forward's terms are regoin"):
        require_labelled_term(mine(), {"regoin": torch.ones(())})
    require_labelled_term(mine(), {"mixed": torch.ones(())})


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (lambda p: [], "no student's probabilities"),
        (lambda p: p, "not a list of each student's probabilities"),
        (
            lambda p: [p[:, 1:]],
            r"a tensor of shape \(4, 1, 8, 8, 8\), and probabilities are of shape \(4, 2, 8, 8, 8\)",
        ),
        (lambda p: [p[..., ::2]], r"of shape \(4, 2, 8, 8, 4\)"),
        (lambda p: [p * float("nan")], "do not add up to 1"),
        (lambda p: [p.log()], "do not add up to 1"),
    ],
)
def test_members_that_are_no_probabilities_are_refused_before_a_training(members, words):
    method = mine(members=lambda self, image: members(class_probabilities(self.region(image))))
    with pytest.raises(InputError, match=rf"test_contract\.py: Mine\.members: .*{words}"):
        require_opinions(method, a_batch(dtype=torch.float32).image, 1)


def test_networks_in_a_plain_list_are_refused_since_they_would_neither_learn_nor_be_saved():
    method = mine()
    method.others = [nn.Conv3d(1, 1, 1)]
    with pytest.raises(InputError, match=r"Mine\.others: is a plain list of networks.* make it a ModuleList"):
        require_whole(method)
    method.others = {"one": nn.Conv3d(1, 1, 1)}
    with pytest.raises(InputError, match=r"Mine\.others: is a plain dict of networks.* or ModuleDict"):
        require_whole(method)
    method.others = nn.ModuleDict(method.others)
    require_whole(method)


@pytest.mark.parametrize("held", [torch.ones(2), [torch.ones(2)], {"a": torch.ones(2)}, deque([torch.ones(2)])])
def test_tensors_that_are_no_state_are_refused_since_resume_would_lose_them(held):
    method = mine()
    method.memory = held
    with pytest.raises(InputError, match=r"Mine\.memory: is a plain .*which no checkpoint keeps; register"):
        require_whole(method)
    del method.memory
    method.register_buffer("memory", torch.ones(2))
    require_whole(method)


@pytest.mark.parametrize("kind", [nn.Parameter, nn.Buffer])
def test_what_predicts_and_would_not_be_kept_is_refused_before_a_training(kind):
    """As a bias beside the networks: the run would predict by its initial value."""

    def members(self, image):
        logits = self.region(image)
        return [class_probabilities(torch.cat([logits[:, :1], logits[:, 1:] + self.bias], dim=1))]

    method, image = mine(members=members), a_batch(dtype=torch.float32).image
    method.eval()
    method.bias = kind(torch.zeros(()))
    with pytest.raises(InputError, match=r"Mine\.inference_modules: leaves out what .* \(some of bias\)"):
        require_kept(method, image)
    method.head = nn.Module()
    method.head.bias = method.bias
    require_kept(method, image)  # what a module keeps is kept, whatever else names it
    assert method.bias == 0


def test_state_that_grows_or_comes_late_is_refused_since_no_run_could_go_on_from_it():
    method = mine()
    method.register_buffer("queue", torch.zeros(0))
    before = state_shapes(method)
    require_lasting(method, before)
    method.queue = torch.zeros(3)
    with pytest.raises(InputError, match=r"Mine\.queue: was of shape \(0,\) .* is of shape \(3,\) now.* in __init__"):
        require_lasting(method, before)
    method.queue, method.head = torch.zeros(0), nn.Conv3d(1, 1, 1)
    with pytest.raises(InputError, match=r"Mine\.head\.bias: was not there .* is of shape \(1,\) now"):
        require_lasting(method, before)


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("after_step", r"Mine\.after_step: has to take \(progress\), and does not"),
        ("start_stage", r"Mine\.start_stage: has to take \(stage\)"),
        ("start_training", r"Mine\.start_training: has to take \(steps\)"),
        ("forward", r"Mine\.forward: has to take \(batch, progress\)"),
    ],
)
def test_hooks_that_take_other_things_are_refused(hook, words):
    with pytest.raises(InputError, match=words):
        require_whole(mine(**{hook: lambda self: {}}))


def test_stages_of_no_known_kind_or_that_are_no_whole_are_refused():
    with pytest.raises(ValueError, match="batch is one of mixed, labelled, images, not 'unlabelled'"):
        Stage("a", batch="unlabelled")
    with pytest.raises(InputError, match=r"Mine\.stages: holds what is no Stage"):
        require_whole(mine(stages=("a", "b")))
    with pytest.raises(InputError, match=r"Mine\.stages: their shares add up to 0\.7, not 1"):
        require_whole(mine(stages=(Stage("a", 0.5), Stage("b", 0.2))))


def test_a_training_of_a_faulty_method_ends_with_its_file(phantoms, tiny_protocol, tmp_path, monkeypatch):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "mine.py").write_text(
        "from duoseg.methods.supervised import Supervised as _Theirs\n\n\n"
        "class Mine(_Theirs):\n    def members(self, image):\n        return [self.region(image)]\n"
    )
    monkeypatch.setattr(duoseg.methods, "__path__", [*duoseg.methods.__path__, str(tmp_path / "methods")])
    with pytest.raises(InputError, match=r"mine\.py: Mine\.members: .* take their softmax"):
        duoseg.train(phantoms, tmp_path / "run", config=tiny_protocol, method="mine", cache=tmp_path / "cache")
    sys.modules.pop("duoseg.methods.mine")


def test_a_package_brings_its_own_methods_by_an_entry_point(tmp_path, monkeypatch):
    text = "from duoseg.methods.supervised import Supervised\n\n\nclass Mine(Supervised):\n    '''Mine.'''\n"
    (tmp_path / "mine_here.py").write_text(text)
    (tmp_path / "mine-1.0.dist-info").mkdir()
    (tmp_path / "mine-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    points = tmp_path / "mine-1.0.dist-info" / "entry_points.txt"
    points.write_text("[duoseg.methods]\nmine_here = mine_here\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "mine_here" in method_names() and find_method("mine_here").__name__ == "Mine"
    points.write_text("[duoseg.methods]\nduo = mine_here\n")
    with pytest.raises(InputError, match="the name of one of duoseg's own"):
        find_method("duo")
    points.write_text("[duoseg.methods]\nmine_here = mine_here:Mine\n")
    with pytest.raises(InputError, match=r"stands for a .*, not for a module; name the module alone"):
        find_method("mine_here")
    points.write_text("[duoseg.methods]\nmine_here = mine_here\n")
    (tmp_path / "theirs-1.0.dist-info").mkdir()
    (tmp_path / "theirs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (tmp_path / "theirs-1.0.dist-info" / "entry_points.txt").write_text("[duoseg.methods]\nmine_here = json\n")
    with pytest.raises(InputError, match=r"2 packages bring a method 'mine_here' \(.*json.*\)"):
        find_method("mine_here")


def test_files_that_begin_with_an_underscore_are_no_methods():
    assert not [name for name in method_names() if name.startswith("_")]


def test_the_code_of_a_method_is_another_once_it_computes_something_else(tmp_path, monkeypatch):
    digests = []
    first = "from duoseg.methods.supervised import Supervised\n"
    bodies = (
        f"'''A.'''\n{first}class M(Supervised):\n    '''B.'''\n    x = 1\n",
        f"'''Other.'''\n{first}\n\nclass M(Supervised):\n    x = 1  # one\n",
        f"'''A.'''\n{first}class M(Supervised):\n    '''B.'''\n    x = 2\n",
    )
    for number, body in enumerate(bodies):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / f"of_{number}.py").write_text(body)
        monkeypatch.setattr(duoseg.methods, "__path__", [*duoseg.methods.__path__, str(folder)])
        digests.append(code_of(f"of_{number}"))
        sys.modules.pop(f"duoseg.methods.of_{number}")
    assert digests[0] == digests[1] != digests[2]
    assert len({code_of(name) for name in ("duo", "dtml")}) == 2 and np.all([len(one) == 16 for one in digests])
