"""`duoseg suggest`: scans to annotate, in order, with drafts that can be corrected."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

import duoseg
from duoseg.errors import InputError

QUIETLY = {"device": "cpu", "threads": 1}


@pytest.fixture
def data(phantoms, tmp_path):
    return shutil.copytree(phantoms, tmp_path / "data")


def without_annotation(trained) -> set[str]:
    return set(json.loads((trained / "cases.json").read_text())["unlabelled"])


def test_every_scan_without_annotation_has_its_place_and_a_reason(run, trained, data, tmp_path):
    file = tmp_path / "suggestions.json"
    status, out, err = run("suggest", trained, data, "-n", "3", "--json", file, "--device", "cpu", "--threads", "1")
    assert status == 0, err
    found = json.loads(file.read_text())
    assert found["candidates"] == len(without_annotation(trained))
    assert [one["rank"] for one in found["suggestions"]] == [1, 2, 3]
    assert {one["case"] for one in found["suggestions"]} < without_annotation(trained)
    for one in found["suggestions"]:
        assert 0 < one["doubt"] <= 1 and one["reason"] in " ".join(out.split())
        assert one["nearest"] in {*found["annotated"], *(other["case"] for other in found["suggestions"])}
        assert one["draft"] is None


def test_drafts_are_the_models_masks_and_are_never_replaced(trained, data, tmp_path):
    drafts = tmp_path / "drafts"
    suggestions = duoseg.suggest(trained, data, n=2, drafts=drafts, **QUIETLY)
    assert {one.draft for one in suggestions} == set(drafts.iterdir())
    images = [one.images[0] for one in suggestions]
    duoseg.predict(trained, images, tmp_path / "masks", **QUIETLY)
    for one in suggestions:
        draft, image = nib.load(one.draft), nib.load(one.images[0])
        np.testing.assert_array_equal(draft.affine, image.affine)
        np.testing.assert_array_equal(draft.dataobj, nib.load(tmp_path / "masks" / one.draft.name).dataobj)
    suggestions[0].draft.write_text("corrected")
    with pytest.raises(InputError, match="may hold corrections"):
        duoseg.suggest(trained, data, n=2, drafts=drafts, **QUIETLY)
    assert suggestions[0].draft.read_text() == "corrected"


def test_what_a_stopped_call_had_written_does_not_stand_in_the_way(trained, data, tmp_path, monkeypatch):
    from duoseg.commands import suggest as command

    write, written = command.write_like, []

    def stopped(file, *arguments, **options):
        if written:
            raise KeyboardInterrupt
        written.append(file)
        return write(file, *arguments, **options)

    asked = {"n": 2, "drafts": tmp_path / "drafts", "json": tmp_path / "suggestions.json", **QUIETLY}
    monkeypatch.setattr(command, "write_like", stopped)
    with pytest.raises(KeyboardInterrupt):
        duoseg.suggest(trained, data, **asked)
    assert not (tmp_path / "suggestions.json").exists() and not list((tmp_path / "drafts").iterdir())
    monkeypatch.undo()
    assert all(one.draft.is_file() for one in duoseg.suggest(trained, data, **asked))


def test_a_draft_that_somebody_made_meanwhile_is_not_replaced(trained, data, tmp_path, monkeypatch):
    from duoseg.commands import suggest as command

    look, drafts = command.look_at, tmp_path / "drafts"
    (first, *_) = duoseg.suggest(trained, data, n=1, drafts=tmp_path / "before", **QUIETLY)

    def looked(*arguments, **options):
        (drafts / first.draft.name).write_text("mine")
        return look(*arguments, **options)

    monkeypatch.setattr(command, "look_at", looked)
    with pytest.raises(InputError, match="may hold corrections"):
        duoseg.suggest(trained, data, n=1, drafts=drafts, **QUIETLY)
    assert (drafts / first.draft.name).read_text() == "mine"


def test_drafts_can_be_of_another_format(run, trained, data, tmp_path):
    words = (
        "suggest",
        trained,
        data,
        "-n",
        "2",
        "--drafts",
        tmp_path / "drafts",
        "--format",
        "nrrd",
        "--device",
        "cpu",
    )
    assert run(*words)[0] == 0
    assert {path.name.partition(".")[2] for path in (tmp_path / "drafts").iterdir()} == {"seg.nrrd"}


def test_what_has_been_annotated_since_is_not_suggested(trained, data, tmp_path):
    (first,) = duoseg.suggest(trained, data, n=1, drafts=tmp_path / "drafts", **QUIETLY)
    first.draft.rename(data / "labelsTr" / first.draft.name)
    again = duoseg.suggest(trained, data, n=9, **QUIETLY)
    assert first.case not in {one.case for one in again}
    assert {one.case for one in again} == without_annotation(trained) - {first.case}


def test_a_scan_that_cannot_be_read_costs_itself_alone(trained, data, caplog):
    names = sorted(without_annotation(trained))
    broken = next((data / "imagesTr").glob(f"{names[0]}_*"))
    broken.write_bytes(broken.read_bytes()[:200])
    found = {one.case for one in duoseg.suggest(trained, data, n=9, **QUIETLY)}
    assert found == set(names[1:])
    assert broken.name in caplog.text


def test_where_all_is_annotated_there_is_nothing_to_suggest(trained, data):
    for image in (data / "imagesTr").iterdir():
        label = data / "labelsTr" / image.name.replace("_0000", "")
        if not label.exists():
            shutil.copy(next((data / "labelsTr").iterdir()), label)
    with pytest.raises(InputError, match="every training scan is annotated"):
        duoseg.suggest(trained, data, **QUIETLY)
