"""Scans and their masks, read as a page shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from duoseg.errors import InputError
from duoseg.pictures.planes import CasePicture
from duoseg.planning.orient import canonical_spacing, to_canonical
from duoseg.scans.formats import read_scan
from duoseg.scans.scan import Scan


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
