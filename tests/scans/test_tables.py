"""Tables of scans that stay where they are: paths, folders, persons, and the same scan on two sides."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

import duoseg
from duoseg.errors import InputError
from duoseg.scans import copies, formats
from duoseg.scans.copies import require_apart, shared_contents
from duoseg.scans.dataset import Dataset, load_dataset
from duoseg.scans.formats import nifti
from duoseg.scans.phantom_series import write_phantom_series
from duoseg.scans.scan import Grid, Scan


def write_scan(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(1, 1000, (9, 8, 7)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    return path


def write_label(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = (np.random.default_rng(seed).random((9, 8, 7)) > 0.5).astype(np.uint8)
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    return path


def write_table(path: Path, *rows: Mapping[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Scans as a hospital keeps them: outside the table's folder."""
    folder = tmp_path / "archive"
    for number, name in enumerate("abcd"):
        write_scan(folder / f"{name}.nii.gz", number)
        write_label(folder / f"drawn/{name}.nii.gz", number)
    return folder


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def row(archive: Path, name: str, split: str = "", **more: object) -> dict[str, object]:
    return {"image": archive / f"{name}.nii.gz", "label": archive / f"drawn/{name}.nii.gz", "split": split, **more}


def errors(table: Path) -> list[str]:
    return [str(one) for one in load_dataset(table, tolerant=True).problems if one.severity == "error"]


@pytest.mark.parametrize("relative", [False, True])
def test_scans_stay_where_they_are_and_nothing_is_written_beside_them(
    archive: Path, tmp_path: Path, tiny_protocol: Path, relative: bool
) -> None:
    rows = [row(archive, "a"), row(archive, "b"), row(archive, "c", "test", subject="Cleo")]
    if relative:
        rows = [
            {
                key: os.path.relpath(value, tmp_path / "study") if isinstance(value, Path) else value
                for key, value in one.items()
            }
            for one in rows
        ]
    table = write_table(tmp_path / "study/scans.csv", *rows)
    before = listing(archive)
    assert duoseg.check(table).ok
    duoseg.train(table, tmp_path / "run", method="supervised", steps=2, config=tiny_protocol)
    assert listing(archive) == before
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == [".duoseg-cache", "scans.csv"]


def test_the_cache_goes_where_it_is_asked_to(archive: Path, tmp_path: Path, tiny_protocol: Path) -> None:
    table = write_table(tmp_path / "study/scans.csv", row(archive, "a"), row(archive, "b"))
    duoseg.train(table, tmp_path / "run", method="supervised", steps=2, config=tiny_protocol, cache=tmp_path / "cache")
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["scans.csv"]
    assert len(list((tmp_path / "cache").iterdir())) == 4


@pytest.mark.parametrize("way", ["same path", "relative", "dots", "link", "linked folder", "hard link"])
def test_one_file_on_both_sides_is_told_by_whatever_path_it_is_named(archive: Path, tmp_path: Path, way: str) -> None:
    image, study = archive / "a.nii.gz", tmp_path / "study"
    study.mkdir()
    other = {
        "same path": image,
        "relative": Path(os.path.relpath(image, study)),
        "dots": archive / ".." / "archive" / "a.nii.gz",
        "link": study / "linked.nii.gz",
        "linked folder": study / "folder/a.nii.gz",
        "hard link": archive / "copy.nii.gz",
    }[way]
    if way == "link":
        other.symlink_to(image)
    elif way == "linked folder":
        other.parent.symlink_to(archive)
    elif way == "hard link":
        os.link(image, other)
    table = write_table(
        study / "scans.csv",
        row(archive, "a", case="ann"),
        row(archive, "b", case="bob"),
        {**row(archive, "a", "test", case="eve"), "image": other},
    )
    (told,) = errors(table)
    assert "scans.csv" in told or "study" in told
    assert "ann (row 2) and eve (row 4)" in told and "for training and for testing" in told
    with pytest.raises(InputError, match=r"ann \(row 2\) and eve \(row 4\)"):
        load_dataset(table)
    assert not duoseg.check(table).ok


