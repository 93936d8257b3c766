"""Which scans a training reads, and preparing them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from duoseg.methods.base import Method
from duoseg.planning.cache import PreparedCase, prepare_cases
from duoseg.planning.plan import Plan
from duoseg.progress import Progress, counted
from duoseg.scans.dataset import Split

MOST_WORKERS = 4  # each holds a scan: more cores must not mean more memory


def prepare_training(
    learners: Sequence[Method],
    split: Split,
    plan: Plan,
    cache: Path,
    *,
    cores: int,
    described: str,
    progress: Progress | None,
) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """Prepare the labelled cases, and the unlabelled ones where a stage of a method looks at them.

    Args:
        learners: the methods that will be trained.
        split: the training cases.
        plan: how to prepare them.
        cache: where they will lie.
        cores: how many may work.
        described: what the scans are, for the line of progress.
        progress: called with how many are done.
    """
    cases = [*split.labelled]
    if any(stage.batch != "labelled" for learner in learners for stage in learner.stages):
        cases += split.unlabelled
    workers = min(MOST_WORKERS, cores)
    prepared = prepare_cases(cases, plan, cache, workers=workers, progress=counted(progress, "prepare", described))
    count = len(split.labelled)
    return prepared[:count], prepared[count:]
