"""What a step and a scan take: ``python -m duoseg.commands.comparing.measure REQUEST.json``.

``duoseg compare --hours`` starts as many of these side by side as there will be combinations side by side, since
processes that share a machine's memory slow each other down.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from duoseg.commands.comparing.children import Event, end_with_parent, tell_by_standard_output
from duoseg.commands.runs import build_method, load_plan
from duoseg.config import Config, parse
from duoseg.errors import InputError
from duoseg.files import read_json
from duoseg.planning.reading import read_images, read_label
from duoseg.prediction.model import Model
from duoseg.scans.dataset import load_dataset
from duoseg.scans.segments import with_ignored
from duoseg.scans.side_by_side import voxels_to_hold
from duoseg.scores.evaluate import score_masks
from duoseg.training.devices import DeviceName, use_threads
from duoseg.training.timing import measure_step

STEP_SECONDS = 10.0
"""No further step of an entry begins after so long."""


class Item(BaseModel):
    """A configuration to measure with a plan file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: Config
    plan: Path


class MeasureRequest(BaseModel):
    """What to measure, and how.

    Attributes:
        items: each is measured in turn.
        scored_tables: of the scans to score; one of middle size of them all is predicted and scored.
        device: where to compute.
        threads: of the CPU.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: tuple[Item, ...]
    scored_tables: tuple[Path, ...]
    device: DeviceName
    threads: int


def main(path: Path) -> int:
    """Measure what a request file says; return the exit status."""
    tell = tell_by_standard_output()
    end_with_parent()
    try:
        measure(parse(MeasureRequest, read_json(path), source=str(path)), tell)
    except (InputError, OSError) as fault:
        tell({"error": str(fault)})
        return 1
    return 0


def measure(request: MeasureRequest, tell: Callable[[Event], None]) -> None:
    """Tell, for each item, the seconds of a step and those of predicting and scoring a scan."""
    use_threads(request.threads)
    cases = [case for table in request.scored_tables for case in load_dataset(table).test]
    case = sorted(cases, key=lambda case: sum(map(voxels_to_hold, case.images)))[len(cases) // 2]
    for index, item in enumerate(request.items):
        plan = load_plan(item.plan)
        learner = build_method(item.config, plan)
        precision = item.config.training.precision
        cost = measure_step(learner, plan, device=request.device, precision=precision, most_seconds=STEP_SECONDS)
        began = time.perf_counter()
        images = read_images(case)
        model = Model(plan, [learner], settings=item.config.prediction, device=request.device)
        model.predict(images.voxels, images.grid, name=str(case.images[0]))
        # an untrained network's mask would take longer to score
        truth = read_label(case, images.grid, with_ignored(plan.classes, plan.ignore_value))
        score_masks(truth, truth, images.grid.spacing, plan.classes, ignore_value=plan.ignore_value)
        tell({"index": index, "step_s": cost.seconds, "predict_s": time.perf_counter() - began})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
