"""Damaged scans by the hundred, and that those who judge them would notice what must not happen.

`benchmarks/fuzz_formats.py` reads them by the thousands.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from duoseg.errors import InputError
from duoseg.scans.formats import read_scan, write
from duoseg.scans.scan import Grid, Scan

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_damaged_scans_are_read_right_or_refused_in_one_line(tmp_path: Path) -> None:
    options = ["--mutations", "200", "--seed", "5", "--keep", str(tmp_path / "failures")]
    run = subprocess.run(
        [sys.executable, str(BENCHMARKS / "fuzz_formats.py"), *options], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    count, read, refused, failures = map(int, re.search(r"\| all \|" + r" (\d+) \|" * 4, run.stdout).groups())
    assert count == 200 == read + refused and failures == 0
    assert min(read, refused) > 40  # damage that is never noticed, or always fatal, would show nothing
    assert not (tmp_path / "failures").exists()


@pytest.fixture
def judging(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import _fuzz_judge

    yield _fuzz_judge


def moved(path: Path) -> Scan:
    scan = read_scan(path)
    affine = scan.grid.affine.copy()
    affine[0, 3] += 0.01
    return replace(scan, grid=Grid(scan.grid.shape, affine))


def warns(path: Path) -> Scan:
    warnings.warn("odd", stacklevel=1)
    return read_scan(path)


def prints(path: Path) -> Scan:
    os.write(2, b"odd")
    return read_scan(path)


def raises(error: Exception) -> Callable[[Path], Scan]:
    def read(path: Path) -> Scan:
        raise error

    return read


@pytest.mark.parametrize(
    ("name", "answer", "fault"),
    [
        ("read_scan", moved, "read_grid says"),
        ("read_scan", warns, "warned: odd"),
        ("read_scan", prints, "printed"),
        ("read_scan", raises(KeyError("x")), "KeyError"),
        ("read_scan", raises(InputError("no path")), "message: 'no path'"),
        ("read_grid", raises(InputError("no path")), "read_scan reads what read_grid refuses"),
        ("write_like", lambda path, mask, *, like, segments: write(path, mask, grid=moved(like).grid), "0.01 mm away"),
    ],
)
def test_what_must_not_happen_would_be_noticed(
    tmp_path: Path,
    judging: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    answer: Callable[..., object],
    fault: str,
) -> None:
    path = tmp_path / "scan.nrrd"
    write(path, np.ones((3, 4, 5), np.uint8), grid=Grid((3, 4, 5), np.diag([1.0, 2, 3, 1])))
    with (tmp_path / "output.txt").open("wb") as output:
        terminal = os.dup(2)
        os.dup2(output.fileno(), 2)
        try:
            sound = judging.judge(path, tmp_path, output.fileno(), with_seg=True)
            monkeypatch.setattr(judging, name, answer)
            verdict = judging.judge(path, tmp_path, output.fileno(), with_seg=True)
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
    assert sound.read and not sound.fault
    assert fault in verdict.fault
