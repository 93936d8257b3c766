"""What tracing a network needs, and what it says that nobody can act on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from duoseg.planning.plan import Plan


def example(plan: Plan) -> Tensor:
    """A window of nothing, (1, C, *patch)."""
    return torch.zeros(1, len(plan.channels), *plan.patch)


@contextmanager
def quietly() -> Iterator[None]:
    """Leave out PyTorch's remarks about its own exporters."""
    remarks = logging.getLogger("torch")
    level = remarks.level
    remarks.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        remarks.setLevel(level)
