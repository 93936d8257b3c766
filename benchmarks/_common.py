"""What the benchmarks share: running the command line in a process of its own, and saying what machine this is."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Cost:
    """What a command used: wall and CPU seconds, peak memory in MiB."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def duoseg(*arguments: object) -> Cost:
    """Run a command line of duoseg to its end and measure it.

    Raises:
        SystemExit: the command failed; carries what it said.
    """
    return python("-m", "duoseg", *arguments)


def python(*arguments: object) -> Cost:
    """Run a Python program to its end and measure it.

    Raises:
        SystemExit: it failed; carries what it said.
    """
    command = [sys.executable, *map(str, arguments)]
    began = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{errors}")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, peak_mib(usage))


def peak_mib(usage: resource.struct_rusage) -> float:
    """Peak resident memory of a process."""
    return usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def made_with() -> str:
    """Versions and machine, as one line."""
    return (
        f"torch {version('torch')}, numpy {version('numpy')}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )
