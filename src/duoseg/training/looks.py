"""A look, now and then, at what the method says of the patches that it has just learned from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from duoseg.methods.base import Method
from duoseg.model.losses import IGNORE
from duoseg.training.log import TRAINING_DICE, Record

LOOKS = 50
"""In a training, at most."""
APART = 20
"""Steps between two, at least: each costs up to half a step."""


def is_due(step: int, steps: int) -> bool:
    """Whether to look after so many steps of so many: at the end, and some fifty times before, or fewer."""
    return step == steps or step % max(APART, -(-steps // LOOKS)) == 0


@contextmanager
def as_it_predicts(method: Method) -> Iterator[None]:
    """A method as it is in prediction; then as it was."""
    modes = [(module, module.training) for module in method.modules()]
    method.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def training_dice(method: Method, image: Tensor, label: Tensor, classes: Sequence[str]) -> Record:
    """Dice of each class in patches with a label, as predicted by the method as it is now.

    It tells whether training goes on as it should, and not how good the method is on other scans. Nothing of the method
    changes, and nothing is drawn.

    Args:
        method: as it is trained.
        image: (B, C, x, y, z).
        label: (B, x, y, z), classes from 0, `IGNORE` where unknown.
        classes: names of classes 1, 2, ...; those that the label does not show are left out.
    """
    with as_it_predicts(method):
        found = method.probabilities(image).argmax(dim=1)
    counts = []
    for index in range(1, len(classes) + 1):
        said, true = (found == index) & (label != IGNORE), label == index
        counts.append(torch.stack([(said & true).sum(), said.sum() + true.sum(), true.sum()]))
    shown = zip(classes, torch.stack(counts).tolist(), strict=True)
    return {TRAINING_DICE + name: 2 * both / total for name, (both, total, true) in shown if true}
