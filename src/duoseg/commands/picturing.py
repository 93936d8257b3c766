"""Scans and their masks, read as a page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from duoseg.commands.predicting.manifest import read_finished
from duoseg.commands.predicting.outputs import layers_of
from duoseg.errors import InputError
from duoseg.pictures.planes import CasePicture
from duoseg.planning.orient import canonical_spacing, to_canonical
from duoseg.scans.formats import read_scan
from duoseg.scans.scan import Scan
from duoseg.scores.pairing import pair_masks
from duoseg.scores.results import Scores


def read_picture(
    case: str,
    *,
    image: Path,
    prediction: Path,
    truth: Path | None = None,
    dice: float | None = None,
    uncertainty: Path | None = None,
) -> CasePicture:
    """Read a scan with its masks, in right-anterior-superior order.

    Raises:
        InputError: a file cannot be read, or a mask or the uncertainty does not lie on the scan.
    """
    scan = read_scan(image)
    order = scan.grid.canonical()

    def layer(file: Path) -> np.ndarray:
        placed: Scan | None = read_scan(file).onto(scan.grid)
        if placed is None:
            raise InputError(f"{file}: does not lie on {image}.")
        return to_canonical(placed.voxels, *order)

    return CasePicture(
        case=case,
        dice=dice,
        image=to_canonical(scan.voxels, *order),
        truth=None if truth is None else layer(truth),
        prediction=layer(prediction),
        spacing=canonical_spacing(scan.grid),
        uncertainty=None if uncertainty is None else layer(uncertainty),
    )


def scored_pictures(scores: Scores, masks: Path, reference: Path) -> list[tuple[str, CasePicture]]:
    """The best, median and worst scan by Dice.

    Args:
        scores: of the masks.
        masks: their folder, as `duoseg predict` wrote it.
        reference: the true masks that they were scored with.

    Raises:
        InputError: as `read_picture`.
    """
    entries = read_finished(masks)
    references = {pair.case: pair.reference for pair in pair_masks(masks, reference)[0]}
    dice = {case.case: case.dice for case in scores.cases if case.case in entries and case.dice is not None}
    chosen = marked_places(dice)
    maps = layers_of(masks, [entries[case] for _, case in chosen])
    return [
        (
            label,
            read_picture(
                case,
                image=Path(entries[case]["images"][0]),
                prediction=masks / entries[case]["mask"],
                truth=references[case],
                dice=dice[case],
                uncertainty=maps[case],
            ),
        )
        for label, case in chosen
    ]


def marked_places(dice: Mapping[str, float]) -> list[tuple[str, str]]:
    """``best``, ``median`` and ``worst`` with the case that it is; fewer of fewer cases."""
    ranked = sorted(dice, key=lambda case: (dice[case], case), reverse=True)
    places = {len(ranked) // 2: "median"} | {len(ranked) - 1: "worst"} | {0: "best"} if ranked else {}
    return [(places[place], ranked[place]) for place in sorted(places)]
