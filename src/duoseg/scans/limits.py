"""What this machine has: memory, asked before anything is allocated for a file's announcement, and cores."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from duoseg.errors import InputError

_GIB = 2**30
_CONTROL_GROUPS = Path("/sys/fs/cgroup")


@cache
def memory_limit() -> int:
    """Return the bytes of memory that this process may have: the machine's, or its control group's if less."""
    pages, page_size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return min([pages * page_size, *_group_limits()])


def require_memory(path: Path, nbytes: int) -> None:
    """Refuse, before it is tried, to read ``nbytes`` bytes of voxels that cannot fit into memory.

    Raises:
        InputError: more is needed than this machine has; the message begins with ``path``.
    """
    limit = memory_limit()
    if nbytes > limit:
        raise InputError(
            f"{path}: to read its voxels takes {nbytes / _GIB:.3g} GiB of memory, and this machine has "
            f"{limit / _GIB:.3g} GiB; crop or downsample it, or take a larger machine."
        )


def cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processes() -> int:
    """Return how many processes may share work where nobody says: OMP_NUM_THREADS, where it is set, or all cores."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(told), cores()) if told.isdecimal() and int(told) > 0 else cores()


def _group_limits() -> list[int]:
    """Return the limits of the control groups (version 2 or 1) that this process is in, where they can be read."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    limits = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        inside = Path(group.lstrip("/"))
        for folder in (inside, *inside.parents):  # a group's parents bind it, too
            limits += _number(_CONTROL_GROUPS / controllers / folder / name)
    return limits


def _number(path: Path) -> list[int]:
    try:
        text = path.read_text().strip()
    except OSError:
        return []
    return [int(text)] if text.isdigit() else []  # "max" is no limit
