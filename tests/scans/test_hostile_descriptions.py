"""Descriptions, settings and lists that are huge, absurd or name what they should not: one message, nothing else."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from duoseg.commands.runs import build_method, load_plan
from duoseg.config import Config, load_config
from duoseg.errors import InputError
from duoseg.files import MOST_TEXT_BYTES, read_json, read_text, read_toml
from duoseg.scans.dataset import load_dataset
from duoseg.scans.description import read_description
from duoseg.scans.names import name_fault

PLAN = {
    "channels": ["MRI"],
    "classes": {"organ": 1},
    "spacing": [1, 1, 1],
    "patch": [16, 16, 16],
    "normalisation": [{"channel": "MRI", "scheme": "zscore"}],
    "network": {"channels": [4, 8], "strides": [[2, 2, 2]]},
    "steps": 10,
}


def read_dataset_json(path: Path) -> object:
    return read_description(path.parent)


def read_splits(path: Path) -> object:
    (path.parent / "images").mkdir(exist_ok=True)
    (path.parent / "images/a.nii").write_bytes(b"never opened")
    return load_dataset(path.parent)


READERS: dict[str, Callable[[Path], object]] = {
    "dataset.json": read_dataset_json,
    "splits.json": read_splits,
    "plan.json": load_plan,
    "config.toml": load_config,
    "scans.csv": load_dataset,
}
every_reader = pytest.mark.parametrize("name", READERS)
every_json = pytest.mark.parametrize("name", [name for name in READERS if name.endswith("json")])


def refused(tmp_path: Path, name: str, content: str | bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=rf"{name}.*{reason}") as raised:
        READERS[name](path)
    assert len(str(raised.value)) < 1500 + len(str(path)) * 2


@every_reader
def test_a_gigantic_file_is_told_and_not_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as stream:
        stream.truncate(2**40)  # holes: no disk is used
    with pytest.raises(InputError, match=rf"{name}: is larger than 64 MiB"):
        READERS[name](path)


@every_reader
def test_a_pipe_or_a_folder_in_place_of_a_file_never_blocks(tmp_path: Path, name: str) -> None:
    for place in (os.mkfifo, os.mkdir):
        place(tmp_path / name)
        try:
            READERS[name](tmp_path / name)
        except InputError as fault:
            assert name in str(fault) or "not a data set" in str(fault) or "CSV table" in str(fault)
        (os.rmdir if place is os.mkdir else os.unlink)(tmp_path / name)


@every_reader
@pytest.mark.parametrize("content", [b"\xff\xfe{\x00}\x00", b'{"labels": "\xe9"}', b"\x00\xff" * 50])
def test_other_encodings_than_utf8_are_told(tmp_path: Path, name: str, content: bytes) -> None:
    refused(tmp_path, name, content, "is not text in UTF-8")


@every_json
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"steps": 1e400}', "1e400 is no finite number"),
        ('{"steps": -1e999999999}', "no finite number"),
        ('{"steps": NaN}', "NaN is no finite number"),
        ('{"steps": -Infinity}', "-Infinity is no finite number"),
        ('{"steps": ' + "9" * 5000 + "}", "beyond 64 bits"),
        ('{"steps": 18446744073709551616}', "beyond 64 bits"),
        ('{"steps": 1', "is not valid JSON"),
        ("", "is not valid JSON"),
        ("\x00", "is not valid JSON"),
    ],
)
def test_absurd_json_is_told(tmp_path: Path, name: str, content: str, reason: str) -> None:
    refused(tmp_path, name, content, reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a = " + "[" * 200_000, "nested too deeply"),
        ("steps = " + "9" * 5000, "is not valid TOML"),
        ("steps = 9223372036854775808", "beyond 64 bits"),
        ("plan = {spacing = [nan, 1, 1]}", "nan is no finite number"),
        ("plan = {spacing = [1e400, 1, 1]}", "1e400 is no finite number"),
        ("x = -inf", "-inf is no finite number"),
        (f"{'k' * 1_000_000} = 1", "unknown setting"),
        ("\n".join(f"key_{number} = 1" for number in range(5000)), "and 4990 more"),
    ],
)
def test_absurd_toml_is_told(tmp_path: Path, content: str, reason: str) -> None:
    refused(tmp_path, "config.toml", content, reason)


def test_the_shared_reader_keeps_text_and_drops_the_mark_that_spreadsheets_write(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes('\ufeff{"a": [1.5, -3, "é"]}\r\n'.encode())
    assert read_text(path) == '{"a": [1.5, -3, "é"]}\r\n'
    assert read_json(path) == {"a": [1.5, -3, "é"]}
    path.write_text("a = [1.5, -3]\nb = true\n")
    assert read_toml(path) == {"a": [1.5, -3], "b": True}
    with pytest.raises(InputError, match="is larger than 10 bytes"):
        read_text(path, limit=10)
    assert MOST_TEXT_BYTES == 64 * 2**20


@pytest.mark.parametrize("name", ["absent", "nul\0in it"])
def test_what_is_not_there_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be"):
        read_text(tmp_path / name)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"organ": 2**31}, "whole number from 0 to 2147483647"),
        ({"organ": -1}, "whole number"),
        ({"organ": 1.5}, "whole number"),
        ({"organ": "x" * 10_000}, "whole number"),
        ({"organ": {"a": 1}}, "whole number"),
        ({"": 1}, "a name has 1 to 100 characters"),
        ({"o" * 300: 1}, "a name has 1 to 100 characters"),
        ({"or\x00gan": 1}, "control character"),
        ({"or\x1b[2Jgan": 1}, "control character"),
        ({f"r{number}": [1, 2] for number in range(10_000)}, "and 9990 more"),
        ({f"c{number}": number for number in range(1, 5000)}, "names 4999 classes, and at most 127 are supported"),
    ],
)
def test_absurd_labels_are_told(tmp_path: Path, labels: dict, reason: str) -> None:
    refused(tmp_path, "dataset.json", json.dumps({"labels": {"background": 0, **labels}}), reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"channel_names": {str(number): "x" for number in range(1, 100)}}, "numbered"),
        ({"channel_names": {str(number): "x" for number in range(101)}}, "names 101 channels; at most 100"),
        ({"modality": {str(number): "x" for number in range(100_000)}}, "names 100000 channels"),
        ({"channel_names": {"0": "c" * 1000}}, "1 to 100 characters"),
        ({"channel_names": {"0": "a\nb"}}, "control character"),
        ({"channel_names": ["x"] * 100_000}, "must be an object"),
        ({"labels": "x" * 100_000}, "must be an object"),
        ({"file_ending": ["x"] * 100_000}, "must be text"),
    ],
)
def test_absurd_descriptions_are_told(tmp_path: Path, content: dict, reason: str) -> None:
    refused(tmp_path, "dataset.json", json.dumps(content), reason)


def test_many_channels_that_most_cases_lack_are_told_in_no_time(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(100):
        (tmp_path / f"images/c{number}_0000.nii").write_bytes(b"never opened")
    names = {str(number): f"channel {number}" for number in range(100)}
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": names}))
    before = time.monotonic()
    found = load_dataset(tmp_path, tolerant=True)
    assert time.monotonic() - before < 5
    assert len(found.left_out) == 100 and "channel 99 of 'c0' is missing" in {one.message for one in found.problems}


def test_a_number_that_no_channel_has_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a_0000", "b_0000", "c_2019"):
        (tmp_path / f"images/{name}.nii").write_bytes(b"never opened")
    with pytest.raises(InputError, match=r"c_2019\.nii: by its name it is channel 2019 .* at most 100 channels"):
        load_dataset(tmp_path, tolerant=True)


def test_class_names_with_separators_are_names_and_no_paths(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "../../left/right": 1}}))
    assert read_description(tmp_path).classes == {"../../left/right": 1}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"train": ["a", "../../x", "\x00"]}, "not on disk"),
        ({"train": [f"n{number}" for number in range(100_000)]}, "and 99989 more|and 99990 more"),
        ({"train": ["a"] * 100_000}, "more than once"),
        ({"train": {"a": 1}}, "must be a list"),
        ({"subjects": {"a": ["x"]}}, "must be an object that gives each case its person"),
        ({"subjects": {"a": True}}, "must be an object that gives each case its person"),
    ],
)
def test_absurd_splits_are_told(tmp_path: Path, content: dict, reason: str) -> None:
    refused(tmp_path, "splits.json", json.dumps(content), reason)


BAD_NAMES = {
    "../escaped": "path separator",
    "a/b": "path separator",
    "a\\b": "path separator",
    "..": "begins with a dot",
    ".hidden": "begins with a dot",
    "n" * 300: "longer than 180 bytes",
    "é" * 100: "longer than 180 bytes",
    "CON": "device on Windows",
    "nul.scan": "device on Windows",
    "lpt1": "device on Windows",
}


@pytest.mark.parametrize(("name", "reason"), BAD_NAMES.items(), ids=range(len(BAD_NAMES)))
def test_case_names_that_cannot_be_those_of_files_are_refused_with_their_row(
    tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "a.nii").write_bytes(b"never opened")
    refused(tmp_path, "scans.csv", f"image,case\na.nii,{name}\n", f"row 2: the case name .* {reason}")


@pytest.mark.parametrize("cell", ["=HYPERLINK(1)", "+1", "-1+2", "@SUM(A1)"])
def test_case_names_that_spreadsheets_would_run_are_refused(tmp_path: Path, cell: str) -> None:
    (tmp_path / "a.nii").write_bytes(b"never opened")
    refused(tmp_path, "scans.csv", f"image,case\na.nii,{cell}\n", "as formulas of spreadsheets do")


@pytest.mark.parametrize("column", ["image", "label", "split", "subject", "case"])
@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x07"])
def test_control_characters_in_any_cell_are_refused(tmp_path: Path, column: str, character: str) -> None:
    cells = {"image": "a.nii", "label": "", "split": "", "subject": "", "case": ""}
    cells[column] = f"a{character}.nii"
    text = f"{','.join(cells)}\n{','.join(cells.values())}\n"
    refused(tmp_path, "scans.csv", text, f"row 2: the column '{column}' holds a control character|is not a CSV table")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("image\n" + "x" * 200_000, "is not a CSV table"),
        ("image," + ",".join(f"odd{number}" for number in range(10_000)) + "\na.nii\n", "and 9990 more"),
        ("image,split\na.nii," + "s" * 10_000 + "\n", "the split 's+...* is not known"),
        ('image\n"a.nii', "does not exist"),
        ("image,label,split,Label\na.nii,,,\n", "names 'label' more than once"),
    ],
)
def test_absurd_tables_are_told(tmp_path: Path, text: str, reason: str) -> None:
    refused(tmp_path, "scans.csv", text, reason)


def test_names_of_files_that_a_mask_could_not_have_are_told_for_every_layout(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    long, other = "n" * 200, "aux"
    for name in (long, other, "fine"):
        (folder / f"{name}.nii").write_bytes(b"never opened")
    dataset = load_dataset(tmp_path, tolerant=True)
    told = {problem.file.name: problem.message for problem in dataset.problems if problem.severity == "error"}
    assert set(told) == {f"{long}.nii", "aux.nii"}
    with pytest.raises(InputError, match="case name"):
        load_dataset(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes on POSIX alone")
def test_names_of_files_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    try:
        (tmp_path / "images" / os.fsdecode(b"caf\xe9.nii")).write_bytes(b"never opened")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    with pytest.raises(InputError, match="bytes that are no text"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("name", ["a", "Ann-1", "scan 3 (late)", "患者_01", "nul_1", "console", "a.b.c", "x" * 180])
def test_ordinary_names_are_fine(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"patch": [2**20] * 3}, "patches .* GiB of memory in each step"),
        ({"patch": [2**40] * 3}, "patches .* GiB of memory in each step"),
        ({"batch": {"labelled": 10**12}}, "patches .* GiB of memory in each step"),
        ({"network": {"channels": [4, 2**16]}}, "network takes .* GiB of memory for its weights"),
        ({"network": {"channels": [4, 10**12]}}, "network"),
        ({"network": {"channels": [10**12, 4]}}, "network"),
        ({"steps": 10**12}, "steps"),
    ],
)
def test_a_plan_beyond_any_machine_is_refused_before_anything_is_allocated(
    tmp_path: Path, changes: dict, reason: str
) -> None:
    network = {**PLAN["network"], **changes.pop("network", {})}
    (tmp_path / "plan.json").write_text(json.dumps({**PLAN, "network": network, **changes}))
    with pytest.raises(InputError, match=reason):
        build_method(Config(method="supervised"), load_plan(tmp_path / "plan.json"))


@pytest.mark.parametrize(
    "changes",
    [
        {"spacing": [0, 1, 1]},
        {"patch": [-1, 16, 16]},
        {"steps": 0},
        {"extra": 1},
        {"classes": {"organ": "__import__('os')"}},
        {f"key{number}": 1 for number in range(10_000)},
    ],
)
def test_a_plan_with_impossible_values_is_refused_in_few_words(tmp_path: Path, changes: dict) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({**PLAN, **changes}))
    with pytest.raises(InputError, match=r"plan\.json: ") as raised:
        load_plan(tmp_path / "plan.json")
    assert len(str(raised.value)) < 10_000
