"""duoseg in `predicting.py`: ``_predict_duoseg.py RUN SCANS OUT SECONDS``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import duoseg


def main(run: Path, scans: Path, out: Path, seconds: Path) -> None:
    """Predict all scans of a folder; write the CPU seconds that it took, loading the run included, into a file."""
    predict = duoseg.predict  # imports what it needs
    began = time.process_time()
    predict(run, scans, out, device="cpu", threads=1)
    seconds.write_text(json.dumps(time.process_time() - began))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
