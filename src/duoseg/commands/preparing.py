"""Which scans a training reads, and preparing them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from duoseg.methods.base import Method
from duoseg.planning.cache import PreparedCase, prepare_cases
from duoseg.planning.plan import Plan
from duoseg.progress import Progress, counted
from duoseg.scans.dataset import Split
from duoseg.scans.texts import count_text
from duoseg.training.places import find_place
from duoseg.training.ranks import Ranks


def looks_at_unlabelled(method: Method | type[Method]) -> bool:
    """Whether any stage has patches of scans without labels."""
    return any(stage.batch != "labelled" for stage in method.stages)


def prepare_training(
    learners: Sequence[Method],
    split: Split,
    plan: Plan,
    cache: Path,
    *,
    cores: int,
    described: str = "",
    ranks: Ranks | None = None,
    progress: Progress | None,
) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """Prepare the labelled cases, and the unlabelled ones where a stage of a method looks at them.

    Args:
        learners: the methods that will be trained.
        split: the training cases.
        plan: how to prepare them.
        cache: where they will lie.
        cores: how many may work.
        described: what they are for, on the line of progress.
        ranks: this process among those that train together: each prepares its part, and finds those of the others.
        progress: called with how many are done.
    """
    cases, told = [*split.labelled], count_text(len(split.labelled), "labelled scan")
    if any(looks_at_unlabelled(learner) for learner in learners):
        cases += split.unlabelled
        told += f" and {len(split.unlabelled)} unlabelled"
    shown = counted(progress, "prepare", described or told)
    if ranks is not None and ranks.count > 1:
        here = find_place().sharing
        prepare_cases(cases[ranks.index :: ranks.count], plan, cache, workers=cores, neighbours=here, progress=shown)
        ranks.wait()
        shown = None
    prepared = prepare_cases(cases, plan, cache, workers=cores, progress=shown)
    count = len(split.labelled)
    return prepared[:count], prepared[count:]
