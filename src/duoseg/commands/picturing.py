"""Scans and their masks, read as a page shows them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from duoseg.commands.predicting.manifest import Entry, read_finished
from duoseg.commands.predicting.outputs import layers_of
from duoseg.errors import InputError
from duoseg.pictures.planes import CasePicture
from duoseg.planning.orient import canonical_spacing, to_canonical
from duoseg.scans.formats import read_scan
from duoseg.scans.scan import Scan
from duoseg.scans.segments import by_name
from duoseg.scores.pairing import pair_masks
from duoseg.scores.results import Scores

logger = logging.getLogger("duoseg")


def read_picture(
    entry: Entry,
    masks: Path,
    *,
    image: Path | None = None,
    truth: Path | None = None,
    dice: float | None = None,
    uncertainty: Path | None = None,
) -> CasePicture:
    """Read a scan with its masks, in right-anterior-superior order.

    Args:
        entry: what is known of the mask.
        masks: the folder that it lies in.
        image: the scan's first channel, where it no longer lies where it was predicted from.
        truth: the true mask; what it holds besides the classes of the other, such as voxels to ignore, is not shown.
        dice: of the mask.
        uncertainty: the map of it.

    Raises:
        InputError: a file cannot be read, or a mask or the uncertainty does not lie on the scan.
    """
    scan, classes = read_scan(Path(entry["images"][0]) if image is None else image), entry["classes"]
    order = scan.grid.canonical()

    def layer(read: Scan) -> np.ndarray:
        placed = read.onto(scan.grid)
        if placed is None:
            raise InputError(f"{read.source}: does not lie on {scan.source}.")
        return to_canonical(placed.voxels, *order)

    true = None if truth is None else layer(by_name(read_scan(truth), classes))
    return CasePicture(
        case=entry["case"],
        dice=dice,
        image=to_canonical(scan.voxels, *order),
        truth=None if true is None else np.where(np.isin(true, [*classes.values()]), true, 0),
        prediction=layer(read_scan(masks / entry["mask"])),
        spacing=canonical_spacing(scan.grid),
        uncertainty=None if uncertainty is None else layer(read_scan(uncertainty)),
    )


def scored_pictures(scores: Scores, masks: Path, reference: Path) -> list[tuple[str, CasePicture]]:
    """The best, median and worst scan by Dice; those that can no longer be read are told of and left out.

    Args:
        scores: of the masks.
        masks: their folder, as `duoseg predict` wrote it.
        reference: the true masks that they were scored with.

    Raises:
        InputError: the masks and their references cannot be paired.
    """
    entries = read_finished(masks)
    truths = {pair.case: pair.reference for pair in pair_masks(masks, reference)[0]}
    there = entries.keys() & truths.keys()
    dice = {case.case: case.dice for case in scores.cases if case.case in there and case.dice is not None}
    chosen = marked_places(dice)
    maps = layers_of(masks, [entries[case] for _, case in chosen])
    pictures = []
    for label, case in chosen:
        try:
            shown = read_picture(entries[case], masks, truth=truths[case], dice=dice[case], uncertainty=maps[case])
            pictures.append((label, shown))
        except InputError as fault:
            logger.warning("%s is not shown: %s", case, fault)
    return pictures


def marked_places(dice: Mapping[str, float]) -> list[tuple[str, str]]:
    """``best``, ``median`` and ``worst`` with the case that it is; fewer of fewer cases."""
    ranked = sorted(dice, key=lambda case: (dice[case], case), reverse=True)
    places = {len(ranked) // 2: "median"} | {len(ranked) - 1: "worst"} | {0: "best"} if ranked else {}
    return [(places[place], ranked[place]) for place in sorted(places)]
