"""What a caller asks of the planner, held to the plan's own types before anything is computed with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from duoseg.errors import InputError
from duoseg.planning.plan import Length, Patch, Spacing, Steps

MOST_HOURS = 10_000
"""More than a year: whoever asks for more has mistyped."""

Hours = Annotated[Length, Field(le=MOST_HOURS)]

_KINDS: dict[str, tuple[TypeAdapter[Any], str]] = {
    "steps": (TypeAdapter(Steps), "a whole number from 1 on"),
    "spacing": (TypeAdapter(Spacing), "three positive, finite numbers of mm, such as 1, 1, 2.5"),
    "patch": (TypeAdapter(Patch), "three whole numbers of voxels from 1 on, such as 96, 96, 48"),
    "hours": (TypeAdapter(Hours), f"a positive, finite number of hours up to {MOST_HOURS:,}, such as 1.5"),
}


@dataclass(frozen=True)
class Request:
    """What was asked for; None where the planner is to choose.

    Attributes:
        steps: training steps.
        spacing: voxel sides, mm, canonical axis order.
        patch: patch sides, voxels, canonical axis order.
        hours: of the whole training.
    """

    steps: Steps | None
    spacing: Spacing | None
    patch: Patch | None
    hours: Hours | None = None


def checked_request(*, steps: Any, spacing: Any, patch: Any, hours: Any = None) -> Request:
    """Return the values as the plan's types.

    Raises:
        InputError: names the option that is wrong, and what it must be.
    """
    return Request(
        steps=_checked("steps", steps),
        spacing=_checked("spacing", spacing),
        patch=_checked("patch", patch),
        hours=_checked("hours", hours),
    )


def _checked(name: str, value: Any) -> Any:
    adapter, expected = _KINDS[name]
    if value is None:
        return None
    try:
        return adapter.validate_python(value)
    except ValidationError:
        raise InputError(f"{name}: {value!r} was asked for, but it must be {expected}.") from None
