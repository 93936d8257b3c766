"""What a method must give back, checked where it does, so that whoever writes one is told in words what is wrong."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from duoseg.errors import InputError
from duoseg.methods.base import Method

SUM_TOLERANCE = 1e-2
"""Of probabilities, which half precision rounds."""
ALIKE = 0.8
"""How alike two names are of which one is a slip; `difflib`'s measure."""


def require_terms(method: Method, terms: object) -> dict[str, Tensor]:
    """The loss terms of a step, if they are named scalars of which the networks can learn.

    Args:
        method: which gave them back from ``forward``.
        terms: what it gave back.

    Raises:
        InputError: names the method's file, the term, and what is wrong with it.
    """
    if not isinstance(terms, Mapping) or not terms:
        raise _fault(method, "forward", f"gives back {_kind(terms)}, not a dict of named loss terms")
    for name, term in terms.items():
        if not isinstance(name, str):
            raise _fault(method, "forward", f"calls a loss term {name!r}, and names are text")
        if not isinstance(term, Tensor) or term.ndim:
            raise _fault(method, "forward", f"the loss term '{name}' is {_kind(term)}, not a tensor of one number")
    if torch.is_grad_enabled() and not any(term.requires_grad for term in terms.values()):
        raise _fault(method, "forward", "no loss term depends on a weight that learns (was something detached?)")
    return dict(terms)


def require_labelled_term(method: Method, terms: Mapping[str, Tensor]) -> None:
    """Refuse a slip in the names by which pages tell whether annotated patches are learned; some steps have none.

    Raises:
        InputError: names the method's file, its ``labelled_terms`` and the terms.
    """
    labelled = method.labelled_terms
    if not set(labelled) & set(terms) and any(get_close_matches(name, terms, cutoff=ALIKE) for name in labelled):
        raise _fault(
            method, "labelled_terms", f"names {', '.join(labelled)}, and forward's terms are {', '.join(terms)}"
        )


def require_opinions(method: Method, image: Tensor, classes: int) -> None:
    """Refuse a method whose members are no probabilities of the patches; to be asked once, before a training.

    Args:
        method: as it predicts.
        image: (B, C, *spatial), any patches.
        classes: K, foreground classes.

    Raises:
        InputError: names the method's file, what it gives back, and what was expected.
    """
    found = method.members(image)
    if isinstance(found, Tensor) or not isinstance(found, Iterable):
        raise _fault(method, "members", f"gives back {_kind(found)}, not a list of each student's probabilities")
    members, expected = [*found], (len(image), classes + 1, *image.shape[2:])
    if not members:
        raise _fault(method, "members", "gives back no student's probabilities")
    for member in members:
        if not isinstance(member, Tensor) or tuple(member.shape) != expected:
            raise _fault(method, "members", f"gives back {_kind(member)}, and probabilities are of shape {expected}")
        if not bool(((member.sum(dim=1) - 1).abs() <= SUM_TOLERANCE).all()):
            raise _fault(
                method, "members", "gives back numbers that do not add up to 1 over the classes; take their softmax"
            )


def require_whole(method: Method) -> None:
    """Refuse a method that keeps networks where they are neither trained nor saved, or whose stages are no whole.

    Raises:
        InputError: names the method's file and the attribute.
    """
    for name, value in vars(method).items():
        if name == "_modules":  # where torch keeps those that are
            continue
        held = [*value.values()] if isinstance(value, Mapping) else value
        if isinstance(held, Sequence) and any(isinstance(one, nn.Module) for one in held):
            raise _fault(
                method,
                name,
                f"is a plain {type(value).__name__} of networks, which are neither trained nor saved; make it a "
                "ModuleList or ModuleDict",
            )
    shares = sum(stage.share for stage in method.stages)
    if abs(shares - 1) > 1e-6:
        raise _fault(method, "stages", f"their shares add up to {shares:.3g}, not 1")


def _fault(method: Method, part: str, what: str) -> InputError:
    return InputError(f"{inspect.getfile(type(method))}: {type(method).__name__}.{part}: {what}.")


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return "nothing" if value is None else f"a {type(value).__name__}"
