"""What the tests of commands share: the command line in this process, and a trained run."""

from __future__ import annotations

from pathlib import Path

import pytest

import duoseg
from duoseg.cli import main


@pytest.fixture
def run(capsys):
    """Call the command line in this process: (exit status, standard output, standard error)."""

    def call(*words):
        status = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def trained(phantoms: Path, tiny_protocol: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few steps, not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    cache = tmp_path_factory.mktemp("cache")
    duoseg.train(phantoms, out, config=tiny_protocol, cache=cache, method="dtml", device="cpu", threads=1)
    return out
