"""Who waits for another `duoseg compare` is told so, if it takes long enough to wonder."""

from __future__ import annotations

import threading
import time

import pytest

from duoseg.commands.comparing import locks


@pytest.mark.parametrize("held", [0.1, 0.6])
def test_a_wait_is_told_where_it_is_long(tmp_path, monkeypatch, caplog, held):
    monkeypatch.setattr(locks, "SOON", 0.3)
    taken = threading.Event()

    def hold():
        with locks.locked(tmp_path):
            taken.set()
            time.sleep(held)

    other = threading.Thread(target=hold)
    other.start()
    taken.wait()
    with locks.locked(tmp_path):
        pass
    other.join()
    assert ("waiting for it" in caplog.text) == (held > 0.3)
