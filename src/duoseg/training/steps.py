"""One optimisation step: patches as read are augmented, the method learns from them, the weights move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from duoseg.methods._contract import require_kept, require_opinions, require_terms
from duoseg.methods.base import Batch, Method
from duoseg.model.augment import augment
from duoseg.model.draws import MOST_SEED, SampleGenerator
from duoseg.model.transfer import moved
from duoseg.planning.plan import Plan
from duoseg.training.devices import memory_format
from duoseg.training.engine import ranks_of
from duoseg.training.log import NOTED, Record
from duoseg.training.looks import as_it_predicts, training_dice
from duoseg.training.optimisation import make_optimisers, set_learning_rate
from duoseg.training.patches import RawBatch
from duoseg.training.recorder import require_free_names

RANKS_APART = 15_485_863
"""Between the seeds of two processes' networks: more than there are steps."""
PATCHES = 2
"""On which a method is asked for its opinion before it learns: a CPU takes longer for one."""
STATES = "states"
"""Where the state of each optimiser lies in that of a step's."""


class Steps:
    """Takes the steps of one stage of a training.

    Args:
        fabric: where to compute.
        method: laid out on the fabric's device.
        plan: optimiser, augmentation, patch.
        seed: of the run; a step's draws depend on it and on the step's number alone.
        optimiser_state: to go on from; a fresh optimiser where None.
    """

    def __init__(
        self, fabric: Fabric, method: Method, plan: Plan, *, seed: int, optimiser_state: dict[str, Any] | None = None
    ) -> None:
        optimisers = make_optimisers(method.parameter_groups(), plan.optimiser)
        if optimiser_state is not None:
            states = optimiser_state.get(STATES, [optimiser_state])  # earlier versions had one optimiser
            for optimiser, state in zip(optimisers, states, strict=True):
                optimiser.load_state_dict(state)
        self._module: Any
        self._optimisers: list[Any]  # the plan's first
        self._module, *self._optimisers = fabric.setup(method, *optimisers)
        self._fabric = fabric
        self._ranks = ranks_of(fabric)
        self._method = method
        self._plan = plan
        self._seed = seed
        self._learned: tuple[Tensor, Tensor] | None = None

    def optimiser_state(self) -> dict[str, Any]:
        """What another stretch of the same stage goes on from."""
        return {STATES: [optimiser.state_dict() for optimiser in self._optimisers]}

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of the plan's optimiser."""
        set_learning_rate(self._optimisers[0], rate)

    def take(self, raw: RawBatch, *, step: int, progress: float) -> dict[str, Tensor]:
        """Learn from one batch; return the loss terms and notes, detached, of all processes.

        Args:
            raw: patches as read.
            step: number of the step in the run, from 0.
            progress: 0 at the first step of the stage, 1 at its end.
        """
        # Networks that draw (dropout) do so from the global generator: tie it to the step, so that resuming is exact.
        torch.manual_seed((self._seed * 1_000_003 + step + self._ranks.index * RANKS_APART) % (MOST_SEED + 1))
        for optimiser in self._optimisers:
            optimiser.zero_grad(set_to_none=True)
        parts = raw.parts(self._plan.batch.accumulate)
        learned = [self._learn(part, step, progress, share=1 / len(parts), last=part is parts[-1]) for part in parts]
        if self._plan.optimiser.clip_norm > 0:
            self._fabric.clip_gradients(
                self._module, self._optimisers[0], max_norm=self._plan.optimiser.clip_norm, error_if_nonfinite=False
            )
        for optimiser in self._optimisers:
            optimiser.step()
        self._method.after_step(progress)
        return self._ranks.mean(learned[0] if len(learned) == 1 else _mean(learned))

    def look(self) -> Record:
        """Dice of each class in the annotated patches that were learned from last, as the method sees them now."""
        if self._learned is None:
            return {}
        with self._fabric.autocast():
            return training_dice(self._method, *self._learned, list(self._plan.classes))

    @torch.no_grad()
    def require_opinions(self) -> None:
        """Refuse, before it learns, a method that does not predict probabilities, or not by what is kept of it."""
        shape = (PATCHES, len(self._plan.channels), *self._plan.patch)
        image = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self._fabric.device)
        image = image.contiguous(memory_format=memory_format(self._fabric.device))
        with self._fabric.autocast(), as_it_predicts(self._method):
            require_opinions(self._method, image, len(self._plan.classes))
            require_kept(self._method, image)

    def _learn(self, part: RawBatch, step: int, progress: float, *, share: float, last: bool) -> dict[str, Tensor]:
        """Go forward and backward with a part of the batch; return its loss terms and notes."""
        batch = self._batch(part, step)
        self._learned = (batch.image[: batch.labelled], batch.label) if batch.labelled else None
        with self._fabric.no_backward_sync(self._module, enabled=self._ranks.count > 1 and not last):
            terms = require_terms(self._method, self._module(batch, progress))
            require_free_names(terms)
            self._fabric.backward(share * torch.stack(list(terms.values())).sum())
        notes = {NOTED + name: value for name, value in batch.notes.items()}
        return {name: term.detach() for name, term in terms.items()} | notes

    def _batch(self, raw: RawBatch, step: int) -> Batch:
        """The patches on the device, augmented."""
        device = self._fabric.device
        generator = SampleGenerator(self._seed, step, raw.positions, device)
        with torch.no_grad():
            image, label = augment(
                moved(raw.image, device),
                moved(raw.label, device).long(),
                size=self._plan.patch,
                plan=self._plan.augmentation,
                generator=generator,
                spacing=self._plan.spacing,
            )
        assert label is not None  # augment gives back what it was given
        image = image.contiguous(memory_format=memory_format(device))
        return Batch(image, label, generator=generator, plan=self._plan)


def _mean(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each term; one that a part lacks is 0 there."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: torch.stack([part[name] for part in parts if name in part]).sum() / len(parts) for name in names}
