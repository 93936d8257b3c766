"""A data set: its cases, what they show, and which of them may be looked at for what."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from duoseg.errors import InputError
from duoseg.files import UNFINISHED, StrPath, readable
from duoseg.scans.cases import Case, LeftOut, Problem
from duoseg.scans.description import read_description
from duoseg.scans.formats import can_read
from duoseg.scans.layouts import Found, find_in_folders
from duoseg.scans.splits import apply_splits
from duoseg.scans.strays import misnamed_folders, stray_text
from duoseg.scans.table import find_in_table
from duoseg.scans.texts import count_text

__all__ = ["Case", "Dataset", "Problem", "Split", "load_dataset"]


@dataclass(frozen=True)
class Split:
    """The training cases of one experiment.

    Attributes:
        labelled: the cases whose label files may be opened.
        unlabelled: all others; their ``label`` is None, whatever lies on disk.
    """

    labelled: tuple[Case, ...]
    unlabelled: tuple[Case, ...]

    def __repr__(self) -> str:
        """Return the numbers of cases."""
        return f"Split({len(self.labelled)} labelled, {len(self.unlabelled)} unlabelled)"


@dataclass(frozen=True)
class Dataset:
    """All cases of a data set.

    Attributes:
        root: the folder that holds it (of a table: the table's folder).
        channels: channel names; every case has one image per channel.
        classes: foreground class name -> value in the label files, by increasing value; empty where no
            ``dataset.json`` names them, since then only the labels themselves can tell.
        ignore_value: the value of voxels that nobody annotated, if there is one.
        train: training cases in the order of ``splits.json``, else by name; those of ``imagesUn`` at the end.
        test: test cases in the order of ``splits.json``, else by name.
        holdout: names of training cases that are set aside for making choices.
        problems: what is wrong with the layout; no errors among them unless loaded with ``tolerant=True``.
        left_out: incomplete cases, in neither ``train`` nor ``test``; none unless loaded with ``tolerant=True``.
        table: the CSV table that lists them, if there is one.
    """

    root: Path
    channels: tuple[str, ...]
    classes: dict[str, int]
    ignore_value: int | None
    train: tuple[Case, ...]
    test: tuple[Case, ...]
    holdout: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    table: Path | None = None

    @property
    def place(self) -> Path:
        """What messages call it: its table, or its folder."""
        return self.table or self.root

    def __repr__(self) -> str:
        """Return the folder and the numbers of cases and classes."""
        counts = (
            f"{len(self.train)} training, {len(self.test)} test, {count_text(len(self.classes), 'class', 'classes')}"
        )
        return f"Dataset({self.root}: {counts})"

    def split(self, *, labelled: int | None, without: Collection[str] = ()) -> Split:
        """Return the training cases, of which the first ``labelled`` with a label keep it.

        Args:
            labelled: how many labels to use; None for all there are.
            without: names of cases to leave out altogether, such as ``holdout``.

        Raises:
            InputError: there are fewer labels than asked for, or less than one is asked for.
        """
        cases = [case for case in self.train if case.name not in without]
        with_label = [case for case in cases if case.label is not None]
        if labelled is not None and not 1 <= labelled <= len(with_label):
            raise InputError(self._too_few_labels(labelled, len(with_label), len(cases)))
        chosen = {case.name for case in with_label[:labelled]}
        return Split(
            labelled=tuple(case for case in cases if case.name in chosen),
            unlabelled=tuple(case.without_label() for case in cases if case.name not in chosen),
        )

    def _too_few_labels(self, asked: int, present: int, cases: int) -> str:
        stray = stray_text(self.problems)
        if not present:
            return f"{self.place}: no training scan has a label; {stray or 'annotate one first'}."
        number = count_text(asked, "labelled scan was", "labelled scans were")
        return (
            f"{self.place}: {number} asked for, but {present} of its {cases} training scans "
            f"{'has' if present == 1 else 'have'} a label; ask for 1 to {present}." + (f" {stray}." if stray else "")
        )


def load_dataset(path: StrPath, *, tolerant: bool = False, splits: StrPath | None = None) -> Dataset:
    """Find the cases of a data set, without opening any image or label file.

    It is an nnU-Net raw folder, a plain folder with ``images`` and ``labels``, or a CSV table.

    Args:
        path: the folder or the table.
        tolerant: whether to leave out cases with errors and record them in ``problems`` instead of raising;
            for checking, which tells all errors at once.
        splits: a file to take instead of the ``splits.json`` beside the data.

    Raises:
        InputError: nothing like a data set is there, its JSON or CSV is malformed, or (unless ``tolerant``) a
            case lacks a channel, or the splits name absent cases or put a case or person on two sides.
    """
    with readable(Path(path)):
        root, found = _find(Path(path))
    table = Path(path) if Path(path).is_file() else None
    sides = apply_splits(
        root,
        found,
        table=table,
        splits=Path(splits) if splits is not None else None,
    )
    description = read_description(root)
    of_cases = (problem for one in sides.left_out for problem in one.problems)
    problems = (*description.problems, *of_cases, *found.problems, *sides.problems)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors and not tolerant:
        more = f" (and {len(errors) - 1} more; `duoseg check` lists all)" if len(errors) > 1 else ""
        raise InputError(f"{errors[0]}{more}")
    if not (sides.train or sides.test or errors):
        ending = f" and end in '{description.file_ending}', as dataset.json says" if description.file_ending else ""
        unread = [str(problem) for problem in problems if problem.severity == "warning"][:1]
        raise InputError(
            f"{path}: holds no images that can be read{ending}; see the data set layouts in the documentation."
            + "".join(f" {problem}" for problem in unread)
        )
    return Dataset(
        root=root,
        channels=found.channels,
        classes=description.classes,
        ignore_value=description.ignore_value,
        train=tuple(sides.train),
        test=tuple(sides.test),
        holdout=sides.holdout,
        problems=problems,
        left_out=sides.left_out,
        table=table,
    )


def _find(path: Path) -> tuple[Path, Found]:
    if path.is_file() and path.suffix.lower() == ".csv":
        return path.parent, find_in_table(path, read_description(path.parent))
    if path.is_file():
        raise InputError(f"{path}: is no CSV table; save a spreadsheet as CSV in UTF-8, or give the data set's folder.")
    if not path.is_dir():
        raise InputError(f"{path}: there is no such data set.")
    if (path / UNFINISHED).is_dir():
        raise InputError(
            f"{path}: is a public set that is unfinished; run `duoseg fetch` again, which goes on with it."
        )
    found = find_in_folders(path, read_description(path))
    if found is not None:
        return path, found
    tables = sorted(path.glob("*.csv"))
    if len(tables) == 1:
        return path, find_in_table(tables[0], read_description(path))
    raise InputError(
        f"{path}: is not a data set: it has no folder imagesTr (nnU-Net's layout) or images (plain), and "
        f"{'no' if not tables else 'more than one'} CSV table; {_folder_hint(path)}"
        "see the data set layouts in the documentation."
    )


def _folder_hint(path: Path) -> str:
    slips = [f"call {name} {meant}" for name, meant in misnamed_folders(path)]
    if not slips and any(folder.is_dir() and can_read(folder) for folder in path.iterdir()):
        slips = ["put the DICOM series that it holds into images, or list them in a CSV table"]
    return f"{', '.join(slips)}, or " if slips else ""
