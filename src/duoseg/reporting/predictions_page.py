"""The page about a folder of predictions: what was found in each scan, and where to look first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from duoseg.files import write_text
from duoseg.pictures.planes import CasePicture
from duoseg.prediction.judgement import Judgement
from duoseg.prediction.words import MODELLED, OBSERVED, UNCALIBRATED
from duoseg.reporting.page import fixed, made_with, setting_rows, shown_scans
from duoseg.reporting.records import RunSummary
from duoseg.reporting.templating import environment
from duoseg.scans.texts import count_text, some_text

PLAIN_DOUBT = 3.0
"""Times the median, beyond which a scan's doubt is told in words."""
MOST_TOLD = 5
"""Unusual scans, or classes that some scans lack, of which each has a sentence of its own."""
FEWEST = 5
"""Scans without which there is no usual doubt."""


@dataclass(frozen=True)
class PredictedCase:
    """One predicted scan.

    Attributes:
        case: its name.
        volumes_ml: class name -> volume.
        judgement: how far the mask may be trusted; None where that was not asked for.
        notes: what reading the scan had to assume.
        made_by: runs, settings and the like, by name.
    """

    case: str
    volumes_ml: Mapping[str, float]
    judgement: Judgement | None
    notes: Sequence[str]
    made_by: Mapping[str, Any]

    @property
    def total_ml(self) -> float:
        """The volume of all classes together."""
        return sum(self.volumes_ml.values())

    @property
    def rank(self) -> tuple[bool, float]:
        """Sorts scans, the least trusted first."""
        return (True, 0.0) if self.judgement is None else self.judgement.rank


def write_predictions_page(
    path: Path,
    *,
    title: str,
    scans: Sequence[PredictedCase],
    pictures: Sequence[tuple[str, CasePicture]] = (),
    runs: Sequence[RunSummary] = (),
) -> Path:
    """Write the page, atomically, and return its path.

    Args:
        path: the HTML file; its folder is created if absent.
        title: the page's heading.
        scans: at least one; the most doubted stand first on the page.
        pictures: scans to show, each with a label.
        runs: that made the masks, as far as they are known.
    """
    write_text(path, render(title=title, scans=scans, pictures=pictures, runs=runs))
    return path


def render(
    *,
    title: str,
    scans: Sequence[PredictedCase],
    pictures: Sequence[tuple[str, CasePicture]] = (),
    runs: Sequence[RunSummary] = (),
) -> str:
    """The page as text; see `write_predictions_page`."""
    engine = environment()
    engine.filters |= {"fixed": fixed, "share": share}
    makers: dict[str, list[PredictedCase]] = {}
    for scan in scans:
        makers.setdefault(repr(scan.made_by), []).append(scan)
    return engine.get_template("predictions.html.j2").render(
        title=title,
        summary=summary(scans),
        warnings=warnings(scans),
        scans=sorted(scans, key=lambda scan: (scan.rank, scan.case)),
        judged=any(scan.judgement is not None for scan in scans),
        calibrated=any(scan.judgement is not None and scan.judgement.unlike is not None for scan in scans),
        noted=any(scan.notes for scan in scans),
        classes=list(dict.fromkeys(name for scan in scans for name in scan.volumes_ml)),
        makers=[(count_text(len(made), "scan"), setting_rows(made[0].made_by)) for made in makers.values()],
        **made_with(runs),
        **shown_scans(pictures),
    )


def share(value: float | None) -> str:
    """A share in percent; a dash where it is unknown."""
    return "–" if value is None else f"{value:.1%}"


def chosen(scans: Sequence[PredictedCase]) -> dict[str, PredictedCase]:
    """The scans to show, by why: the least trusted, the median and the most trusted one; else by volume."""
    if all(scan.judgement is not None for scan in scans):
        ranked = sorted(scans, key=lambda scan: scan.rank)
        names = ("least trusted", "median", "most trusted")
        told = [f"trust {scan.judgement.trust:.2f}" for scan in ranked if scan.judgement is not None]
    else:
        ranked = sorted(scans, key=lambda scan: scan.total_ml)
        names, told = ("smallest", "median", "largest"), [f"{scan.total_ml:.1f} ml" for scan in ranked]
    first, middle, last = names
    places = {len(ranked) // 2: middle} | {len(ranked) - 1: last} | {0: first}  # of few scans, the ends
    return {f"{places[place]} ({told[place]})": ranked[place] for place in sorted(places)}


def summary(scans: Sequence[PredictedCase]) -> list[str]:
    """What there is, in words."""
    said = [f"{count_text(len(scans), 'scan')} segmented."]
    judged = sorted(((scan.rank, scan) for scan in scans if scan.judgement is not None), key=lambda pair: pair[0])
    if not judged:
        return [*said, "How sure the networks are was not asked for: `duoseg predict --uncertainty` tells."]
    worst, usual = judged[0][1], median(_doubt(scan) for _, scan in judged)
    said.append(
        f"About {share(usual)} of a mask is in doubt in the median scan, and {share(_doubt(worst))} in "
        f"{worst.case}, the least trusted one. That is the networks' own view, and no measured error."
    )
    expected = [scan.judgement.expected for _, scan in judged if scan.judgement and scan.judgement.expected]
    if expected:
        said.append(
            f"The Dice to expect is {median(one.dice for one in expected):.2f} in the median scan; a scan's own is in "
            "the table. It was learnt from the run's annotated scans, each predicted by a model that had not seen it. "
            + (MODELLED if any(one.modelled for one in expected) else OBSERVED)
        )
    elif all(scan.judgement is None or scan.judgement.unlike is None for scan in scans):
        said.append(UNCALIBRATED)
    return said


def warnings(scans: Sequence[PredictedCase]) -> list[str]:
    """Scans to look at first, and why."""
    said = []
    for scan in scans:
        if scan.judgement is not None and scan.judgement.unlike:
            said.append(f"{scan.case} is unlike all training scans: {'; '.join(scan.judgement.unlike)}.")
    if len(said) > MOST_TOLD:
        named = [scan.case for scan in scans if scan.judgement is not None and scan.judgement.unlike]
        said = [f"{count_text(len(named), 'scan is', 'scans are')} unlike all training scans: {some_text(named)}."]
    empty = [scan.case for scan in scans if not scan.total_ml]
    if empty:
        said.append(f"Nothing was found in {some_text(empty)}.")
    lacking = {}
    for name in dict.fromkeys(name for scan in scans for name in scan.volumes_ml):
        without = [scan.case for scan in scans if scan.total_ml and scan.volumes_ml.get(name) == 0]
        if without and len(without) <= len(scans) / 2:
            lacking[name] = without
    if len(lacking) > MOST_TOLD:
        told = [f"{name} in {count_text(len(without), 'scan')}" for name, without in lacking.items()]
        said.append(f"Not found were {some_text(told)}.")
    else:
        said += [f"No {name} was found in {some_text(without)}." for name, without in lacking.items()]
    doubts = [_doubt(scan) for scan in scans if scan.judgement is not None]
    if len(doubts) >= FEWEST:
        limit = PLAIN_DOUBT * median(doubts)
        outside = [f"{scan.case} ({share(_doubt(scan))})" for scan in scans if scan.total_ml and _doubt(scan) > limit]
        if outside:
            said.append(f"In doubt more than {PLAIN_DOUBT:.0f} times as much as the median scan: {some_text(outside)}.")
    return said


def _doubt(scan: PredictedCase) -> float:
    return 0.0 if scan.judgement is None else scan.judgement.doubt
