"""What is said of the Dice to expect, on pages and in consoles."""

from __future__ import annotations

FEWEST_PERSONS = 9
"""Annotated persons from which on its interval needs no model of the residuals."""

UNCALIBRATED = "Which Dice to expect is not known: `duoseg calibrate` finds that out of a single run."
"""Where masks were judged by a run without calibration, or by several."""

MODELLED = (
    f"They are of fewer than {FEWEST_PERSONS} persons, so its 90% intervals are those of a model, and no guarantee."
)
FEWEST_COMPARED = 12
"""Persons among the training scans from which on another scan may be told as unlike them."""

NONE_UNLIKE = (
    f"No scan will be told as unlike the training scans: those are of fewer than {FEWEST_COMPARED} persons; train with "
    "more raw scans for that."
)

OBSERVED = "Its intervals are as wide as to hold 90% of those scans, each person left out in turn."
