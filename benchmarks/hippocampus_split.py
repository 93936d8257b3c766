"""The ``splits.json`` of the Hippocampus results: which scans are labelled, which are test scans.

``duoseg fetch hippocampus --to hippocampus`` and ``python benchmarks/hippocampus_split.py hippocampus``. The Decathlon
keeps the labels of its own test scans to itself, so 60 of the 260 labelled scans serve as test scans. Consecutive
numbers 2k - 1 and 2k seem to be the two hippocampi of one person, k, who is on one side only. Orders are those of
SHA-256 hashes: arbitrary, and the same everywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from duoseg.files import write_text

SCANS = 260
TEST = 60
NEVER_HELD_OUT = 16
HELD_OUT_FROM = 160


def split(cases: list[str]) -> dict[str, Any]:
    """The division of the labelled scans ``hippocampus_NNN``."""
    person = {case: (int(case.removeprefix("hippocampus_")) + 1) // 2 for case in cases}
    scans = Counter(person.values())
    test, room = set(), TEST
    for one in sorted(scans, key=lambda k: _hash(f"hippocampus-subject-{k:03d}")):
        if scans[one] <= room:
            test.add(one)
            room -= scans[one]
    ordered = sorted(cases, key=_hash)
    train = [case for case in ordered if person[case] not in test]
    first, last = ({person[case] for case in part} for part in (train[:NEVER_HELD_OUT], train[HELD_OUT_FROM:]))
    return {
        "train": train,
        "test": [case for case in ordered if person[case] in test],
        "holdout": [case for case in train if person[case] in last - first],
        "subjects": {case: f"person-{person[case]:03d}" for case in sorted(cases)},
    }


def main() -> None:
    """Write the file into a fetched folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what `duoseg fetch hippocampus --to FOLDER` made")
    folder = parser.parse_args().folder
    cases = sorted(path.name.removesuffix(".nii.gz") for path in (folder / "labelsTr").glob("hippocampus_*.nii.gz"))
    if len(cases) != SCANS:
        parser.error(f"{folder}/labelsTr holds {len(cases)} labels instead of {SCANS}")
    unused = sorted(path.name.split("_0000")[0] for path in (folder / "imagesUn").glob("hippocampus_*.nii.gz"))
    content = split(cases) | ({"unused": unused} if unused else {})
    write_text(folder / "splits.json", json.dumps(content, indent=1) + "\n")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    main()
