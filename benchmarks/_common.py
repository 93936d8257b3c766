"""What the benchmarks share: running the command line in a process of its own, and saying what machine this is."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
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


LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
wall = time.perf_counter() - began
print(json.dumps([os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""
"""Starts a program and measures it. A small process does: Linux counts the memory of whoever starts another as its."""


def python(*arguments: object) -> Cost:
    """Run a Python program to its end and measure it.

    Raises:
        SystemExit: it failed; carries what it said.
    """
    command = [sys.executable, *map(str, arguments)]
    launched = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launched, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} could not be measured:\n{done.stderr}")
    status, wall, cpu, peak = json.loads(done.stdout)
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return Cost(wall, cpu, _mib(peak))


def peak_mib(usage: resource.struct_rusage) -> float:
    """Peak resident memory of a process."""
    return _mib(usage.ru_maxrss)


def _mib(told: int) -> float:
    return told / (1024 if sys.platform != "darwin" else 1024**2)


def made_with() -> str:
    """Versions and machine, as one line."""
    return (
        f"torch {version('torch')}, numpy {version('numpy')}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )
