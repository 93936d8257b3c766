"""What a finished combination leaves: ``result.json``, and all of them as ``results.csv``."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from duoseg.errors import InputError
from duoseg.files import MOST_SCORES_BYTES, atomic_path, read_json, write_text
from duoseg.methods.registry import CODES_APART
from duoseg.scans.texts import count_text
from duoseg.scores.policy import METRICS
from duoseg.study.grid import Combination

RESULT = "result.json"
RESULTS = "results.csv"
CODES = " codes of "
"""In the words of `computed_with`: several codes of one."""

COLUMNS = ("case", "person", "class", "method", "labelled", "seed", "fold", "diagonal_mm", *METRICS)
"""Of ``results.csv``."""

Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Row(_Record):
    """The scores of one class in one scored scan; None where undefined.

    Attributes:
        case: name of the scan.
        person: whose it is: equal for the scans of one person, and for no others.
        class_name: in files, ``class``.
        diagonal_mm: of the scan, between its outermost voxels' centres.
    """

    case: str
    person: str
    class_name: Annotated[str, Field(alias="class")]
    diagonal_mm: Size
    dice: Share | None
    jaccard: Share | None
    hd95_mm: Size | None
    assd_mm: Size | None
    nsd: Share | None
    volume_ml: Size | None
    reference_volume_ml: Size | None


class Cost(_Record):
    """What a combination took; None where unknown.

    Attributes:
        train_wall_s: wall time of its training, over all attempts.
        train_cpu_s: processor time of the same.
        predict_wall_s: wall time of predicting the scored scans.
        predict_cpu_s: processor time of the same.
        peak_mib: the most memory that its process held while it trained.
        gpu_peak_mib: the most memory of a GPU that its tensors took while it trained.
        parameters: of all networks that were trained.
        inference_parameters: of those that prediction needs.
        steps: training steps.
        resumed: whether the training was interrupted.
    """

    train_wall_s: Size | None
    train_cpu_s: Size | None
    predict_wall_s: Size | None
    predict_cpu_s: Size | None
    peak_mib: Size | None
    gpu_peak_mib: Size | None
    parameters: int
    inference_parameters: int | None
    steps: int
    resumed: bool | None


class EntryRecord(_Record):
    """What the combination's entry stands for.

    Attributes:
        method: name of the method.
        steps: training steps.
        settings: all settings of the method, defaults too.
    """

    method: str
    steps: Annotated[int, Field(ge=1)]
    settings: dict[str, Any]


class Result(_Record):
    """A finished combination.

    Attributes:
        combination: which one.
        entry: what it compares.
        config: what was asked for, to be compared with what is asked for later.
        environment: versions, machine, device and threads, of the last attempt; None where unknown.
        cost: what it took.
        rows: a row a scored scan and class, in the order of the scans.
    """

    combination: Combination
    entry: EntryRecord
    config: dict[str, Any]
    environment: dict[str, Any] | None = None
    cost: Cost
    rows: tuple[Row, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes, in order."""
        return tuple(dict.fromkeys(row.class_name for row in self.rows))

    @property
    def computed_with(self) -> str:
        """The part of its environment on which last digits depend, in words; empty where it is unknown."""
        if self.environment is None:
            return ""
        packages, device = self.environment.get("packages", {}), self.environment.get("device")
        threads = count_text(self.environment.get("threads", 0), "thread")
        return f"duoseg {self.environment.get('duoseg')}, torch {packages.get('torch')}, {device}, {threads}"

    def mean_dice(self) -> float | None:
        """Mean over all rows; None where there are none."""
        values = [row.dice for row in self.rows if row.dice is not None]
        return sum(values) / len(values) if values else None


def computed_with(results: Iterable[Result]) -> list[str]:
    """With what results were computed, in words, each once; and of which methods several codes were used."""
    words: set[str] = set()
    codes: dict[str, set[str]] = {}
    for result in results:
        words.add(result.computed_with)
        if code := (result.environment or {}).get("method_code"):
            codes.setdefault(result.entry.method, set()).update(code.split(CODES_APART))
    mixed = [f"{len(own)}{CODES}{method}" for method, own in sorted(codes.items()) if len(own) > 1]
    return [*sorted(words - {""}), *mixed]


def with_persons(result: Result, persons: Mapping[str, str]) -> Result:
    """The same with the persons of a data set as it is now: who a scan is of changes no score.

    Args:
        result: of a combination.
        persons: of each scored case.
    """
    rows = tuple(row.model_copy(update={"person": persons.get(row.case, row.person)}) for row in result.rows)
    return result.model_copy(update={"rows": rows})


def write_result(folder: Path, result: Result) -> None:
    """Write a combination's ``result.json``, which makes it finished."""
    values = result.model_dump(mode="json", by_alias=True)
    write_text(folder / RESULT, json.dumps(values, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_result(folder: Path) -> Result | None:
    """A combination's result; None where it is not finished.

    Raises:
        InputError: the file is damaged, or of another combination than its folder is called after.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        result = Result.model_validate(read_json(path, limit=MOST_SCORES_BYTES))
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{path}: is no result of a combination ({where}: {first['msg'].lower()}); remove it, and the combination "
            "is scored anew."
        ) from fault
    if result.combination.name != folder.name:
        raise InputError(
            f"{path}: is the result of {result.combination.name}: give the folder that name again, or remove it."
        )
    return result


def read_results(study: Path) -> list[Result]:
    """All finished combinations of a study's folder, by name of their folders.

    Raises:
        InputError: one of their files is damaged.
    """
    found = (read_result(path.parent) for path in sorted(study.glob(f"*/{RESULT}")))
    return [result for result in found if result is not None]


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write all rows as ``results.csv``, in the order given, atomically.

    Numbers are written so that reading gives the same ones back; an undefined value is an empty cell.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for result in results:
            about = result.combination.model_dump(exclude={"name"})
            for row in result.rows:
                values = {**about, **row.model_dump(by_alias=True)}
                writer.writerow([_cell(values[column]) for column in COLUMNS])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)
