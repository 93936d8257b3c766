"""What each of two processes with half of a batch computes as losses is what one process computes of the whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import method_cases as make
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes

from duoseg.methods import method_names
from duoseg.methods.base import Batch
from duoseg.methods.registry import find_method
from duoseg.model.draws import SampleGenerator

PROCESSES = 2
MIXED = {"ad_mt", "bcp"}
"""These put patches of one process together, so that other ones meet."""
SETTINGS = {"duo": {"views": ()}, "dtml": {"k": 20.0}, "boundary": {"k": 20.0}}
"""As in the class's own test of whole trainings."""

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this torch has no processes that work together")


def losses(name: str, indices: list[int]) -> dict[str, float]:
    """The terms of the samples of these numbers, of 4 labelled and 4 unlabelled ones, in the middle of a training."""
    torch.manual_seed(0)
    kind = find_method(name)
    method = kind(make.networks(classes=2), kind.Settings(**SETTINGS.get(name, {}))).double().eval()  # no dropout
    labelled = 8 if method.stages[-1].batch == "labelled" else 4
    whole = make.a_batch(classes=2, labelled=labelled, total=8)
    own = [index for index in indices if index < labelled]
    batch = Batch(whole.image[indices], whole.label[own], generator=SampleGenerator(0, 0, indices), plan=make.PLAN)
    with torch.no_grad():
        terms = method(batch, 0.5)
    return {term: float(value) for term, value in terms.items()}


def share(rank: int, folder: str) -> None:
    """One process's terms of every method, written into a file."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    found = {name: losses(name, list(range(rank, 8, PROCESSES))) for name in sorted(set(method_names()) - MIXED)}
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


@pytest.mark.slow
def test_every_method_that_mixes_no_patches_has_the_losses_of_the_whole_batch(tmp_path, monkeypatch):
    if os.uname().sysname == "Linux":
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    processes.spawn(share, (str(tmp_path),), nprocs=PROCESSES)
    shares = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(PROCESSES)]
    for name in shares[0]:
        mean = {term: sum(one[name][term] for one in shares) / PROCESSES for term in shares[0][name]}
        assert mean == pytest.approx(losses(name, list(range(8))), rel=1e-9), name  # the engine's mean over processes
