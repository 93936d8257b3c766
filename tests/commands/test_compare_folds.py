"""Studies on holdout scans and folds: what is scored was out of reach of training, in every layout."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import pytest
from pydicom import dcmread

import duoseg
from duoseg.scans.dataset import load_dataset
from duoseg.scans.phantom_series import write_phantom_series
from duoseg.scans.phantoms import make_phantom, write_phantom_dataset


@pytest.fixture(scope="module")
def protocol(tmp_path_factory, tiny_protocol):
    path = tmp_path_factory.mktemp("protocol") / "study.toml"
    path.write_text(tiny_protocol.read_text().replace("steps = 12", "steps = 2"))
    return path


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def trained_on(run: Path) -> dict[str, list[str]]:
    return json.loads((run / "cases.json").read_text())


@pytest.fixture(scope="module")
def listed(tmp_path_factory) -> Path:
    """A table of scans of two channels whose file names say nothing, several of one person."""
    folder = tmp_path_factory.mktemp("table")
    data = write_phantom_dataset(
        folder / "scans", subjects=7, labelled=5, test=1, size=(24, 24, 16), spacing=(2.4, 2.4, 4.0), channels=2
    )
    persons = ["p", "q", "p", "r", "s", "p", ""]
    lines = ["case,image,image_2,label,split,subject"]
    for number, (case, person) in enumerate(zip(load_dataset(data).train, persons, strict=True)):
        images = [shutil.move(image, folder / f"{'xy'[i]}{number}.nii.gz") for i, image in enumerate(case.images)]
        label = shutil.move(case.label, folder / f"z{number}.nii.gz") if case.label else None
        cells = [f"scan-{number}", *(path.name for path in images), label.name if label else "", "train", person]
        lines.append(",".join(cells))
    shutil.rmtree(data)
    (folder / "scans.csv").write_text("\n".join(lines) + "\n")
    return folder / "scans.csv"


def test_folds_of_a_table_score_every_labelled_scan_once_by_models_that_saw_nobody_of_it(listed, protocol, tmp_path):
    out = tmp_path / "study"
    duoseg.compare(listed, out, methods=["dtml"], folds=2, seeds=[0], config=protocol, jobs=2, threads=1, device="cpu")
    cases = {case.name: case for case in load_dataset(listed).train}
    found = rows(out)
    assert sorted(row["case"] for row in found) == [f"scan-{number}" for number in range(5)]
    assert {row["person"] for row in found} == {"p", "q", "r", "s"}
    for fold in (0, 1):
        (labelled,) = {row["labelled"] for row in found if row["fold"] == str(fold)}
        run = out / f"dtml-{labelled}-seed0-fold{fold}"
        used = trained_on(run)
        scored = {row["case"] for row in found if row["fold"] == str(fold)}
        persons = {cases[name].person for name in scored}
        assert persons.isdisjoint(cases[name].person for name in (*used["labelled"], *used["unlabelled"]))
        rest = [name for name in cases if cases[name].person not in persons]
        assert sorted([*used["labelled"], *used["unlabelled"]]) == sorted(rest)
        assert len(used["labelled"]) == int(labelled)
        assert used["labelled"] == [name for name in rest if cases[name].label][: int(labelled)]
    data = json.loads((out / "study.json").read_text())["data"]
    assert (data["on"], data["folds"], data["cases"], data["persons"]) == ("folds", 2, 5, 4)


def test_the_holdout_is_scored_and_the_test_scans_are_out_of_reach(phantoms, protocol, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    splits = json.loads((data / "splits.json").read_text())
    held = splits["train"][1]
    (data / "splits.json").write_text(json.dumps({**splits, "holdout": [held]}))
    for image in (data / "imagesTs").iterdir():
        image.write_bytes(b"opened, this would be an error")
    out = tmp_path / "study"
    duoseg.compare(
        data, out, methods=["dtml"], on="holdout", seeds=[0], config=protocol, threads=1, device="cpu", cache=tmp_path
    )
    assert [row["case"] for row in rows(out)] == [held]
    used = trained_on(out / "dtml-2-seed0")
    assert sorted([*used["labelled"], *used["unlabelled"]]) == sorted(set(splits["train"]) - {held})


def test_test_scans_without_a_label_are_told_by_name(phantoms, protocol, tmp_path, caplog):
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    first, second = sorted((data / "labelsTs").iterdir())
    second.unlink()
    options = {"methods": "supervised", "labelled": 2, "seeds": 0, "config": protocol, "cache": tmp_path / "cache"}
    duoseg.compare(data, tmp_path / "study", threads=1, device="cpu", **options)
    name = second.name.split(".")[0]
    assert f"{data}: 1 of 2 test scans cannot be scored, for want of a label: {name}. Add it" in caplog.text
    assert f"scored on 1 test scan; 1 more has no label ({name})." in (tmp_path / "study" / "tables.md").read_text()
    assert {row["case"] for row in rows(tmp_path / "study")} == {first.name.split(".")[0]}


def test_train_takes_a_splits_file(phantoms, protocol, tmp_path, run):
    splits = json.loads((phantoms / "splits.json").read_text())
    chosen = tmp_path / "chosen.json"
    chosen.write_text(json.dumps({"train": splits["train"][1:4], "test": splits["train"][:1]}))
    words = ["train", phantoms, "--out", tmp_path / "run", "--splits", chosen, "--config", protocol]
    status, _, err = run(*words, "--cache", tmp_path / "cache", "--device", "cpu", "--threads", 1, "--quiet")
    assert status == 0, err
    used = trained_on(tmp_path / "run")
    assert [*used["labelled"], *used["unlabelled"]] == splits["train"][1:4]


def test_dicom_series_are_scored_on_their_own_grid_though_no_segmentation_can_be_made_of_one(tmp_path, protocol):
    data = tmp_path / "data"
    for number in range(2):
        image, label, affine = make_phantom(number, shape=(24, 24, 16), spacing=(2.4, 2.4, 4.0))
        write_phantom_series(data / "imagesTr" / f"series{number}_0000", image[0], affine, seed=number)
        (data / "labelsTr").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(label, affine), data / "labelsTr" / f"series{number}.nii.gz")
    for file in (data / "imagesTr" / "series1_0000").iterdir():
        slice_ = dcmread(file)
        del slice_.FrameOfReferenceUID
        slice_.save_as(file)
    (data / "dataset.json").write_text(json.dumps({"channel_names": {"0": "MR"}, "labels": {"atrium": 1}}))
    out = tmp_path / "study"
    duoseg.compare(
        data, out, methods=["supervised"], folds=2, seeds=[0], config=protocol, jobs=2, threads=1, device="cpu"
    )
    assert [(row["case"], row["class"], row["fold"]) for row in rows(out)] == [
        ("series0", "atrium", "0"),
        ("series1", "atrium", "1"),
    ]
    assert len(list(out.glob("*/masks/*.nii.gz"))) == 2
