"""`result.json` and `results.csv`: what was written comes back, and damage is named."""

from __future__ import annotations

import csv
import json

import pytest

from duoseg.errors import InputError
from duoseg.files import MOST_TEXT_BYTES
from duoseg.study.grid import Combination
from duoseg.study.records import (
    COLUMNS,
    Cost,
    EntryRecord,
    Result,
    Row,
    computed_with,
    read_result,
    read_results,
    write_result,
    write_results,
)

COST = Cost(
    train_wall_s=None,
    train_cpu_s=None,
    predict_wall_s=1.0,
    predict_cpu_s=1.0,
    peak_mib=None,
    gpu_peak_mib=None,
    parameters=10,
    inference_parameters=5,
    steps=6,
    resumed=True,
)


def row(case: str, dice: float | None) -> Row:
    values = {"case": case, "person": case, "class": "a, b", "diagonal_mm": 0.1 + 0.2, "dice": dice, "jaccard": dice}
    values |= dict.fromkeys(("hd95_mm", "assd_mm"))
    return Row.model_validate({**values, "nsd": dice, "volume_ml": 1.0, "reference_volume_ml": 1 / 3})


def result(seed: int, fold: int | None = None) -> Result:
    return Result(
        combination=Combination.of("dtml", 4, seed, fold),
        entry=EntryRecord(method="dtml", steps=6, settings={}),
        config={"on": "test"},
        cost=COST,
        rows=(row("x", 1 / 3), row("y", None)),
    )


def test_a_result_is_read_as_it_was_written(tmp_path):
    for seed in (1, 0):
        write_result(tmp_path / f"dtml-4-seed{seed}", result(seed))
    assert read_results(tmp_path) == [result(0), result(1)]
    assert json.loads((tmp_path / "dtml-4-seed0" / "result.json").read_text())["rows"][0]["class"] == "a, b"
    assert read_result(tmp_path / "absent") is None


def test_the_table_gives_the_very_numbers_back_and_empty_cells_for_the_undefined(tmp_path):
    write_results(tmp_path / "results.csv", [result(0), result(1, fold=2)])
    with (tmp_path / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 4
    assert float(rows[0]["dice"]) == 1 / 3 and float(rows[0]["diagonal_mm"]) == 0.1 + 0.2
    assert (rows[1]["dice"], rows[1]["hd95_mm"], rows[0]["class"]) == ("", "", "a, b")
    assert [one["fold"] for one in rows] == ["", "", "2", "2"]


def test_several_codes_of_one_method_are_told_with_what_results_were_computed():
    def made(seed: int, code: str, threads: int = 1) -> Result:
        environment = {"duoseg": "1", "packages": {"torch": "2"}, "device": "cpu", "threads": threads}
        return result(seed).model_copy(update={"environment": {**environment, "method_code": code}})

    assert computed_with([made(0, "a"), made(1, "a"), result(2)]) == ["duoseg 1, torch 2, cpu, 1 thread"]
    assert computed_with([made(0, "a"), made(1, "b", threads=2)]) == [
        *("duoseg 1, torch 2, cpu, 1 thread", "duoseg 1, torch 2, cpu, 2 threads", "2 codes of dtml")
    ]
    assert "2 codes of dtml" in computed_with([made(0, "a+b"), made(1, "a+b")])  # each went on with other code


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text[: len(text) // 2], "is not valid JSON"),
        (lambda text: text.replace('"dice": 0.3', '"dice": 7.3'), "rows.0.dice"),
        (lambda text: text.replace('"dice"', '"dicy"', 1), "is no result"),
        (lambda text: text.replace("dtml-4-seed0", "dtml-4-seed1"), "is the result of dtml-4-seed1"),
    ],
)
def test_a_damaged_result_is_refused_by_name(tmp_path, damage, told):
    folder = tmp_path / "dtml-4-seed0"
    write_result(folder, result(0))
    path = folder / "result.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError) as refusal:
        read_result(folder)
    assert str(path) in str(refusal.value) and told in str(refusal.value)


def test_a_result_of_very_many_scans_and_classes_is_read_again(tmp_path):
    folder = tmp_path / "dtml-4-seed0"
    write_result(folder, result(0))
    with (folder / "result.json").open("a") as file:
        file.write(" " * MOST_TEXT_BYTES)  # as long as hundreds of thousands of rows, and read in less time
    assert read_result(folder) == result(0)
