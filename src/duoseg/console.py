"""What the command line shows: tables and results on standard output, progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from shlex import quote
from textwrap import fill, indent
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.table import Table

from duoseg.displays import Bars, Lines, StudyLines
from duoseg.prediction.words import MODELLED, NONE_UNLIKE, OBSERVED, UNCALIBRATED
from duoseg.scans.texts import count_text

if TYPE_CHECKING:
    from duoseg.commands.calibrate import Calibrated
    from duoseg.commands.comparing.outputs import StudyFolder
    from duoseg.commands.demo import Demo
    from duoseg.commands.predict import PredictedScan
    from duoseg.commands.suggest import Suggestion
    from duoseg.commands.train import Run
    from duoseg.planning.plan import Plan
    from duoseg.progress import Progress
    from duoseg.scans.check_report import CheckReport
    from duoseg.scans.fetching.catalogue import PublicSet
    from duoseg.scores.results import Scores

PIPE_WIDTH = 1000
READING_WIDTH = 116
SEVERITIES = {"error": "bold red", "warning": "yellow", "note": "dim"}


class _Printer(RichConsole):
    """Leaves it to the command line what to do where nobody reads on."""

    def on_broken_pipe(self) -> None:
        raise  # the BrokenPipeError that it is called for


class Console:
    """Prints what the commands return.

    Args:
        quiet: show no progress and no remarks, only results.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        # A file or a pipe has no width to fold a table to.
        self._out = _Printer(highlight=False, width=None if _is_terminal(sys.stdout) else PIPE_WIDTH)
        self._err = RichConsole(stderr=True, highlight=False)

    def progress(self) -> AbstractContextManager[Progress | None]:
        """Bars on a terminal, a plain line now and then elsewhere, nothing when quiet."""
        return self._shown(Lines)

    def study_progress(self) -> AbstractContextManager[Progress | None]:
        """The same for a study: a bar for all combinations and one a job, or a line a finished combination."""
        return self._shown(StudyLines)

    @contextmanager
    def _shown(self, lines: type[Lines | StudyLines]) -> Iterator[Progress | None]:
        if self._quiet:
            yield None
        elif self._err.is_terminal:
            with Bars(self._err) as bars:
                yield bars
        else:
            yield lines(self._err)

    def check(self, report: CheckReport) -> None:
        """The table of cases, then the problems."""
        from duoseg.scans.check_report import severity_text
        from duoseg.scans.texts import count_text

        headings, rows = report.format()
        self._table(headings, rows, text_columns=2, dispensable=("axes", "channels"))
        for problem in report.problems:
            self._out.print(f"[{SEVERITIES[problem.severity]}]{problem.severity}[/]: ", end="")
            self._out.print(str(problem), markup=False)
        self._say(f"{count_text(len(report.rows), 'case')}: {severity_text(report.problems) or 'no problems'}.")

    def public_sets(self, sets: Sequence[PublicSet]) -> None:
        """What can be fetched."""
        headings = ("name", "shows", "modality", "licence", "labelled", "unlabelled", "download")
        rows = [
            (
                *(one.name, one.title, one.modality, one.licence, str(one.labelled), str(one.unlabelled)),
                "-" if one.gigabytes is None else f"about {one.gigabytes:g} GB",
            )
            for one in sets
        ]
        self._table(headings, rows, text_columns=4)

    def fetch(self, folder: Path) -> None:
        """Where the set lies and what to do next."""
        self._say(f"In {folder}; its licence and citation are in SOURCE.txt. Next: duoseg check {quote(str(folder))}")

    def plan(self, plan: Plan, out: Path | None) -> None:
        """Every choice with its value and its reason."""
        values = plan.model_dump(mode="json")
        width = min(self._out.width, READING_WIDTH)
        for name, reason in plan.reasons.items():
            value = _words(values[name]) if name in values else ""
            self._out.print(f"[bold]{escape(name)}[/]  {escape(value)}".rstrip())
            self._out.print(indent(fill(reason, width - 4), " " * 4), markup=False)
        if out is not None:
            self._say(f"Written to {out}.")

    def train(self, run: Run) -> None:
        """Where the run lies and what to do next."""
        self._say(f"Trained: {run.folder}. Next: duoseg predict {quote(str(run.folder))} IMAGES --out MASKS")

    def predict(self, scans: Sequence[PredictedScan], out: Path) -> None:
        """One row per scan with its volumes."""
        if not scans:
            self._say(f"No scan was left to predict; the masks are in {out}.")
            return
        classes = list(scans[0].volumes_ml)
        # The least trusted first.
        ranked = sorted(scans, key=lambda scan: (True, 0.0) if scan.judgement is None else scan.judgement.rank)
        judged = [scan.judgement for scan in ranked if scan.judgement is not None]
        calibrated = any(one.unlike is not None for one in judged)
        headings = ["case", *(["trust", "in doubt"] if judged else []), *(["expected Dice"] if calibrated else [])]
        rows = []
        for scan in ranked:
            found = scan.judgement
            cells = [] if found is None else [f"{found.trust:.3f}", f"{found.doubt:.1%}"]
            if calibrated:
                known = "trained on it" if found is not None and found.trained_on else "–"
                cells.append(known if found is None or found.expected is None else str(found.expected))
            rows.append([scan.case, *cells, *(f"{scan.volumes_ml[name]:.2f}" for name in classes)])
        self._table([*headings, *(f"{name} (ml)" for name in classes)], rows, text_columns=1)
        for scan, found in ((scan, scan.judgement) for scan in ranked if scan.judgement is not None):
            if found.unlike:
                self._out.print(f"{scan.case} is unlike all training scans: {'; '.join(found.unlike)}.", markup=False)
        for note in (note for scan in scans for note in scan.notes):
            self._say(f"note: {note}")
        if judged and all(one.unlike is None for one in judged):
            self._say(UNCALIBRATED)
        self._say(f"{len(scans)} mask{'s' if len(scans) != 1 else ''} in {out}.")

    def calibrate(self, found: Calibrated) -> None:
        """How the annotated scans scored, and what may be said of others."""
        self.evaluate(found.scores)
        scans = count_text(len(found.calibration.evidence), "annotated scan")
        self._say(
            f"`duoseg predict --uncertainty` now tells which Dice to expect. It was learnt from {scans}, each "
            f"predicted by a model that had not seen it. {MODELLED if found.calibration.modelled else OBSERVED} "
            f"Page: {found.report}"
        )
        if not found.typical.enough:
            self._say(NONE_UNLIKE)

    def view(self, address: str) -> None:
        """Where the viewer is; also where no more than results are to be printed."""
        self._out.print(f"The viewer is at {address} (Ctrl-C ends it).", markup=False, soft_wrap=True)

    def suggest(self, suggestions: Sequence[Suggestion], drafts: Path | None) -> None:
        """The order, and why."""
        rows = [
            [str(one.rank), one.case, f"{one.stands_for:.0%}", f"{one.doubt:.0%}", f"{one.distance:.2f}", one.nearest]
            for one in suggestions
        ]
        self._table(("", "annotate", "stands for", "in doubt", "distance", "most like"), rows, text_columns=2)
        for one in suggestions:
            self._out.print(f"{one.rank}. {one.case}: {one.reason}", markup=False)
        if drafts is not None:
            self._say(f"Drafts to correct in {drafts}. Next: put the corrected ones with the labels, and train --from.")

    def export(self, file: Path) -> None:
        """Where the file is, and how large."""
        self._say(f"Wrote {file} ({file.stat().st_size / 1e6:.1f} MB).")

    def evaluate(self, scores: Scores) -> None:
        """Mean scores per class, then the problems."""
        table = scores.table(cases=not self._quiet and len(scores.cases) <= 40)
        dispensable = [column for column in table.columns if column.startswith(("Jaccard", "Ref", "Vol", "NSD"))]
        self._table(table.columns, table.rows, text_columns=table.text_columns, dispensable=dispensable)
        for problem in scores.problems:
            self._out.print(f"[{SEVERITIES[problem.severity]}]{problem.severity}[/]: ", end="")
            self._out.print(str(problem), markup=False)

    def compare(self, study: StudyFolder) -> None:
        """Dice of everything that is finished, the difference to what it is compared with, and where the rest is."""
        from duoseg.commands.comparing.table import TEXT_COLUMNS, overview

        if study.report is not None:
            headings, rows, note = overview(study.content)
            dispensable = [heading for heading in headings if heading.startswith(("Param", "GPU", "Mem", "Wall", "p "))]
            self._table(headings, rows, text_columns=TEXT_COLUMNS, dispensable=dispensable)
            if note:
                self._out.print(note, markup=False)
        if study.content["hours"] is not None:
            self._say(study.content["hours"]["reason"])
        if study.elsewhere:
            self._out.print(
                f"{study.elsewhere} of {study.asked} combinations are being computed by other commands; the last of "
                "them completes the page.",
                markup=False,
            )
        self._out.print(f"Results: {study.results}", markup=False)
        if study.report is not None:
            self._out.print(f"Report: {study.report}", markup=False)

    def demo(self, demo: Demo) -> None:
        """Both methods' scores and the page."""
        rows = [[name, f"{dice:.3f}", "-" if hd95 is None else f"{hd95:.2f}"] for name, dice, hd95 in demo.rows]
        self._table(["method", "Dice", "HD95 (mm)"], rows, text_columns=1)
        self._out.print(demo.verdict, markup=False)
        self._out.print(f"Report: {demo.report}", markup=False)

    def report(self, page: Path) -> None:
        """Where the page lies."""
        self._out.print(f"Report: {page}", markup=False)

    def _table(
        self,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        text_columns: int,
        dispensable: Sequence[str] = (),
    ) -> None:
        """Print a table; where it is too wide, without dispensable columns, and then with cells folded, never cut."""
        shown = list(range(len(headings)))
        for name in dispensable:
            if self._width(headings, rows, shown) > self._out.width:
                shown.remove(headings.index(name))
        table = Table(box=None, pad_edge=False, header_style="bold")
        for index in shown:
            side = "left" if index < text_columns else "right"
            table.add_column(escape(headings[index]), justify=side, overflow="fold")
        for row in rows:
            table.add_row(*(escape(row[index]) for index in shown))
        self._out.print(table)

    @staticmethod
    def _width(headings: Sequence[str], rows: Sequence[Sequence[str]], shown: Sequence[int]) -> int:
        widest = [max(len(line[index]) for line in (headings, *rows)) for index in shown]
        return sum(widest) + len(widest)

    def _say(self, remark: str) -> None:
        if not self._quiet:
            self._out.print(remark, markup=False)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # there is none where the caller has closed it


def _words(value: Any) -> str:
    """A value of the plan as a person would write it; three numbers are sides, but those of channels."""
    if isinstance(value, dict):
        texts = {key: _words(item) for key, item in value.items() if item is not None}
        if "channels" in texts:
            texts["channels"] = ", ".join(map(str, value["channels"]))
        return ", ".join(f"{key} {text}" for key, text in texts.items())
    if isinstance(value, list):
        between = " x " if len(value) == 3 and all(isinstance(item, int | float) for item in value) else ", "
        return between.join(map(_words, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
