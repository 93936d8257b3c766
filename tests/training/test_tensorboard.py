"""`train --tensorboard`: what TensorBoard itself reads of a run."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import duoseg
from duoseg.errors import InputError
from duoseg.training.log import TensorBoardLog, read_log


def test_tensorboard_shows_every_value_of_the_log_once_also_of_a_run_that_went_on(
    phantoms, tiny_protocol, tmp_path, monkeypatch
):
    monkeypatch.setattr("duoseg.training.loop.REPORT_SECONDS", 0.0)
    asked = {"config": tiny_protocol, "cache": tmp_path / "cache", "method": "dtml", "device": "cpu", "threads": 1}

    def stop(what, done, total, detail=""):
        if what == "train" and done == 7:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        duoseg.train(phantoms, tmp_path / "run", tensorboard=True, progress=stop, **asked)
    duoseg.train(phantoms, tmp_path / "run", tensorboard=True, resume=True, **asked)
    shown = EventAccumulator(str(tmp_path / "run"))
    shown.Reload()
    log = read_log(tmp_path / "run")
    assert [record["step"] for record in log] == list(range(1, 13))
    names = {name for record in log for name in record} - {"step"}
    assert set(shown.Tags()["scalars"]) == names and {"loss", "region", "boundary"} <= names
    for name in names:
        expected = [(record["step"], pytest.approx(record[name], rel=1e-6)) for record in log if name in record]
        assert [(event.step, event.value) for event in shown.Scalars(name)] == expected


def test_without_tensorboard_it_says_what_to_install(monkeypatch, tmp_path):
    for name in ("torch.utils.tensorboard", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        TensorBoardLog(tmp_path, steps_done=0)
