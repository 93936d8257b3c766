"""What a score is where its definition has no value, and the words that say so in every scores file."""

from __future__ import annotations

from typing import Any, Final

METRICS: Final = ("dice", "jaccard", "hd95_mm", "assd_mm", "nsd", "volume_ml", "reference_volume_ml")
"""The scores of one label in one case, in the order of every table and file."""

Values = dict[str, float | None]
"""The scores of one label by the names in ``METRICS``; ``None`` is an undefined value."""

TOLERANCE_MM: Final = 1.0
"""Of the normalised surface distance, where nobody asks for another."""

BOTH_EMPTY: Final[Values] = {"dice": 1.0, "jaccard": 1.0, "hd95_mm": 0.0, "assd_mm": 0.0, "nsd": 1.0}
"""Nothing to find and nothing found: a perfect answer."""

ONE_EMPTY: Final[Values] = {"dice": 0.0, "jaccard": 0.0, "hd95_mm": None, "assd_mm": None, "nsd": 0.0}
"""A missed or an invented structure: no overlap, and no distance exists."""

NO_SURFACE: Final[Values] = {"hd95_mm": None, "assd_mm": None, "nsd": None}
"""Both masks have voxels, but ignored voxels hide the whole surface of one: nothing is known of it."""


def edge_case(prediction_voxels: int, reference_voxels: int) -> Values | None:
    """Return the scores that the policy sets for empty masks; ``None`` where both have voxels."""
    if prediction_voxels and reference_voxels:
        return None
    return dict(ONE_EMPTY if prediction_voxels or reference_voxels else BOTH_EMPTY)


def is_undefined(values: Values) -> bool:
    """Whether a label's surface distances are undefined in a case, which ``n_undefined`` counts."""
    return values["hd95_mm"] is None


def is_absent(values: Values) -> bool:
    """Whether a label is in neither mask of a case."""
    return not (values["volume_ml"] or values["reference_volume_ml"])


def describe(*, tolerance_mm: float, ignore_value: int | None) -> dict[str, Any]:
    """Return the policy as JSON values: definitions, edge cases, tolerance in mm and ignored value."""
    return {
        "surface": "mask minus its 6-neighbour erosion, the image border counts as outside",
        "distance": "between voxel centres, in mm",
        "hd95_mm": "larger of the two directed 95th percentiles, linear interpolation",
        "assd_mm": "mean over the voxels of both surfaces together",
        "nsd": "share of both surfaces' voxels within tolerance_mm of the other surface",
        "tolerance_mm": tolerance_mm,
        "both_empty": dict(BOTH_EMPTY),
        "one_empty": dict(ONE_EMPTY),
        "no_known_surface": dict(NO_SURFACE),
        "undefined": "null, left out of the means and counted in n_undefined",
        "missing_prediction": "a problem, and scored as an empty mask",
        "ignore_value": ignore_value,
    }
