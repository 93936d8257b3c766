"""`duoseg export`: files that other programs run without duoseg."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile

import numpy as np
import onnxruntime
import pytest
import torch

import duoseg
from duoseg.errors import InputError


def test_a_run_becomes_an_onnx_file(run, trained, tmp_path):
    file = tmp_path / "models" / "first.onnx"
    status, out, err = run("export", trained, "--out", file)
    assert status == 0, err
    assert str(file) in " ".join(out.split())
    network = duoseg.load(trained, device="cpu").network
    window = torch.randn(1, 1, 16, 16, 8, generator=torch.Generator().manual_seed(0))
    (said,) = onnxruntime.InferenceSession(file).run(None, {"image": window.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(said, network(window), atol=1e-5)


@pytest.mark.slow
def test_monai_segments_with_a_bundle_as_duoseg_does(trained, phantoms, tmp_path):
    archive = duoseg.export(trained, tmp_path / "organ.zip", format="monai")
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    bundle = tmp_path / "organ"
    command = [sys.executable, "-m", "monai.bundle", "run", "--bundle_root", bundle]
    for name, value in {
        "meta_file": bundle / "configs" / "metadata.json",
        "config_file": bundle / "configs" / "inference.json",
        "dataset_dir": phantoms / "imagesTs",
        "output_dir": tmp_path / "theirs",
    }.items():
        command += [f"--{name}", value]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, cwd=tmp_path)
    duoseg.predict(trained, phantoms / "imagesTs", tmp_path / "ours", device="cpu", threads=1)
    scores = duoseg.evaluate(tmp_path / "theirs", tmp_path / "ours")
    assert len(scores.cases) == 2
    assert scores.means()["all"]["dice"] > 0.9  # MONAI does not smooth what it shrinks


@pytest.mark.parametrize(("format", "name"), [("onnx", "first.zip"), ("monai", "first"), ("onnx", "plan.json")])
def test_a_name_with_another_ending_is_refused(trained, tmp_path, format, name):
    with pytest.raises(InputError, match="ends in"):
        duoseg.export(trained, tmp_path / name, format=format)
    assert not list(tmp_path.iterdir())


def test_what_onnx_needs_is_said(run, trained, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name))
    status, _, err = run("export", trained, "--out", tmp_path / "first.onnx")
    assert status == 1 and "pip install" in err and not list(tmp_path.iterdir())


def test_a_folder_that_is_no_run_is_refused(run, tmp_path):
    status, _, err = run("export", tmp_path, "--out", tmp_path / "first.onnx")
    assert status == 1 and "not a finished run" in err


def test_an_archive_that_is_no_bundle_is_never_replaced(run, trained, tmp_path):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("scans/a.nii.gz", b"precious")
    before = (tmp_path / "data.zip").read_bytes()
    status, _, err = run("export", trained, "--out", tmp_path / "data.zip", "--format", "monai")
    assert status == 1 and "that duoseg wrote" in err and (tmp_path / "data.zip").read_bytes() == before
    file = duoseg.export(trained, tmp_path / "ours.zip", format="monai")
    assert duoseg.export(trained, file, format="monai") == file
    status, _, err = run("export", trained, "--out", tmp_path / "new.zip")
    assert status == 1 and "--format monai" in err


def test_a_model_of_another_program_is_never_replaced(run, trained, tmp_path):
    onnx = pytest.importorskip("onnx")
    file = duoseg.export(trained, tmp_path / "ours.onnx")
    assert duoseg.export(trained, file) == file
    model = onnx.load(file)
    model.producer_name = "another"
    onnx.save(model, tmp_path / "theirs.onnx")
    (tmp_path / "text.onnx").write_text("precious")
    for name in ("theirs.onnx", "text.onnx"):
        before = (tmp_path / name).read_bytes()
        status, _, err = run("export", trained, "--out", tmp_path / name)
        assert status == 1 and "that duoseg wrote" in err and (tmp_path / name).read_bytes() == before
