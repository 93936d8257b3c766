"""The page of a training while it goes on."""

from __future__ import annotations

from itertools import pairwise

import pytest

from duoseg.commands import live, train
from duoseg.commands.live import LivePage
from duoseg.errors import InputError
from duoseg.training.steps import Steps


def test_pages_are_written_at_once_and_then_as_often_as_a_hundredth_of_the_time_allows(monkeypatch):
    clock, written = [1000.0], []

    def write(note, refresh_seconds):
        written.append(clock[0])
        clock[0] += 0.5  # so long does it take
        return None

    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    page = LivePage(write)
    for _ in range(1200):
        page.write([])
        clock[0] += 0.1
    assert written[0] == 1000.0
    assert all(50 <= later - before <= 51 for before, later in pairwise(written))
    assert len(written) == 3


@pytest.mark.parametrize("fault", [OSError("no space left"), KeyError("labelled")])
def test_a_page_that_cannot_be_written_ends_no_training(caplog, monkeypatch, fault):
    def write(note, refresh_seconds):
        raise fault

    page = LivePage(write)
    for now in range(0, 300, 40):
        monkeypatch.setattr(live.time, "monotonic", lambda now=now: float(now))
        page.write([])
    assert caplog.text.count("and it goes on") == 1


def test_a_page_is_there_from_the_first_step_and_is_final_when_the_training_ends(phantoms, tiny_protocol, tmp_path):
    seen = []

    def look(what, done, total, text=""):
        page = tmp_path / "run" / "report.html"
        if what == "train" and page.is_file():
            seen.append(page.read_text())

    options = {"config": tiny_protocol, "cache": tmp_path / "cache", "device": "cpu", "threads": 1}
    train.train(phantoms, tmp_path / "run", steps=60, progress=look, **options)
    final = (tmp_path / "run" / "report.html").read_text()
    assert seen and "of 60 (" in seen[0] and 'http-equiv="refresh"' in seen[0]
    assert "Trained for 60 steps" in final and 'http-equiv="refresh"' not in final


def test_a_training_that_fails_leaves_a_page_that_no_longer_loads_itself(
    phantoms, tiny_protocol, tmp_path, monkeypatch
):
    def fails(steps, raw, *, step, progress):
        if step == 5:
            raise InputError("no more")
        return take(steps, raw, step=step, progress=progress)

    take = Steps.take
    monkeypatch.setattr("duoseg.training.loop.Steps.take", fails)
    options = {"config": tiny_protocol, "cache": tmp_path / "cache", "device": "cpu", "threads": 1}
    with pytest.raises(InputError, match="no more"):
        train.train(phantoms, tmp_path / "run", **options)
    page = (tmp_path / "run" / "report.html").read_text()
    assert 'http-equiv="refresh"' not in page
