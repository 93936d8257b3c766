"""Changing a plan by hand, in part: what is named is replaced, and the whole is checked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from duoseg.errors import InputError
from duoseg.planning.fitting import require_fitting_patch
from duoseg.planning.plan import Plan

PUBLISHED_VNET = {"channels": (16, 32, 64, 128, 256), "strides": ((2, 2, 2),) * 4, "dropout": 0.5, "stem": "full"}
"""What choosing the V-Net means where nothing else is said: the levels and dropout of the semi-supervised papers."""

SCHEDULE = ("schedule", "warm_up", "step_every", "step_factor")

LEVELS = ("architecture", "stem", "strides")
"""Settings that make the automatic kernels those of another network."""


def override(plan: Plan, changes: Mapping[str, Any]) -> Plan:
    """Return the plan with ``changes`` merged in; sections merge key by key, all other values are replaced.

    Each changed setting is noted in ``reasons``. Choosing the V-Net brings its published levels and dropout with it.
    A network whose levels are named has kernels of 3x3x3, unless it names them too: a protocol file means the same
    network for all scans.

    Raises:
        InputError: a key is unknown (the nearest known one is named), a value is not valid, or the patch no
            longer fits the network.
    """
    merged, changed = _merge(plan, _completed(changes), "")
    reasons = _reasons_after(merged["reasons"], changed)
    try:
        result = Plan.model_validate({**merged, "reasons": reasons})
    except ValidationError as error:
        raise InputError(_explain(error)) from None
    require_fitting_patch(result.network, result.patch)
    return result


def require_known(changes: Mapping[str, Any], section: type[BaseModel] = Plan, prefix: str = "") -> None:
    """Check the names of settings, before there is a plan to change.

    Raises:
        InputError: a key is unknown; the nearest known one is named.
    """
    for key, value in changes.items():
        if key not in section.model_fields:
            raise InputError(_unknown(prefix + key, key, list(section.model_fields)))
        inner = section.model_fields[key].annotation
        if isinstance(value, Mapping) and isinstance(inner, type) and issubclass(inner, BaseModel):
            require_known(value, inner, f"{prefix}{key}.")


def differences(plan: Plan, changes: Mapping[str, Any]) -> list[str]:
    """Return which of the plan's settings ``override`` with these changes would change, such as ``network.stem``.

    Raises:
        InputError: a key is unknown; the nearest known one is named.
    """
    return _merge(plan, _completed(changes), "")[1]


def _completed(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the changes with what a network that is named brings with it."""
    network = changes.get("network")
    if not isinstance(network, Mapping):
        return changes
    if network.get("architecture") == "vnet":
        network = {**PUBLISHED_VNET, **network}
    uniform = {"kernels": ()} if any(name in network for name in LEVELS) else {}
    return {**changes, "network": {**uniform, **network}}


def _reasons_after(reasons: Mapping[str, str], changed: Sequence[str]) -> dict[str, str]:
    """Say what was set by hand; of a section that was changed in part, keep the automatic choice's reason as well."""
    told = dict(reasons)
    by_section: dict[str, list[str]] = {}
    for path in changed:
        section, _, rest = path.partition(".")
        section = "schedule" if section == "optimiser" and rest in SCHEDULE else section  # it has a reason of its own
        by_section.setdefault(section, []).extend([rest] if rest else [])
    for section, parts in by_section.items():
        if section == "reasons":
            continue
        automatic = f" The automatic choice: {reasons[section]}" if parts and section in reasons else ""
        told[section] = f"Set by hand{': ' + ', '.join(parts) if parts else ''}.{automatic}"
    return told


def _merge(model: BaseModel, changes: Mapping[str, Any], prefix: str) -> tuple[dict[str, Any], list[str]]:
    """Return the model as plain values with the changes in it, and the paths of what really changed."""
    merged = {name: getattr(model, name) for name in type(model).model_fields}
    changed: list[str] = []
    for key, value in changes.items():
        if key not in merged:
            raise InputError(_unknown(prefix + key, key, list(merged)))
        current = merged[key]
        if isinstance(current, BaseModel) and isinstance(value, Mapping):
            merged[key], inner = _merge(current, value, f"{prefix}{key}.")
            changed += inner
        elif not _same(current, value):
            merged[key] = value
            changed.append(prefix + key)
    return {name: _plain(value) for name, value in merged.items()}, changed


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value


def _same(current: Any, value: Any) -> bool:
    if isinstance(current, tuple) and isinstance(value, list | tuple):
        return len(current) == len(value) and all(map(_same, current, value))
    return bool(current == value)


def _unknown(path: str, key: str, known: list[str]) -> str:
    nearest = get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(known)}."
    return f"The plan has no setting {path!r}; {hint}"


def _explain(error: ValidationError) -> str:
    parts = [f"{'.'.join(map(str, item['loc']))}: {item['msg']} (got {item['input']!r})" for item in error.errors()]
    return "The plan is not valid: " + "; ".join(parts)
