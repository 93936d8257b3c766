"""The page of a training that goes on, for whoever looks from far away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from duoseg.training.log import Record

logger = logging.getLogger("duoseg")

EVERY_SECONDS = 30.0
SHARE = 0.01
"""Of the time of a training that its page may take."""


class LivePage:
    """A logger that has the page of a run written anew, every half minute or less often where that takes long.

    Args:
        write: writes the page, with the time as a note and how often to load it anew.
    """

    def __init__(self, write: Callable[[str, int], Path]) -> None:
        self._write = write
        self._due = 0.0
        self._told = False

    def write(self, records: Sequence[Record]) -> None:
        """Write the page where it is time to."""
        began = time.monotonic()
        if began < self._due:
            return
        now = datetime.now().astimezone()
        note = f"Written while it trains, at {now:%H:%M:%S} on {now:%d %B %Y}; the page loads itself anew."
        try:
            self._write(note, round(EVERY_SECONDS))
        except Exception as fault:  # whatever it is: a page is not worth a training
            if not self._told:
                logger.warning("the training's page could not be written, and it goes on: %s", fault)
            self._told = True
        ended = time.monotonic()
        self._due = ended + max(EVERY_SECONDS, (ended - began) / SHARE)
