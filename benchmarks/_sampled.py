"""A command of duoseg that looks at itself while it works: ``_sampled.py FILE COMMAND ...`` (see `stages.py`).

A thread looks a hundred times a second at what each other thread does, and at the memory of the process. A look counts
for the stage of the innermost function that `STAGES` names, and writes to FILE, as JSON, for each stage the seconds and
the most memory that was seen during it.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

INTERVAL = 0.01
STAGES = {
    ("commands/plan.py", "plan_dataset"): "plan",
    ("planning/reading.py", "read_images"): "read scans",
    ("planning/reading.py", "read_label"): "read scans",
    ("planning/prepare.py", "prepare_image"): "prepare",
    ("planning/prepare.py", "prepare_label"): "prepare",
    ("planning/cache.py", "prepare_cases"): "write prepared",
    ("training/patches.py", "batch"): "read patches (beside)",
    ("training/steps.py", "_batch"): "augment",
    ("training/steps.py", "take"): "optimiser",
    ("lightning_fabric/fabric.py", "backward"): "backward",
    ("lightning_fabric/wrappers.py", "forward"): "forward",
    ("training/checkpoint.py", "save_checkpoint"): "save",
    ("training/checkpoint.py", "save_weights"): "save",
    ("prediction/model.py", "_probabilities"): "network",
    ("prediction/inference.py", "slabs"): "windows",
    ("planning/winners.py", "most_probable"): "mask on the scan's grid",
    ("planning/prepare.py", "restore_mask"): "mask on the scan's grid",
    ("formats/__init__.py", "write_like"): "write masks",
    ("predicting/manifest.py", "recorded"): "write masks",
    ("scores/evaluate.py", "_read_pair"): "read masks",
    ("scores/evaluate.py", "score_masks"): "scores",
    ("reporting/page.py", "write_report"): "page",
    ("<frozen importlib._bootstrap>", "_find_and_load"): "import",
}
WAITING = {("threading.py", "wait"), ("queue.py", "get"), ("concurrent/futures/thread.py", "_worker")}


def main(file: Path, words: list[str]) -> None:
    """Run the command, then write what was seen."""
    sampler = Sampler()
    sampler.start()
    began = time.perf_counter()
    from duoseg.cli import main as duoseg

    try:
        duoseg(words)
    finally:
        wall = time.perf_counter() - began
        sampler.stop()
        peak = _peak_mib()
        file.write_text(json.dumps({"wall_s": wall, "peak_mib": peak, "seconds": sampler.seconds, "mib": sampler.mib}))


class Sampler(threading.Thread):
    """Looks at all threads but itself until it is stopped.

    Attributes:
        seconds: by stage, of all threads together.
        mib: by stage, the most resident memory.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds: dict[str, float] = defaultdict(float)
        self.mib: dict[str, float] = defaultdict(float)
        self._ended = threading.Event()

    def run(self) -> None:
        """Look, and sleep."""
        before = time.perf_counter()
        while not self._ended.wait(INTERVAL):
            now = time.perf_counter()
            resident = _resident_mib()
            for thread, frame in sys._current_frames().items():
                stage = None if thread == self.ident else _stage(frame)
                if stage is not None:
                    self.seconds[stage] += now - before
                    self.mib[stage] = max(self.mib[stage], resident)
            before = now

    def stop(self) -> None:
        """End it."""
        self._ended.set()
        self.join()


def _stage(frame: FrameType | None) -> str | None:
    """The stage of a thread; None where it waits for others."""
    if frame is not None and _named(frame, WAITING):
        return None
    while frame is not None:
        for key, stage in STAGES.items():
            if _named(frame, {key}):
                return stage
        frame = frame.f_back
    return "other"


def _named(frame: FrameType, keys: set[tuple[str, str]]) -> bool:
    code = frame.f_code
    return any(code.co_name == name and code.co_filename.endswith(file) for file, name in keys)


def _peak_mib() -> float:
    """The most that this process has held; not what whoever started it held, which Linux counts elsewhere."""
    told = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", told)
    assert found is not None
    return int(found[1]) / 2**10


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
