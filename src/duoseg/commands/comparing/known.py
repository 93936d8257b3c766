"""What a study's folder tells of earlier calls of ``duoseg compare`` beside their results."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from duoseg.errors import InputError
from duoseg.files import read_json
from duoseg.study.folds import Scored
from duoseg.study.grid import Combination
from duoseg.study.reading import STUDY, Study, parse_study

logger = logging.getLogger("duoseg")


@dataclass(frozen=True)
class Known:
    """What earlier calls have written into ``study.json``.

    Attributes:
        combinations: all that belong to the study.
        errors: of those that failed, by name.
        entries: the entries by name, as the file has them.
        threads: of the CPU, that each job had; None where nobody knows.
        against: the entry that others are compared with; None in a new study.
    """

    combinations: tuple[Combination, ...] = ()
    errors: dict[str, str] = field(default_factory=dict)
    entries: dict[str, Any] = field(default_factory=dict)
    threads: int | None = None
    against: str | None = None

    def entries_of(self, combinations: Iterable[Combination]) -> dict[str, Any]:
        """The entries of some combinations, as far as they are known."""
        names = dict.fromkeys(one.method for one in combinations)
        return {name: self.entries[name] for name in names if name in self.entries}


def read_known(out: Path, *, on: Scored, folds: int | None) -> Known:
    """What a study's folder tells; nothing where it is new, or where what was asked for scored other scans.

    Args:
        out: folder of the study.
        on: which scans are to be scored.
        folds: how many.
    """
    path = out / STUDY
    if not path.is_file():
        return Known()
    try:
        content = parse_study(read_json(path), source=str(path))
    except InputError as fault:
        logger.warning(f"{fault} It is written anew now, without what had not been finished.")
        return Known()
    return _of(content, out) if (content.data.on, content.data.folds) == (on, folds) else Known()


def _of(content: Study, out: Path) -> Known:
    threads = content.environment.get("threads")
    return Known(
        combinations=tuple(
            Combination.of(one.method, one.labelled, one.seed, one.fold)
            for one in content.combinations
            if (out / one.name).is_dir()  # whoever removes its folder takes it out of the study
        ),
        errors={one.name: one.error for one in content.combinations if one.error},
        entries={name: row.model_dump() for name, row in content.entries.items()},
        threads=threads if isinstance(threads, int) and threads > 0 else None,
        against=content.against,
    )
