"""What a method must give back, checked where it does, so that whoever writes one is told in words what is wrong."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence, Set
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from duoseg.errors import InputError
from duoseg.methods.base import Method, Stage

SUM_TOLERANCE = 1e-2
"""Of probabilities, which half precision rounds."""
HOOKS = {
    "forward": ("batch", "progress"),
    "members": ("image",),
    "start_training": ("steps",),
    "start_stage": ("stage",),
    "after_step": ("progress",),
}
"""What the training calls, and with what."""
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
    if isinstance(terms, Mapping) and not terms:
        raise _fault(method, "forward", "gives back no loss term")
    if not isinstance(terms, Mapping):
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


@torch.no_grad()
def require_kept(method: Method, image: Tensor) -> None:
    """Refuse a method whose members depend on what ``inference_modules`` leaves out: prediction would not have it.

    Args:
        method: as it predicts; what would not be kept is undefined for a moment, and members must not be.
        image: (B, C, *spatial), any patches.

    Raises:
        InputError: names the method's file and what is left out.
    """
    kept = {id(value) for module in method.inference_modules().values() for value in _state(module).values()}
    left = {name: value for name, value in _state(method).items() if id(value) not in kept}
    left = {name: value for name, value in left.items() if value.is_floating_point()}
    if not left:
        return
    before = {name: value.clone() for name, value in left.items()}
    try:
        for value in left.values():
            value.fill_(torch.nan)
        spoilt = any(bool(member.isnan().any()) for member in method.members(image))
    finally:
        for name, value in left.items():
            value.copy_(before[name])
    if spoilt:
        raise _fault(
            method,
            "inference_modules",
            f"leaves out what members predict by (some of {', '.join(sorted(left))}), and nothing else is kept for "
            "prediction; put that into a module which it names (a constant can be a buffer with persistent=False)",
        )


def require_lasting(method: Method, before: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a method whose state has grown or changed its shape: no run could go on from a checkpoint of it.

    Args:
        method: after some steps.
        before: `state_shapes` of it as it was built.

    Raises:
        InputError: names the method's file and the first such parameter or buffer.
    """
    require_registered(method)
    now = state_shapes(method)
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            was, is_now = (
                "not there" if shape is None else f"of shape {shape}" for shape in (before.get(name), now.get(name))
            )
            raise _fault(
                method,
                name,
                f"was {was} as the method was built and is {is_now} now, so that no run could go on from a checkpoint; "
                "make all parameters and buffers in __init__, each of its final shape",
            )


def state_shapes(method: Method) -> dict[str, tuple[int, ...]]:
    """The shapes of all that a checkpoint keeps of a method, by name."""
    return {name: tuple(value.shape) for name, value in _state(method).items()}


def require_registered(method: Method) -> None:
    """Refuse a method that keeps networks or tensors where they are neither trained nor saved.

    Raises:
        InputError: names the method's file and the attribute.
    """
    registered = {id(one) for one in (*method.modules(), *method.parameters(), *method.buffers())}
    for name, value in vars(method).items():
        if name in ("_modules", "_parameters", "_buffers"):  # where torch keeps those that are
            continue
        held = value.values() if isinstance(value, Mapping) else value
        row = isinstance(value, Sequence | Set | Mapping) and not isinstance(value, str)
        lost = [one for one in (held if row else [held]) if id(one) not in registered]
        kind = f"a plain {type(value).__name__} of " if row else "a plain "
        if any(isinstance(one, nn.Module) for one in lost):
            raise _fault(
                method,
                name,
                f"is {kind}networks, which are neither trained nor saved; make it a ModuleList or ModuleDict",
            )
        if any(isinstance(one, Tensor) for one in lost):
            raise _fault(
                method,
                name,
                f"is {kind}{'tensors' if row else 'tensor'}, which no checkpoint keeps; register it as a buffer "
                "(persistent=False where it is constant), or delete in after_step what only that step needs",
            )


def require_whole(method: Method) -> None:
    """Refuse a method of which a training would lose a part, whose hooks take other things, or whose stages are none.

    Raises:
        InputError: names the method's file and the attribute.
    """
    require_registered(method)
    for name, given in HOOKS.items():
        try:
            inspect.signature(getattr(method, name)).bind(*given)
        except TypeError as fault:
            raise _fault(method, name, f"has to take ({', '.join(given)}), and does not ({fault})") from fault
    if not all(isinstance(stage, Stage) for stage in method.stages):
        raise _fault(method, "stages", "holds what is no Stage")
    shares = sum(stage.share for stage in method.stages)
    if abs(shares - 1) > 1e-6:
        raise _fault(method, "stages", f"their shares add up to {shares:.3g}, not 1")


def _state(module: nn.Module) -> dict[str, Tensor]:
    """Its parameters and buffers that are saved, themselves and no copies; extra state is no tensor."""
    return {name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}


def _fault(method: Method, part: str, what: str) -> InputError:
    return InputError(f"{inspect.getfile(type(method))}: {type(method).__name__}.{part}: {what}.")


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return "nothing" if value is None else f"a {type(value).__name__}"