def test_a_test_scan_in_one_channel_of_a_training_case_is_told(archive: Path, tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "scans.csv",
        {"image": archive / "a.nii.gz", "image_2": archive / "b.nii.gz", "split": "", "case": "x"},
        {"image": archive / "c.nii.gz", "image_2": archive / "a.nii.gz", "split": "test", "case": "y"},
    )
    (told,) = errors(table)
    assert "x (row 2) and y (row 3)" in told


def test_a_scan_held_out_and_trained_on_is_told(archive: Path, tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "scans.csv", row(archive, "a", case="x"), row(archive, "b"), row(archive, "a", "holdout", case="y")
    )
    (told,) = errors(table)
    assert "held out" in told and "x (row 2)" in told and "y (row 4)" in told


def test_one_file_twice_on_one_side_is_no_leak(archive: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "scans.csv", row(archive, "a", case="x"), row(archive, "a", case="y"))
    assert errors(table) == []


def test_two_scans_of_a_person_on_both_sides_are_told_with_cases_and_rows(archive: Path, tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "scans.csv",
        row(archive, "a", subject="Ann"),
        row(archive, "b", subject="Bob"),
        row(archive, "c", "test", subject="Ann"),
        row(archive, "d", "holdout", subject="Bob"),
    )
    testing, held = errors(table)
    assert "1 person has scans both for training and for testing: Ann (a (row 2), c (row 4))" in testing
    assert "1 person has scans both for training and held out: Bob (b (row 3), d (row 5))" in held
    with pytest.raises(InputError, match=r"Ann \(a \(row 2\), c \(row 4\)\)"):
        load_dataset(table)


def test_a_case_called_like_the_person_of_another_is_not_that_person(archive: Path, tmp_path: Path) -> None:
    write_scan(archive / "7.nii.gz", 7)
    table = write_table(
        tmp_path / "scans.csv",
        {"image": archive / "7.nii.gz", "split": "", "subject": ""},
        row(archive, "a", "test", subject="7"),
        row(archive, "b", "test", subject="b"),
        row(archive, "c", "holdout", subject=" "),
    )
    dataset = load_dataset(table)
    assert [case.subject for case in (*dataset.train, *dataset.test)] == ["7", "c", "7", "b"]
    assert len({case.person for case in (*dataset.train, *dataset.test)}) == 4


@pytest.mark.parametrize(
    ("subjects", "told"),
    [
        ({"a": None, "b": None}, 0),
        ({"a": "", "b": "  "}, 0),
        ({"a": "b"}, 0),
        ({"a": "Ann", "b": " Ann\n"}, 1),
        ({"a": 7, "b": "7"}, 1),
    ],
)
def test_persons_whom_nobody_knows_are_not_one_person(tmp_path: Path, subjects: dict, told: int) -> None:
    for folder, name in (("imagesTr", "a"), ("imagesTs", "b")):
        write_scan(tmp_path / f"{folder}/{name}_0000.nii.gz", ord(name))
    (tmp_path / "splits.json").write_text(json.dumps({"subjects": subjects}))
    assert sum("person has scans both" in one for one in errors(tmp_path)) == told


def test_rows_are_counted_as_an_editor_counts_lines(archive: Path, tmp_path: Path) -> None:
    table = tmp_path / "scans.csv"
    table.write_text(f"image,split\n\n{archive / 'a.nii.gz'},\n\n\n{archive / 'gone.nii.gz'},\n\nx.nii,nowhere\n")
    with pytest.raises(InputError, match=r"scans\.csv, row 8: the split"):
        load_dataset(table)
    table.write_text(table.read_text().replace("nowhere", ""))
    assert [one.partition("row ")[2][:1] for one in errors(table)] == ["6", "8"]


def copied(archive: Path, tmp_path: Path) -> Dataset:
    shutil.copyfile(archive / "a.nii.gz", archive / "new.nii.gz")
    table = write_table(
        tmp_path / "scans.csv",
        row(archive, "a"),
        row(archive, "b"),
        {"image": archive / "new.nii.gz", "split": "test"},
        row(archive, "c", "test"),
    )
    return load_dataset(table)


