"""Damaged scans of every format: each must be read right, or refused in one line.

    python benchmarks/fuzz_formats.py [--mutations 20000] [--seed 0] [--keep DIR]

A process of its own, with at most 3 GiB of memory, reads one damaged scan after another. A failure is: any exception
but InputError, a message that is not one line with the path, a warning or a word on the terminal, a crash, more than
5 s, or a mask that another library finds elsewhere than where the scan was read. Failures are kept and told; exit 1.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import random
import resource
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path

MEMORY = 3 << 30
PATIENCE_S = 10.0  # of the process that waits; the one that reads measures the limit itself
START_S = 120.0
SEG_EVERY = 5
LIBRARIES = ("numpy", "nibabel", "pydicom", "highdicom", "imagecodecs", "pynrrd", "SimpleITK")


@dataclass
class Row:
    """What became of the scans of one format."""

    mutations: int = 0
    read: int = 0
    slowest_s: float = 0.0
    peak_mib: float = 0.0
    faults: list[str] = field(default_factory=list)


def main() -> None:
    """Damage, read, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation, to repeat one")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "duoseg-fuzz")
    options = parser.parse_args()
    rows: dict[str, Row] = defaultdict(Row)
    for index, name, read, seconds, peak, fault in supervised(
        options.seed, options.first, options.mutations, options.keep
    ):
        row = rows[name]
        row.mutations, row.read = row.mutations + 1, row.read + read
        row.slowest_s, row.peak_mib = max(row.slowest_s, seconds), max(row.peak_mib, peak)
        if fault:
            row.faults.append(f"{index} ({name}): {fault}")
    print_table(rows, options.seed)
    faults = [fault for row in rows.values() for fault in row.faults]
    for fault in faults:
        print(fault)
    if faults:
        print(f"{len(faults)} failures, kept in {options.keep}")
    sys.exit(bool(faults))


Result = tuple[int, str, bool, float, float, str]


def supervised(seed: int, first: int, count: int, keep: Path) -> Iterator[Result]:
    """Yield number, format, whether it was read, seconds, peak MiB and fault of every mutation.

    A process that dies or hangs is started anew behind the scan that it died of.
    """
    context = multiprocessing.get_context("spawn")
    index, stop = first, first + count
    with tempfile.TemporaryDirectory() as name:
        while index < stop:
            ours, theirs = context.Pipe()
            worker = context.Process(target=work, args=(theirs, Path(name), seed, index, stop, keep), daemon=True)
            worker.start()
            theirs.close()
            fault, kind, patience = "", "", START_S
            while index < stop:
                try:
                    if not ours.poll(patience):
                        fault = f"hangs for more than {patience:.0f} s"
                        break
                    message = ours.recv()
                except EOFError:
                    worker.join()
                    fault = f"the process dies (exit code {worker.exitcode})"
                    break
                patience = PATIENCE_S
                if isinstance(message, str):
                    kind = message
                else:
                    yield message
                    index += 1
            worker.kill()
            worker.join()
            if not fault:
                continue
            if not kind:
                raise SystemExit(f"{fault} before the first scan:\n{(Path(name) / 'output.txt').read_text()}")
            shutil.copytree(Path(name) / "scan", keep / str(index), dirs_exist_ok=True)
            yield index, kind, False, 0.0, 0.0, fault
            index += 1


def work(connection: Connection, folder: Path, seed: int, first: int, stop: int, keep: Path) -> None:
    """Read damaged scans, and send what becomes of them; each mutation depends on seed and number alone."""
    output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    from _fuzz_judge import judge
    from _fuzz_samples import samples

    shutil.rmtree(folder / "samples", ignore_errors=True)
    found = samples(folder / "samples")
    if sys.platform == "linux":  # no other system keeps to it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    here = folder / "scan"
    for index in range(first, stop):
        sample = found[index % len(found)]
        connection.send(sample.format)
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir()
        path = sample.damaged(here, random.Random(f"{seed} {index}"))
        forget_peak()
        verdict = judge(path, here, output, with_seg=index // len(found) % SEG_EVERY == 0)
        if verdict.fault:
            shutil.copytree(here, keep / str(index), dirs_exist_ok=True)
        connection.send((index, sample.format, verdict.read, verdict.seconds, peak_mib(), verdict.fault))


def forget_peak() -> None:
    """Let the kernel measure the peak of memory anew; where it cannot, the peak is that of all scans so far."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_mib() -> float:
    """The peak of resident memory."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024 if sys.platform != "darwin" else 1024**2)


def print_table(rows: dict[str, Row], seed: int) -> None:
    """Print versions and the table."""
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    print(f"Seed {seed}. Python {platform.python_version()}, {platform.system()} {platform.machine()}; {versions}.\n")
    print("| format | mutations | read | refused | failures | slowest (ms) | peak (MiB) |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    everything = Row()
    for name, row in rows.items():
        print_row(name, row)
        everything.mutations += row.mutations
        everything.read += row.read
        everything.faults += row.faults
        everything.slowest_s = max(everything.slowest_s, row.slowest_s)
        everything.peak_mib = max(everything.peak_mib, row.peak_mib)
    print_row("all", everything)


def print_row(name: str, row: Row) -> None:
    """Print one line of the table."""
    refused = row.mutations - row.read
    figures = f"{row.mutations} | {row.read} | {refused} | {len(row.faults)} | {1000 * row.slowest_s:.0f}"
    print(f"| {name} | {figures} | {row.peak_mib:.0f} |")


if __name__ == "__main__":
    main()
