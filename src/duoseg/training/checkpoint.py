"""Checkpoints: complete, replaced atomically, safe to load, and refused where the settings have changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor

from duoseg.errors import InputError
from duoseg.files import atomic_path
from duoseg.methods.base import Method

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "model.safetensors"


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace the run's checkpoint: tensors and plain values only."""
    with atomic_path(folder / CHECKPOINT) as temporary:
        torch.save(dict(state), temporary)


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read a run's checkpoint without running any code in it.

    Raises:
        InputError: it is missing, damaged, or holds anything but tensors and plain values.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise InputError(f"{path}: there is no checkpoint to resume from. Start the run without --resume.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:
        raise InputError(
            f"{path}: the checkpoint cannot be read ({type(fault).__name__}). "
            "It is damaged or was not written by duoseg: start the run anew in another folder."
        ) from fault


def save_weights(folder: Path, method: Method) -> None:
    """Write what prediction needs, and no more, to ``model.safetensors``."""
    tensors = {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, module in sorted(method.inference_modules().items())
        for key, value in module.state_dict().items()
    }
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(tensors))  # not save_file, whose files only their owner can read


def load_weights(path: Path, method: Method, *, strict: bool = True) -> None:
    """Load ``model.safetensors`` into a method's inference modules.

    Raises:
        InputError: the file is missing, damaged, or belongs to another network.
    """
    if not path.is_file():
        raise InputError(f"{path}: there are no trained weights. Has the training finished?")
    try:
        tensors = load_tensors(path.read_bytes())
    except OSError as fault:
        raise InputError(f"{path}: the weights cannot be read ({fault.strerror}).") from fault
    except SafetensorError as fault:
        raise InputError(f"{path}: the weights are damaged ({fault}). Copy or train them anew.") from fault
    for name, module in method.inference_modules().items():
        own = {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}
        try:
            module.load_state_dict(own, strict=strict)
        except RuntimeError as fault:
            raise InputError(
                f"{path}: the weights of '{name}' do not fit this network: they were trained with another plan. Give "
                "that run's plan.json by --plan."
            ) from fault


def refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compare the settings of a run with those of a request to go on with it.

    Raises:
        InputError: names every setting that differs, with both values.
    """
    changes = list(differences(before, now))
    if changes:
        raise InputError(
            "--resume continues a run exactly as it began, but these settings differ: "
            + "; ".join(_describe(*change) for change in changes)
            + ". Take them back, or start a new run in another folder."
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every leaf that two nested mappings do not share, as (dotted name, old value, new value)."""
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}", old, new


def to_plain(state: Any) -> Any:
    """A copy on the CPU of a nested state, so that it can be loaded anywhere."""
    if isinstance(state, Tensor):
        return state.detach().cpu()
    if isinstance(state, Mapping):
        return {key: to_plain(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [to_plain(value) for value in state]
    return state


def _describe(key: str, old: Any, new: Any) -> str:
    if key.startswith("contents."):
        return f"the {key.removeprefix('contents.')} " + ("has changed" if new is not None else "is no longer there")
    return f"{key} was {old!r} and is now {new!r}"
