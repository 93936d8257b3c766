"""Facts about files are kept as long as the files do not change, and never believed beyond that."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import planning_cases as make
import pytest

from duoseg.errors import InputError
from duoseg.planning import cache, fingerprint, known
from duoseg.planning.cache import prepare_cases
from duoseg.planning.fingerprint import take_fingerprint
from duoseg.planning.known import KNOWN, Known


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are taken as settled at once."""
    monkeypatch.setattr(known, "SETTLED_SECONDS", -1.0)


def length_of(path: Path, folder: Path, asked: list[Path]) -> int:
    def find() -> int:
        asked.append(path)
        return len(path.read_bytes())

    with Known(folder) as facts:
        return facts.recall("length", [path], find, parse=int)


@pytest.mark.usefixtures("settled")
def test_a_fact_is_found_once_and_again_when_its_file_has_changed(tmp_path: Path) -> None:
    file, asked = tmp_path / "a", []
    file.write_text("four")
    assert [length_of(file, tmp_path, asked) for _ in range(3)] == [4, 4, 4] and len(asked) == 1
    file.write_text("five!")
    assert [length_of(file, tmp_path, asked) for _ in range(2)] == [5, 5] and len(asked) == 2


@pytest.mark.usefixtures("settled")
def test_a_file_that_is_replaced_by_an_older_one_of_equal_size_has_changed(tmp_path: Path) -> None:
    file, other, asked = tmp_path / "a", tmp_path / "b", []
    file.write_text("four")
    other.write_text("five")
    for path in (file, other):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    length_of(file, tmp_path, asked)
    other.replace(file)
    length_of(file, tmp_path, asked)
    assert len(asked) == 2


@pytest.mark.usefixtures("settled")
def test_nothing_is_lost_where_many_keep_what_they_found_at_the_same_time(tmp_path: Path) -> None:
    files = [tmp_path / f"file {number}" for number in range(12)]
    for file in files:
        file.write_text("four")

    def keep(file: Path) -> int:
        return length_of(file, tmp_path, [])

    with ThreadPoolExecutor(len(files)) as pool:
        assert list(pool.map(keep, files)) == [4] * len(files)
    assert len(json.loads((tmp_path / KNOWN).read_text())) == len(files)
    assert {path.name for path in tmp_path.iterdir()} == {KNOWN, *(file.name for file in files)}


def test_what_has_just_changed_is_not_kept(tmp_path: Path) -> None:
    file, asked = tmp_path / "a", []
    file.write_text("four")
    assert [length_of(file, tmp_path, asked) for _ in range(2)] == [4, 4]
    assert len(asked) == 2 and not (tmp_path / KNOWN).exists()


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("content", ["", "[]", "{", '{"length": 3}', '{"length x 1": [1, 2, 3]}'])
def test_a_list_that_is_none_is_written_anew(tmp_path: Path, content: str) -> None:
    file, asked = tmp_path / "a", []
    file.write_text("four")
    (tmp_path / KNOWN).write_text(content)
    assert [length_of(file, tmp_path, asked) for _ in range(2)] == [4, 4] and len(asked) == 1


@pytest.mark.usefixtures("settled")
def test_a_kept_fact_of_another_kind_is_found_anew(tmp_path: Path) -> None:
    file, asked = tmp_path / "a", []
    file.write_text("four")
    with Known(tmp_path) as facts:
        assert facts.recall("length", [file], lambda: "many", parse=str) == "many"
    assert length_of(file, tmp_path, asked) == 4 and len(asked) == 1


@pytest.mark.usefixtures("settled")
def test_a_file_is_known_by_whatever_path_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scan").write_text("content")
    for path, count in ((tmp_path / "scan", 1), (Path("scan"), 1)):
        with Known(tmp_path / "cache", make=True) as facts:
            facts.recall("sha256", [path], lambda: pytest.fail("read again") if facts._facts else "0", parse=str)
        assert len(json.loads((tmp_path / "cache" / "known.json").read_text())) == count


def test_facts_that_may_not_be_read_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refused)
    with Known(tmp_path) as facts:
        assert facts.recall("sha256", [], lambda: "0", parse=str) == "0"


@pytest.mark.usefixtures("settled")
def test_two_processes_keep_what_both_found(tmp_path: Path) -> None:
    first, second, asked = tmp_path / "a", tmp_path / "b", []
    for path in (first, second):
        path.write_text("four")
    with Known(tmp_path) as facts:
        facts.recall("length", [first], lambda: 4, parse=int)
        length_of(second, tmp_path, asked)
    length_of(first, tmp_path, asked)
    length_of(second, tmp_path, asked)
    assert asked == [second]


@pytest.mark.usefixtures("settled")
def test_a_second_start_reads_no_scan_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = [make.write_case(tmp_path / "data", f"c{index}", seed=index, labelled=index == 0) for index in range(3)]
    data, folder = make.dataset(written), tmp_path / "cache"
    split, plan = data.split(labelled=1), make.plan()
    with Known(folder, make=True) as facts:
        measured = take_fingerprint(split, data, known=facts)
    cases = [*split.labelled, *split.unlabelled]
    prepared = prepare_cases(cases, plan, folder)
    prepare_cases(cases, plan, folder)  # notes that what was just written is intact
    read = []
    for module in (cache, fingerprint):
        reader = module.read_channels
        monkeypatch.setattr(module, "read_channels", lambda case, reader=reader: read.append(case.name) or reader(case))
    for name in ("hash_source", "is_intact"):
        monkeypatch.setattr(cache, name, lambda path: pytest.fail(f"{path} was read"))
    with Known(folder) as facts:
        assert take_fingerprint(split, data, known=facts) == measured
    assert read == ["c0"]  # whose label is measured, too
    assert prepare_cases(cases, plan, folder) == prepared
    assert read == ["c0"]


@pytest.mark.usefixtures("settled")
def test_a_damaged_prepared_file_is_made_again_however_well_it_was_known(tmp_path: Path) -> None:
    case = make.write_case(tmp_path / "data", "c", seed=0, labelled=True)
    folder = tmp_path / "cache"
    for _ in range(2):
        (prepared,) = prepare_cases([case], make.plan(), folder)
    content = bytearray(prepared.image_path.read_bytes())
    whole = bytes(content)
    content[-20] ^= 1
    prepared.image_path.write_bytes(content)
    prepare_cases([case], make.plan(), folder)
    assert prepared.image_path.read_bytes() == whole


@pytest.mark.usefixtures("settled")
def test_a_scan_that_has_gone_is_missed_although_it_is_known(tmp_path: Path) -> None:
    case = make.write_case(tmp_path / "data", "c", seed=0, labelled=False)
    prepare_cases([case], make.plan(), tmp_path / "cache")
    case.images[0].unlink()
    with pytest.raises(InputError, match=r"c_0000\.nii\.gz"):
        prepare_cases([case], make.plan(), tmp_path / "cache")
