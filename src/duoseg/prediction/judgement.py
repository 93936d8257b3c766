"""How far a mask may be trusted: doubt, the students' agreement, the Dice to expect, what is unusual of the scan."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from duoseg.prediction.calibration import Expected

DECIMALS = 4


@dataclass(frozen=True)
class Judgement:
    """How far a mask may be trusted.

    Attributes:
        doubt: about which share of it is wrong, as the networks see it.
        trust: how far the students agree on it, 0 to 1.
        expected: its Dice, where the run is calibrated, something was found, and the scan is like those of which it is
            known: not unlike all training scans, nor one whose annotation the run was trained on.
        unlike: in what the scan is unlike the training scans, in words; None where the run is not calibrated.
        trained_on: whether the run was trained on its annotation; told of calibrated runs.
    """

    doubt: float
    trust: float
    expected: Expected | None = None
    unlike: tuple[str, ...] | None = None
    trained_on: bool = False

    @property
    def rank(self) -> tuple[bool, float]:
        """Sorts masks, the least trusted first: those of unusual scans, then by trust."""
        return not self.unlike, self.trust

    def __str__(self) -> str:
        """All of it in a line."""
        said = [f"trust {self.trust:.3f}", f"{self.doubt:.1%} in doubt"]
        said += [] if self.expected is None else [f"expected Dice {self.expected}"]
        said += ["trained on its annotation"] if self.trained_on else []
        return ", ".join([*said, *(f"unlike all training scans in {part}" for part in self.unlike or ())])

    def to_json(self) -> dict[str, Any]:
        """As ``predictions.json`` has it."""
        found: dict[str, Any] = {"doubt": round(self.doubt, DECIMALS), "trust": round(self.trust, DECIMALS)}
        if self.expected is not None:
            found["expected_dice"] = {
                name: value if isinstance(value, bool) else round(value, DECIMALS)
                for name, value in asdict(self.expected).items()
            }
        if self.unlike is not None:
            found["unlike"] = list(self.unlike)
        return found | ({"trained_on": True} if self.trained_on else {})

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Judgement | None:
        """Of a record of ``predictions.json``; None where it was predicted without uncertainty.

        Raises:
            KeyError, TypeError: the record is damaged.
        """
        if "doubt" not in entry or "trust" not in entry:
            return None
        expected = Expected(**entry["expected_dice"]) if "expected_dice" in entry else None
        unlike = tuple(entry["unlike"]) if "unlike" in entry else None
        return cls(entry["doubt"], entry["trust"], expected, unlike, entry.get("trained_on") is True)
