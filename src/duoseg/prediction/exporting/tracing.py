"""What tracing a network needs, and what it says that nobody can act on."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from duoseg.planning.plan import Plan


def example(plan: Plan) -> Tensor:
    """Two windows of nothing, (2, C, *patch): of one alone, tracing would keep the number."""
    return torch.zeros(2, len(plan.channels), *plan.patch)


def used(network: nn.Module, window: Tensor) -> nn.Module:
    """A copy of a network without the modules that a window does not pass through, such as an average or a teacher."""
    slim, passed = copy.deepcopy(network), set[nn.Module]()
    hooks = [module.register_forward_hook(lambda module, *_: passed.add(module)) for module in slim.modules()]
    with torch.no_grad():
        slim(window)
    for hook in hooks:
        hook.remove()
    for module in list(slim.modules()):
        for name, child in list(module.named_children()):
            if not any(part in passed for part in child.modules()):
                setattr(module, name, nn.ModuleList() if isinstance(child, nn.ModuleList) else nn.Identity())
    return slim


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
