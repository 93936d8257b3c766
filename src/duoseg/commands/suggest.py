"""``duoseg suggest``: which scans to annotate next, and the model's own masks of them as drafts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from duoseg.commands.looking import look_at
from duoseg.commands.replacing import require_replaceable_json
from duoseg.commands.runs import load_model, require_file, require_plan_of, write_json
from duoseg.config import CONFIG, load_config
from duoseg.errors import InputError
from duoseg.files import StrPath, require_writable
from duoseg.pictures.html import Rows
from duoseg.planning.prepare import Prepared
from duoseg.planning.reading import read_channels
from duoseg.prediction.model import Model
from duoseg.prediction.result import Prediction
from duoseg.prediction.suggesting import Seen, choose, reason_for
from duoseg.progress import Progress
from duoseg.scans.cases import Case
from duoseg.scans.dataset import load_dataset
from duoseg.scans.formats import OutputFormat, mask_suffix, write_like, written_files
from duoseg.study.folds import person_texts
from duoseg.training.devices import DeviceName, use_threads


@dataclass(frozen=True)
class Suggestion:
    """A scan to annotate.

    Attributes:
        rank: 1 is the most useful.
        case: its name.
        images: its files.
        doubt: about the share of its mask that is wrong, as the model sees it; 1 where nothing was found.
        stands_for: the share of scans without annotation that are closer to it than to any that is annotated or
            suggested before it.
        distance: how unlike it is to the nearest scan that is annotated or suggested before it, in units of the usual
            distance between two scans.
        nearest: that scan; empty where there is none.
        reason: why it is suggested, in words.
        draft: the model's mask of it, where drafts were asked for.
    """

    rank: int
    case: str
    images: tuple[Path, ...]
    doubt: float
    stands_for: float
    distance: float
    nearest: str
    reason: str
    draft: Path | None


def suggest(
    run: StrPath,
    data: StrPath,
    *,
    n: int = 5,
    json: StrPath | None = None,
    drafts: StrPath | None = None,
    format: OutputFormat = "same",
    labelled: int | None = None,
    splits: StrPath | None = None,
    device: DeviceName = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Rows[Suggestion]:
    """Name the scans without annotation that it helps most to annotate next; see `duoseg.prediction.suggesting`.

    Args:
        run: run folder.
        data: data set folder or CSV table.
        n: how many to name.
        json: write them to this file.
        drafts: write the model's masks of them into this folder, to be corrected. A file that is already there is never
            replaced.
        format: of the drafts, as in `duoseg.predict`.
        labelled: the first so many training scans with a label count as annotated; as in the run where absent.
        splits: a file to take instead of the data set's ``splits.json``.
        device: where to compute.
        threads: CPU threads.
        progress: called with what is being done, how much of it is done and how much there is.

    Returns:
        The suggestions, the most useful first.

    Raises:
        InputError: the run or the data cannot be read, every scan is annotated, or a draft is already there.
    """
    if json is not None:
        require_replaceable_json(Path(json), what="suggestions", keys={"candidates", "suggestions"})
    use_threads(threads)
    model = load_model(run, device=device)
    dataset = load_dataset(data, splits=splits)
    require_plan_of(dataset, model.plan, run)
    if labelled is None:
        before = load_config(require_file(Path(run), CONFIG)).labelled
        there = sum(case.label is not None for case in dataset.train)
        labelled = None if before is None else min(before, there) or None
    split = dataset.split(labelled=labelled)
    candidates = {case.name: case for case in split.unlabelled}
    if not candidates:
        raise InputError(f"{data}: every training scan is annotated; there is none to suggest.")
    files = {} if drafts is None else {name: _draft(Path(drafts), case, format) for name, case in candidates.items()}
    for file in files.values():
        _require_free(file)
        require_writable(file)
    everybody = [*split.labelled, *split.unlabelled]
    seen = look_at(everybody, model, partial(_seen, person_texts(everybody)), progress, agreement=True)
    annotated = [seen[case.name] for case in split.labelled if case.name in seen]
    readable = [seen[name] for name in candidates if name in seen]
    if not readable:
        raise InputError(f"{data}: none of the scans without annotation could be read; `duoseg check` lists why.")
    chosen = choose(readable, annotated, count=n)
    suggestions = Rows(
        Suggestion(
            rank=rank,
            case=one.case,
            images=tuple(candidates[one.case].images),
            doubt=one.doubt,
            stands_for=one.stands_for,
            distance=one.distance,
            nearest=one.nearest,
            reason=reason_for(one),
            draft=files.get(one.case),
        )
        for rank, one in enumerate(chosen, start=1)
    )
    with ExitStack() as taken_back:
        for one in suggestions:
            if one.draft is not None:
                _require_free(one.draft)  # it may have come while scans were looked at
                taken_back.callback(_remove, one.draft)
                _write_draft(one.draft, candidates[one.case], model)
        if json is not None:
            content = {
                "run": str(run),
                "data": str(data),
                "annotated": [case.name for case in split.labelled],
                "candidates": len(candidates),
                "suggestions": [_plain(one) for one in suggestions],
            }
            write_json(Path(json), content)
        taken_back.pop_all()  # all of it is there
    return suggestions


def _seen(persons: Mapping[str, str], case: Case, _: Prepared, prediction: Prediction, features: np.ndarray) -> Seen:
    assert prediction.doubt is not None
    found = bool(prediction.mask.any())
    return Seen(case.name, prediction.doubt, features, found=found, person=persons[case.name])


def _draft(folder: Path, case: Case, format: OutputFormat) -> Path:
    return folder / f"{case.name}{mask_suffix(case.images[0], format)}"


def _require_free(draft: Path) -> None:
    for file in written_files(draft):
        if file.exists():
            raise InputError(
                f"{file}: is already there, and may hold corrections. Move it to the labels or away, or choose another "
                "--drafts folder."
            )


def _write_draft(file: Path, case: Case, model: Model) -> None:
    prediction = model.predict(*read_channels(case), name=str(case.images[0]), keep_probabilities=False)
    write_like(file, prediction.mask, like=case.images[0], segments=model.plan.classes)


def _remove(draft: Path) -> None:
    """Of a call that came to nothing: another one would take it for somebody's."""
    for file in written_files(draft):
        file.unlink(missing_ok=True)


def _plain(one: Suggestion) -> dict[str, object]:
    draft = None if one.draft is None else str(one.draft)
    return {**asdict(one), "images": [str(image) for image in one.images], "draft": draft}
