"""Checkpoints: complete, replaced atomically, safe to load, and refused where the settings have changed."""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from duoseg.errors import InputError
from duoseg.files import atomic_path
from duoseg.methods.base import Method
from duoseg.training.archive import require_plain_archive

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "model.safetensors"

MOST_HEADER_BYTES = 2**24  # of model.safetensors: 100 bytes a tensor
MOST_VALUES = 10**6  # a checkpoint has some thousands
_NOT_ITS_FAULT = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EMFILE)
"""What a checkpoint that cannot be opened need not be damaged for."""
STATE: Mapping[str, type | tuple[type, ...]] = {
    "step": int,
    "seconds": (int, float),
    "waited": (int, float),
    "method": dict,
    "optimiser": dict,
    "precision": dict,
    "identity": dict,
}
"""What a checkpoint holds."""


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace the run's checkpoint: tensors and plain values only.

    Raises:
        OSError: it cannot be written, such as on a full disk.
    """
    with atomic_path(folder / CHECKPOINT) as temporary, temporary.open("wb") as stream:
        try:
            torch.save(dict(state), stream)
        except RuntimeError as fault:
            # torch ends its archive all the same, and complains of that instead.
            if isinstance(fault.__context__, OSError):
                raise fault.__context__ from fault
            raise


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read a run's checkpoint without running any code in it.

    Raises:
        InputError: it is missing, damaged, or holds anything but tensors and plain values of the sizes that it
            announces.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise InputError(
            f"{path}: there is no checkpoint to resume from. Put it back, or begin anew in another folder."
        )
    try:
        require_plain_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        _require_state(state)
    except MemoryError as fault:
        raise InputError(f"{path}: there is not enough memory to read the checkpoint.") from fault
    except Exception as fault:
        if isinstance(fault, OSError) and fault.errno in _NOT_ITS_FAULT:
            raise InputError(f"{path}: the checkpoint cannot be read ({fault.strerror}).") from fault
        raise InputError(
            f"{path}: the checkpoint cannot be read ({type(fault).__name__}: {fault}). "
            "It is damaged or was not written by duoseg: start the run anew in another folder."
        ) from fault
    return state


def save_weights(folder: Path, method: Method) -> None:
    """Write what prediction needs, and no more, to ``model.safetensors``."""
    tensors, seen = dict[str, Tensor](), set[int]()
    for name, module in sorted(method.inference_modules().items()):
        for key, value in module.state_dict().items():
            plain = value.detach().cpu().contiguous()
            # The format has no tensors that share memory, such as those of a network with two names.
            tensors[f"{name}.{key}"] = plain.clone() if plain.data_ptr() in seen else plain
            seen.add(plain.data_ptr())
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(tensors))  # not save_file, whose files only their owner can read


def load_weights(path: Path, method: Method) -> None:
    """Load ``model.safetensors`` into a method's inference modules; nothing is read that does not fit them.

    Raises:
        InputError: the file is missing, damaged, or belongs to another network.
    """
    if not path.is_file():
        raise InputError(f"{path}: there are no trained weights. Has the training finished?")
    _require_sensible_header(path)
    try:
        # The header's places are held to the file's size on opening, before anything is read.
        with safe_open(path, framework="pt", device="cpu") as stored:
            for name, module in method.inference_modules().items():
                _load_module(path, stored, name, module)
    except OSError as fault:
        raise InputError(f"{path}: the weights cannot be read ({fault.strerror or fault}).") from fault
    except (SafetensorError, RuntimeError) as fault:  # the latter where the file cannot be mapped
        raise InputError(f"{path}: the weights are damaged ({fault}). Copy or train them anew.") from fault


def _require_sensible_header(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
    except OSError as fault:
        raise InputError(f"{path}: the weights cannot be read ({fault.strerror}).") from fault
    if size > min(MOST_HEADER_BYTES, path.stat().st_size):
        raise InputError(f"{path}: the weights are damaged (a header of {size} bytes). Copy or train them anew.")


def _load_module(path: Path, stored: Any, name: str, module: torch.nn.Module) -> None:
    expected = module.state_dict()
    keys: list[str] = list(stored.keys())
    held = {key.removeprefix(f"{name}.") for key in keys if key.startswith(f"{name}.")}
    if not held:
        there = ", ".join(sorted({key.partition(".")[0] for key in keys})) or "none"
        raise InputError(
            f"{path}: holds no network '{name}' (it has: {there}). Begin with the method that it was trained by, or "
            "one whose networks it has."
        )
    shared = sorted(held & expected.keys())
    apart = [
        key for key in shared if tuple(stored.get_slice(f"{name}.{key}").get_shape()) != tuple(expected[key].shape)
    ]
    if apart or held != expected.keys():
        raise InputError(
            f"{path}: the weights of '{name}' do not fit this network: they were trained with another plan. Give "
            "that run's plan.json by --plan."
        )
    module.load_state_dict({key: stored.get_tensor(f"{name}.{key}") for key in shared})


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


def refuse_another_version(
    folder: Path,
    before: Mapping[str, Any],
    *,
    cache_format: int,
    revision: int,
    contents: Mapping[str, str] | None = None,
) -> None:
    """Refuse to go on with a run that this version would prepare scans for, or train, in another way.

    Args:
        folder: of the run.
        before: the run's identity; without ``cache_format`` in those of earlier versions.
        cache_format: of this version.
        revision: of the method in this version.
        contents: of this version, which tell where the run's identity has no ``cache_format``.

    Raises:
        InputError: they were prepared in another way, or the method was another.
    """
    if before["revision"] != revision:
        raise InputError(
            f"{folder}: its method has been changed since it began (revision {before['revision']}, now {revision}), so "
            "that this version cannot go on exactly; start the run anew in another folder, or use that version."
        )
    if "cache_format" in before:
        other = before["cache_format"] != cache_format
    else:
        old = before.get("contents") if contents else None
        other = isinstance(old, Mapping) and not any(old.get(key) == value for key, value in (contents or {}).items())
    if other:
        raise InputError(
            f"{folder}: its scans were prepared by another version of duoseg, so that this one cannot go on exactly; "
            "start the run anew in another folder, or use that version."
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


def _require_state(state: Any) -> None:
    """Hold what was loaded to what a checkpoint holds.

    Raises:
        ValueError: says what is missing, or of another kind.
    """
    if not isinstance(state, dict) or state.keys() != STATE.keys():
        raise ValueError("it holds other things than a checkpoint")
    wrong = [key for key, kind in STATE.items() if not isinstance(state[key], kind) or isinstance(state[key], bool)]
    if wrong:
        raise ValueError(f"its '{wrong[0]}' is of another kind")
    if state["step"] < 0 or not math.isfinite(state["seconds"] + state["waited"]):
        raise ValueError("its counts are impossible")
    # Shared parts count each time that they occur, as they do when written out.
    rest, count = [state], 0
    while rest:
        value = rest.pop()
        inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
        count += len(inner)
        if count > MOST_VALUES:
            raise ValueError(f"it holds more than {MOST_VALUES} values")
        rest += inner


def _describe(key: str, old: Any, new: Any) -> str:
    if key.startswith("contents."):
        return f"the {key.removeprefix('contents.')} " + ("has changed" if new is not None else "is no longer there")
    return f"{key} was {old!r} and is now {new!r}"