def test_a_copy_under_another_name_is_told_by_check_and_refused_by_training(archive: Path, tmp_path: Path) -> None:
    dataset = copied(archive, tmp_path)
    (told,) = shared_contents(dataset)
    assert told.severity == "error" and "a and new" in told.message
    with pytest.raises(InputError, match="a and new"):
        require_apart(dataset)
    report = duoseg.check(tmp_path / "scans.csv")
    assert not report.ok and any("a (labelled), new (test)" in str(problem) for problem in report.problems)


def test_scans_that_differ_in_one_byte_are_apart(archive: Path, tmp_path: Path) -> None:
    dataset = copied(archive, tmp_path)
    content = bytearray((archive / "new.nii.gz").read_bytes())
    content[len(content) // 2 + 7] ^= 1
    (archive / "new.nii.gz").write_bytes(content)
    require_apart(dataset)


def test_without_test_scans_no_scan_is_opened_to_compare(archive: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "scans.csv", row(archive, "a"), row(archive, "b"))
    dataset = load_dataset(table)
    shutil.rmtree(archive)
    require_apart(dataset)


class Folders:
    """A format of folders, one scan for each file in them that is called after its series: ``folder#series``."""

    SUFFIXES = (".slice",)

    @staticmethod
    def _file(path: Path) -> Path:
        folder, _, series = str(path).partition("#")
        return Path(folder) / f"{series or 'only'}.slice"

    def can_read(self, path: Path) -> bool:
        return self._file(path).parent.is_dir()

    def stem(self, path: Path) -> str:
        return path.name.partition("#")[0]

    def exists(self, path: Path) -> bool:
        return self._file(path).parent.is_dir()

    def source_files(self, path: Path) -> list[Path]:
        return [self._file(path)]

    def read_scan(self, path: Path) -> Scan:
        return nifti.read_scan(self._file(path).with_suffix(".nii"))

    def read_grid(self, path: Path) -> Grid:
        return self.read_scan(path).grid


@pytest.fixture
def series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of folders with series in them."""
    monkeypatch.setattr(formats, "FORMATS", (nifti, Folders()))
    for name, files in {"p1": ["only"], "p2": ["1.2.3", "1.2.4"], "p3": ["only"]}.items():
        for file in files:
            path = tmp_path / "pacs" / name / f"{file}.slice"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(100))
    yield tmp_path / "pacs"


def test_folders_and_single_series_of_them_are_scans(series: Path, tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "scans.csv",
        {"image": "pacs/p1", "case": "", "split": ""},
        {"image": series / "p2#1.2.3", "case": "first", "split": ""},
        {"image": "pacs/p2#1.2.4", "case": "second", "split": ""},
        {"image": "pacs/p3", "case": "", "split": "test"},
    )
    dataset = load_dataset(table)
    assert [case.name for case in dataset.train] == ["first", "p1", "second"]
    assert dataset.train[0].images == (series / "p2#1.2.3",)
    assert dataset.test[0].name == "p3"
    require_apart(dataset)


def test_two_series_of_one_folder_need_names_of_their_own(series: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "scans.csv", {"image": "pacs/p2#1.2.3"}, {"image": "pacs/p2#1.2.4"})
    with pytest.raises(InputError, match="give each row a name of its own in a column 'case'"):
        load_dataset(table)


@pytest.mark.parametrize("image", ["pacs/absent", "pacs/absent#1.2.3"])
def test_a_folder_that_is_not_there_is_told_with_its_row(series: Path, tmp_path: Path, image: str) -> None:
    table = write_table(tmp_path / "scans.csv", {"image": "pacs/p1"}, {"image": image})
    with pytest.raises(InputError, match=r"absent.*: row 3 of scans\.csv names it, but it does not exist"):
        load_dataset(table)


def test_a_folder_of_no_readable_scans_is_told_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    table = write_table(tmp_path / "scans.csv", {"image": "notes"})
    with pytest.raises(InputError, match=r"scans\.csv, row 2: .*notes is a folder, .* \(it holds nothing\)"):
        load_dataset(table)


@pytest.mark.parametrize(
    ("train", "test", "same"),
    [("p2#1.2.3", "p2#1.2.4", False), ("p2#1.2.3", "p2#1.2.3", True), ("p1", "p1#only", True), ("p1", "p3", False)],
)
def test_a_series_on_both_sides_is_told_and_two_of_one_folder_are_apart(
    series: Path, tmp_path: Path, train: str, test: str, same: bool
) -> None:
    (tmp_path / "linked").symlink_to(series)
    table = write_table(
        tmp_path / "scans.csv",
        {"image": f"pacs/{train}", "split": "", "case": "x"},
        {"image": f"linked/{test}", "split": "test", "case": "y"},
    )
    told = errors(table)
    assert len(told) == same and all("x (row 2) and y (row 3)" in one for one in told)


def test_copies_of_a_folder_are_told(series: Path, tmp_path: Path) -> None:
    shutil.copytree(series / "p1", series / "p9")
    table = write_table(
        tmp_path / "scans.csv", {"image": "pacs/p1", "split": ""}, {"image": "pacs/p9", "split": "test"}
    )
    with pytest.raises(InputError, match="p1 and p9"):
        require_apart(load_dataset(table))


def with_further(archive: Path, tmp_path: Path, *further: Path) -> Path:
    """Cases a and b for training and c for testing, each with a further channel."""
    table = tmp_path / "scans.csv"
    return write_table(
        table,
        *(
            {"image": archive / f"{name}.nii.gz", "image_2": image, "label": archive / f"drawn/{name}.nii.gz"}
            | {"split": "test" if name == "c" else ""}
            for name, image in zip("abc", further, strict=True)
        ),
    )


def test_an_atlas_that_all_cases_share_as_a_further_channel_is_no_leak(archive: Path, tmp_path: Path) -> None:
    atlas = write_scan(archive / "atlas.nii.gz", 9)
    table = with_further(archive, tmp_path, atlas, atlas, atlas)
    dataset = load_dataset(table)
    (told,) = dataset.problems
    assert told.severity == "warning" and "a (row 2) and b (row 3) and c (row 4)" in told.message
    require_apart(dataset)
    assert duoseg.check(table).ok


def test_an_empty_further_channel_stored_for_each_case_is_no_leak(archive: Path, tmp_path: Path) -> None:
    voxels = np.zeros((9, 8, 7), np.int16)
    voxels[4, 4, 4] = 1  # check refuses one that is empty altogether
    for name in ("b2", "c2"):
        nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 2.0, 1.0])), archive / f"{name}.nii")
    table = with_further(archive, tmp_path, write_scan(archive / "a2.nii", 9), archive / "b2.nii", archive / "c2.nii")
    dataset = load_dataset(table)
    assert not dataset.problems
    require_apart(dataset)
    assert [one.severity for one in shared_contents(dataset)] == ["warning"]
    assert duoseg.check(table).ok


def test_a_copy_of_a_first_channel_among_further_ones_is_a_leak(archive: Path, tmp_path: Path) -> None:
    shutil.copyfile(archive / "a.nii.gz", archive / "again.nii.gz")
    second = [write_scan(archive / f"{name}2.nii.gz", ord(name)) for name in "ab"]
    table = with_further(archive, tmp_path, *second, archive / "again.nii.gz")
    with pytest.raises(InputError, match="a and c"):
        require_apart(load_dataset(table))
    assert not duoseg.check(table).ok


def write_dicom(folder: Path, seed: int, slices: int = 7) -> Path:
    voxels = np.random.default_rng(seed).integers(0, 1000, (9, 8, slices)).astype(np.int16)
    write_phantom_series(folder, voxels, np.diag([-1.0, -1.0, 2.0, 1.0]), seed=seed, description=f"series {seed}")
    return folder


def two_rows(tmp_path: Path, train: object, test: object) -> Path:
    return write_table(
        tmp_path / "scans.csv",
        {"image": train, "split": "", "case": "x"},
        {"image": test, "split": "test", "case": "y"},
    )


@pytest.mark.parametrize("turned", [False, True])
def test_a_folder_on_one_side_and_a_slice_of_it_on_the_other_is_told(tmp_path: Path, turned: bool) -> None:
    folder = write_dicom(tmp_path / "pacs/p1", 1)
    (tmp_path / "linked").symlink_to(tmp_path / "pacs")
    pair = [folder, tmp_path / "linked/p1" / sorted(folder.iterdir())[3].name]
    told = errors(two_rows(tmp_path, *(pair[::-1] if turned else pair)))
    assert sorted("x (row 2) and y (row 3)" in text for text in told) == [False, True]
    assert any("one of 7 slices of a series" in text for text in told)  # which is no scan by itself either


def uid_of(folder: Path) -> str:
    return str(dcmread(next(folder.iterdir())).SeriesInstanceUID)


def test_a_localizer_beside_the_volume_that_a_folder_means_is_another_scan(tmp_path: Path) -> None:
    folder, localizer = write_dicom(tmp_path / "p1", 1), write_dicom(tmp_path / "p2", 2, slices=1)
    volume, survey = uid_of(folder), uid_of(localizer)
    (file,) = localizer.iterdir()
    shutil.copyfile(file, folder / "localizer.dcm")
    for test, same in ((f"{folder}#{survey}", 0), (f"{folder}#{volume}", 1), (folder / "localizer.dcm", 0)):
        assert len(errors(two_rows(tmp_path, folder, test))) == same, test


def test_a_series_and_a_slice_of_another_in_its_folder_are_apart(tmp_path: Path) -> None:
    folder, other = write_dicom(tmp_path / "p1", 1), write_dicom(tmp_path / "p2", 2)
    first = uid_of(folder)
    for file in other.iterdir():
        shutil.copyfile(file, folder / f"b{file.name}")
    for slice_, same in (("b0001.dcm", 0), ("0001.dcm", 1)):
        told = errors(two_rows(tmp_path, f"{folder}#{first}", folder / slice_))
        assert len([text for text in told if "slices of a series" not in text]) == same
        assert len(told) == same + 1


def test_two_headers_over_one_file_of_voxels_are_told(tmp_path: Path) -> None:
    np.random.default_rng(1).integers(0, 1000, (7, 8, 9)).astype("<i2").tofile(tmp_path / "d.raw")
    for name in "xy":
        (tmp_path / f"{name}.nhdr").write_text(
            f"NRRD0004\n# {name}\ntype: int16\ndimension: 3\nsizes: 9 8 7\nspace: right-anterior-superior\n"
            "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nencoding: raw\nendian: little\n"
            "data file: d.raw\n"
        )
    table = two_rows(tmp_path, "x.nhdr", "y.nhdr")
    with pytest.raises(InputError, match="x and y"):
        require_apart(load_dataset(table))
    assert not duoseg.check(table).ok


def test_headers_of_folders_are_opened_only_where_a_slice_may_be_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"image": write_dicom(tmp_path / f"p{number}", number), "split": ""} for number in range(3)]
    rows += [{"image": write_dicom(tmp_path / "p4", 4), "split": "test"}]
    dataset = load_dataset(write_table(tmp_path / "scans.csv", *rows))
    opened: list[Path] = []
    monkeypatch.setattr(copies, "source_files", lambda path: opened.append(path) or formats.source_files(path))
    states: list[tuple[int, int]] = []
    require_apart(dataset, progress=lambda *state: states.append(state))
    assert opened == [] and states == [(done, 8) for done in range(1, 9)]

    shutil.rmtree(tmp_path / "p4")
    shutil.copytree(tmp_path / "p1", tmp_path / "p4")
    with pytest.raises(InputError, match="p1 and p4"):
        require_apart(dataset)
    assert sorted(path.name for path in opened) == ["p1", "p4"]
