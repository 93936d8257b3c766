"""Which steps of a training each of a method's stages has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duoseg.methods.base import Stage


@dataclass(frozen=True)
class Span:
    """The steps of one stage, counted over the whole run.

    Attributes:
        first: its first step.
        last: the step after its last.
        schedule: the steps over which the learning rate runs its course: those of the stage, and of the stages that
            it goes on from or that go on from it.
    """

    stage: Stage
    first: int
    last: int
    schedule: range

    @property
    def begins_anew(self) -> bool:
        """Whether it begins with a fresh optimiser."""
        return self.first == self.schedule.start


def spans(stages: Sequence[Stage], steps: int) -> list[Span]:
    """Divide a run's steps among its stages by their shares; the last stage ends at the last step."""
    total = sum(stage.share for stage in stages)
    bounds, share = [0], 0.0
    for stage in stages:
        share += stage.share
        bounds.append(round(steps * share / total))
    starts = [place for place, stage in enumerate(stages) if stage.anew or place == 0]
    found = []
    for place, stage in enumerate(stages):
        start = max(other for other in starts if other <= place)
        end = min((other for other in starts if other > place), default=len(stages))
        schedule = range(bounds[start], bounds[end])
        found.append(Span(stage, bounds[place], bounds[place + 1], schedule))
    return found
