"""The training loop: one for all methods. It knows steps, stages, devices and files; of a method only its protocol."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from duoseg.errors import InputError
from duoseg.methods._contract import require_labelled_term, require_lasting, state_shapes
from duoseg.methods.base import Method
from duoseg.planning.plan import Plan
from duoseg.training.checkpoint import save_checkpoint, save_weights, to_plain
from duoseg.training.devices import keep_freed_memory, lay_out
from duoseg.training.engine import ranks_of
from duoseg.training.interruption import Interrupted, Interruption
from duoseg.training.log import Logger, Record
from duoseg.training.looks import is_due
from duoseg.training.optimisation import learning_rate
from duoseg.training.patches import PatchSampler, batches
from duoseg.training.ranks import Agreement
from duoseg.training.recorder import Recorder
from duoseg.training.settings import TrainingSettings
from duoseg.training.spans import Span, spans
from duoseg.training.steps import Steps

REPORT_SECONDS = 0.5
STEPS_AHEAD = 3
"""What must still fall within the time between two checkpoints: agreeing on it, the next step, and the saving."""
FADING = 0.9
"""Of what the slowest step took, with each further one: a stall of the machine says little of the next step."""


class Trainer:
    """Trains a method and keeps its run folder.

    Args:
        method: freshly built, or restored by ``restore``.
        sampler: where patches come from.
        plan: optimiser, schedule, augmentation, steps.
        settings: seed, precision, checkpoints.
        folder: the run's folder.
        loggers: receive the records of finished steps.
        identity: the settings that a resumed run must share, kept in the checkpoint.
        fabric: where to compute; ``folder`` and ``loggers`` belong to the first of its processes.
    """

    def __init__(
        self,
        method: Method,
        sampler: PatchSampler,
        plan: Plan,
        *,
        settings: TrainingSettings,
        folder: Path,
        loggers: Sequence[Logger],
        identity: dict[str, Any],
        fabric: Fabric,
    ) -> None:
        keep_freed_memory()
        self._fabric = fabric
        self._ranks = ranks_of(fabric)
        lay_out(method, self._fabric.device)
        self._method = method
        self._sampler = sampler
        self._plan = plan
        self._settings = settings
        self._folder = folder
        self._agreement = Agreement(self._ranks)
        self._shapes = state_shapes(method)
        self._defined = {name for name, one in method.named_buffers() if not one.isnan().any()}
        self._recorder = Recorder(loggers, run=str(folder))
        self._identity = identity
        self._step = 0
        self._seconds = 0.0
        self._waited = 0.0
        self._optimiser_state: dict[str, Any] | None = None

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a checkpoint's step, weights, optimiser and clock."""
        self._method.load_state_dict(state["method"])
        self._optimiser_state = state["optimiser"]
        self._fabric.strategy.precision.load_state_dict(state["precision"])
        self._step, self._seconds, self._waited = state["step"], state["seconds"], state["waited"]

    def begin(self) -> None:
        """Save the state before the first step, so that a run is exact to resume from its very beginning."""
        self._write({})

    def run(self) -> None:
        """Train from the current step to the plan's last one.

        Raises:
            InputError: a loss term or a weight became infinite or undefined; the message names the step.
            Interrupted: Ctrl-C or a request to terminate came; the state is saved first.
        """
        self._method.start_training(self._plan.steps)
        with Interruption() as interruption:
            for span in spans(self._method.stages, self._plan.steps):
                if self._step < span.last:
                    self._run_stage(span, interruption)
            self._agreement.settle()
            if self._ranks.first:
                save_weights(self._folder, self._method)
            if interruption.requested and self._ranks.count == 1:  # of several, others may not know of it
                raise self._interrupted()

    def _run_stage(self, span: Span, interruption: Interruption) -> None:
        if self._step == span.first:
            self._method.start_stage(span.stage)
            if span.begins_anew:
                self._optimiser_state = None
        steps = Steps(
            self._fabric,
            self._method,
            self._plan,
            seed=self._settings.seed,
            optimiser_state=self._optimiser_state,
        )
        if self._step == 0:
            steps.require_opinions()
        self._method.train()
        reader = batches(self._sampler, span.stage.batch, range(self._step, span.last), self._fabric.device)
        seconds_before, waited_before = self._seconds, self._waited
        began = saved = reported = before = time.monotonic()
        longest = 0.0
        for raw in reader:
            progress = (self._step - span.first) / (span.last - span.first)
            rate = learning_rate(self._plan.optimiser, self._step - span.schedule.start, len(span.schedule))
            steps.set_learning_rate(rate)
            terms = steps.take(raw, step=self._step, progress=progress)
            self._step += 1
            now = time.monotonic()
            longest, before = max(FADING * longest, now - before), now
            self._seconds = seconds_before + now - began
            self._waited = waited_before + reader.waited
            looked = steps.look() if self._ranks.first and is_due(self._step, self._plan.steps) else {}
            self._recorder.add({**self._circumstances(rate), **looked}, terms)
            if self._step == 1:
                require_labelled_term(self._method, terms)
                require_lasting(self._method, self._shapes)
            # One answer for all processes: what is found wrong while reporting and saving, all of them find.
            stop, due, report = self._agreement.on(
                interruption.requested,  # once: a later request ends a later step
                now - saved + STEPS_AHEAD * longest >= self._settings.checkpoint_seconds,
                now - reported >= REPORT_SECONDS,
            )
            last = self._step == span.last or stop
            if last or due or report:
                self._recorder.report()
                reported = now
            if last or due:
                self._save(steps.optimiser_state())
                saved = time.monotonic()
            if stop:
                self._agreement.settle()
                raise self._interrupted()
        self._agreement.settle()  # a wish of the last step has been granted, since a stage ends with all of them
        self._optimiser_state = steps.optimiser_state()

    def _interrupted(self) -> Interrupted:
        return Interrupted(f"{self._folder}: interrupted at step {self._step}; the state is saved.")

    def _circumstances(self, rate: float) -> Record:
        return {
            "step": self._step,
            "learning_rate": rate,
            "seconds": round(self._seconds, 3),
            "waited_seconds": round(self._waited, 3),
        }

    def _save(self, optimiser_state: dict[str, Any]) -> None:
        """Save what is sound; all processes come here after the same step, and what one finds all of them tell."""
        ruined = [~weight.isfinite().all() for weight in self._method.parameters()]
        undefined = [buffer.isnan().any() for name, buffer in self._method.named_buffers() if name in self._defined]
        counts = {"weights": torch.stack(ruined).sum(), "buffers": sum(undefined, torch.zeros_like(ruined[0]))}
        found = self._ranks.mean({name: count.float() for name, count in counts.items()})
        for what, count in found.items():
            if bool(count):
                raise InputError(
                    f"{self._folder}: {what} became infinite or undefined at step {self._step} or shortly before. "
                    "Training stopped; the last checkpoint is untouched. Lower the learning rate, or clip gradients."
                )
        require_lasting(self._method, self._shapes)
        if self._ranks.first:
            self._write(optimiser_state)

    def _write(self, optimiser_state: dict[str, Any]) -> None:
        save_checkpoint(
            self._folder,
            {
                "step": self._step,
                "seconds": self._seconds,
                "waited": self._waited,
                "method": to_plain(self._method.state_dict()),
                "optimiser": optimiser_state,
                "precision": self._fabric.strategy.precision.state_dict(),
                "identity": self._identity,
            },
        )
