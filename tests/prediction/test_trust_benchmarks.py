"""The benchmarks of trust score what a run has not seen, and any plan."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from duoseg.planning.plan import NetworkPlan, Normalisation, Plan
from duoseg.scans.dataset import Dataset, load_dataset

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import trust

    return trust


@pytest.fixture
def uncertainty(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import uncertainty

    return uncertainty


@pytest.fixture
def data(phantoms: Path, tmp_path: Path) -> Dataset:
    """Phantoms, the first annotated one of which is held out."""
    folder = shutil.copytree(phantoms, tmp_path / "data")
    names = [case.name for case in load_dataset(folder).train]
    (folder / "splits.json").write_text(json.dumps({"train": names, "holdout": names[:1]}))
    return load_dataset(folder)


def run_of(folder: Path, labelled: list[str], unlabelled: list[str]) -> Path:
    folder.mkdir()
    (folder / "cases.json").write_text(json.dumps({"labelled": labelled, "unlabelled": unlabelled}))
    return folder


def test_a_run_that_was_trained_on_the_scans_to_score_is_refused(trust, data, tmp_path):
    (held,), others = data.holdout, [case.name for case in data.train if case.name not in data.holdout]
    without = run_of(tmp_path / "without", others[:1], others[1:])
    assert [case.name for case in trust.unseen(without, data, "holdout")] == [held]
    assert len(trust.unseen(without, data, "test")) == 2
    for name, seen in (("labelled", ([held], others)), ("raw", (others[:1], [*others[1:], held]))):
        run = run_of(tmp_path / name, *seen)
        with pytest.raises(SystemExit, match=f"{run}: was trained on {held}"):
            trust.unseen(run, data, "holdout")


def test_both_benchmarks_refuse_it(trust, uncertainty, data, tmp_path, monkeypatch):
    run = run_of(tmp_path / "run", [case.name for case in data.train], [])
    monkeypatch.setattr("duoseg.load", lambda *_, **__: SimpleNamespace(judge=SimpleNamespace(calibration=1)))
    for main, words in (
        (trust.main, [run, data.root, "--on", "holdout"]),
        (trust.main, [run, data.root, "--on", "holdout", "--raw", "1"]),
        (uncertainty.main, [run, data.root, "--on", "holdout"]),
    ):
        monkeypatch.setattr("sys.argv", ["benchmark", *map(str, words)])
        with pytest.raises(SystemExit, match="was trained on"):
            main()


@pytest.mark.parametrize("axes", [(), (1, 2)])
def test_without_mirror_axes_there_are_the_opinions_of_the_plain_scan_alone(uncertainty, axes):
    plan = Plan(
        channels=("MRI",),
        classes={"organ": 1},
        spacing=(1.0, 1.0, 1.0),
        patch=(8, 8, 8),
        normalisation=(Normalisation(channel="MRI", scheme="zscore"),),
        network=NetworkPlan(channels=(4, 8), strides=((2, 2, 2),)),
        steps=1,
    )
    plan = plan.model_copy(update={"augmentation": plan.augmentation.model_copy(update={"mirror_axes": axes})})

    def members(patches: torch.Tensor) -> list[torch.Tensor]:
        ramp = torch.linspace(0.2, 0.8, 8).view(1, 1, 1, 8, 1).expand_as(patches)
        return [torch.cat([ramp, 1 - ramp], dim=1), torch.full_like(ramp, 0.5).expand(-1, 2, -1, -1, -1)]

    plain, mirrored = uncertainty.all_opinions(SimpleNamespace(members=members), plan, torch.zeros(1, 8, 8, 8))
    assert plain.shape == (2, 2, 8, 8, 8)
    assert (mirrored is None) == (not axes)
    if mirrored is not None:
        torch.testing.assert_close(mirrored, plain.flip(1 + 1 + axes[0]))
