"""Masks of scans in every format: in the scan's own by default, in another where asked, always on its own grid."""

from __future__ import annotations

import json
import re
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

import duoseg
from duoseg.scans.formats import read_scan, write
from duoseg.scans.phantom_series import write_phantom_series
from duoseg.scans.scan import Grid

LPS = np.diag([-1.0, -1.0, 1.0])
QUIETLY = ("--device", "cpu", "--threads", "1", "--quiet")


@pytest.fixture(scope="module")
def scan(phantoms) -> tuple[np.ndarray, Grid]:
    """A test phantom, right-handed as all series are."""
    image = nib.as_closest_canonical(nib.load(sorted((phantoms / "imagesTs").iterdir())[0]))
    x, y, z = image.shape
    return np.asarray(image.dataobj).astype(np.int16), Grid((x, y, z), image.affine)


@pytest.fixture(scope="module")
def expected(scan, trained, tmp_path_factory) -> np.ndarray:
    """The mask of the scan stored as NIfTI."""
    folder = tmp_path_factory.mktemp("expected")
    write(folder / "a.nii.gz", scan[0], grid=scan[1])
    duoseg.predict(trained, folder / "a.nii.gz", folder / "masks", device="cpu", threads=1)
    mask = np.asarray(nib.load(folder / "masks" / "a.nii.gz").dataobj)
    assert mask.any()
    return mask


@pytest.mark.parametrize(
    ("ending", "asked", "written"),
    [
        (".nii", "same", ".nii"),
        (".hdr", "same", ".hdr"),
        (".nrrd", "same", ".seg.nrrd"),
        (".mha", "same", ".mha"),
        (".mhd", "same", ".mhd"),
        (".mha", "nii.gz", ".nii.gz"),
        (".nii.gz", "nrrd", ".seg.nrrd"),
    ],
)
def test_a_mask_lies_on_its_scan_in_the_format_asked_for(
    run, scan, trained, expected, tmp_path, ending, asked, written
):
    write(tmp_path / f"a{ending}", scan[0], grid=scan[1])
    status, _, err = run(
        "predict", trained, tmp_path / f"a{ending}", "--out", tmp_path / "masks", "--format", asked, *QUIETLY
    )
    assert status == 0, err
    image = sitk.ReadImage(str(tmp_path / "masks" / f"a{written}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, expected)
    for index in ((0, 0, 0), tuple(side - 1 for side in scan[1].shape)):
        world = LPS @ image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(world, scan[1].affine[:3] @ [*index, 1], atol=1e-3)
    (entry,) = json.loads((tmp_path / "masks" / "predictions.json").read_text())["scans"]
    assert entry["mask"] == f"a{written}"


def test_slicer_finds_names_and_colours_of_segments(run, scan, trained, tmp_path):
    write(tmp_path / "a.nrrd", scan[0], grid=scan[1])
    assert run("predict", trained, tmp_path / "a.nrrd", "--out", tmp_path / "masks", *QUIETLY)[0] == 0
    image = sitk.ReadImage(str(tmp_path / "masks" / "a.seg.nrrd"))
    assert image.GetMetaData("Segment0_Name") == "atrium"
    assert image.GetMetaData("Segment0_LabelValue") == "1"
    assert len(image.GetMetaData("Segment0_Color").split()) == 3


def test_a_dicom_series_gets_a_segmentation_that_highdicom_finds_on_its_frames(run, scan, trained, expected, tmp_path):
    series = write_phantom_series(tmp_path / "pacs" / "patient", scan[0], scan[1].affine)
    command = ("predict", trained, tmp_path / "pacs", "--out", tmp_path / "masks", "--probabilities", *QUIETLY)
    status, _, err = run(*command)
    assert status == 0, err
    seg = highdicom.seg.segread(tmp_path / "masks" / "patient.dcm")
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["atrium"]
    ours = read_scan(tmp_path / "masks" / "patient.dcm").onto(read_scan(series).grid)
    assert ours is not None
    np.testing.assert_array_equal(ours.voxels, expected)
    assert {path.name for path in (tmp_path / "masks" / "probabilities").iterdir()} == {
        "patient.background.nii.gz",
        "patient.atrium.nii.gz",
    }


def test_a_segmentation_of_a_scan_that_is_no_dicom_is_refused_before_any_work(run, scan, trained, tmp_path):
    write(tmp_path / "a.nii.gz", scan[0], grid=scan[1])
    command = ("predict", trained, tmp_path / "a.nii.gz", "--out", tmp_path / "masks", "--format", "dicom-seg")
    status, _, err = run(*command, *QUIETLY)
    assert status == 1
    assert "choose --format nii.gz" in err
    assert not list(Path(tmp_path / "masks").glob("*"))


def test_one_series_of_several_is_chosen_by_its_uid(run, scan, trained, tmp_path):
    folder = tmp_path / "study"
    write_phantom_series(folder, scan[0], scan[1].affine, description="first")
    for path in folder.iterdir():
        path.rename(path.with_name(f"first-{path.name}"))
    write_phantom_series(folder, scan[0] + 7, scan[1].affine, description="second")
    status, _, err = run("predict", trained, folder, "--out", tmp_path / "masks", *QUIETLY)
    assert status == 1 and "first" in err and "second" in err
    (uid,) = re.findall(r"([\d.]+) \(MR, 'second'", err)
    status, _, err = run("predict", trained, f"{folder}#{uid}", "--out", tmp_path / "masks", *QUIETLY)
    assert status == 0, err
    assert (tmp_path / "masks" / "study.dcm").is_file()


def test_what_reading_assumed_is_said_and_recorded(run, scan, trained, tmp_path):
    tilted = scan[1].affine.copy()
    tilted[:3, 2] += 0.2 * tilted[:3, 1]
    write(tmp_path / "a.mha", scan[0], grid=Grid(scan[1].shape, tilted))
    status, out, _ = run("predict", trained, tmp_path / "a.mha", "--out", tmp_path / "masks", *QUIETLY[:-1])
    assert status == 0
    assert "off right angles" in out.replace("\n", " ")
    (entry,) = json.loads((tmp_path / "masks" / "predictions.json").read_text())["scans"]
    assert "off right angles" in entry["notes"][0]
    mask = read_scan(tmp_path / "masks" / "a.mha")
    assert mask.grid.matches(read_scan(tmp_path / "a.mha").grid)


def test_a_scan_whose_mask_cannot_be_written_does_not_stop_the_others(run, scan, trained, tmp_path):
    for name in "abc":
        write_phantom_series(tmp_path / "in" / name, scan[0], scan[1].affine)
    for path in (tmp_path / "in" / "b").iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.FrameOfReferenceUID  # without which no SEG can refer to it
        dataset.save_as(path)
    status, _, err = run("predict", trained, tmp_path / "in", "--out", tmp_path / "masks", *QUIETLY)
    assert status == 1 and "1 of 3 scans" in err and "FrameOfReferenceUID" in err
    assert {path.name for path in (tmp_path / "masks").glob("*.dcm")} == {"a.dcm", "c.dcm"}
    listed = json.loads((tmp_path / "masks" / "predictions.json").read_text())["scans"]
    assert [entry["case"] for entry in listed] == ["a", "c"]


def test_the_voxels_of_somebody_elses_pair_are_never_replaced(run, scan, trained, tmp_path):
    write(tmp_path / "a.hdr", scan[0], grid=scan[1])
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.img").write_bytes(b"precious")
    status, _, err = run("predict", trained, tmp_path / "a.hdr", "--out", tmp_path / "masks", *QUIETLY)
    assert status == 1 and "a.img" in err
    assert (tmp_path / "masks" / "a.img").read_bytes() == b"precious"


def test_slices_beside_other_scans_are_refused_and_no_scan_is_passed_over(run, scan, trained, tmp_path):
    series = write_phantom_series(tmp_path / "in", scan[0], scan[1].affine)
    write(series / "a.nii.gz", scan[0], grid=scan[1])
    status, _, err = run("predict", trained, series, "--out", tmp_path / "masks", *QUIETLY)
    assert status == 1 and "a.nii.gz" in err and "folder of their own" in err


def test_slices_given_one_by_one_are_not_taken_for_scans(run, scan, trained, tmp_path):
    series = write_phantom_series(tmp_path / "in", scan[0], scan[1].affine)
    status, _, err = run("predict", trained, *sorted(series.iterdir()), "--out", tmp_path / "masks", *QUIETLY)
    assert status == 1 and "give the folder" in err


def test_a_series_is_predicted_from_within_its_folder(run, scan, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(write_phantom_series(tmp_path / "patient", scan[0], scan[1].affine))
    status, _, err = run("predict", trained, ".", "--out", tmp_path / "masks", *QUIETLY)
    assert status == 0, err
    assert (tmp_path / "masks" / "patient.dcm").is_file()


def test_another_patients_scan_of_the_same_name_never_replaces_a_mask(run, scan, trained, tmp_path):
    for patient in ("P1", "P2"):
        write_phantom_series(tmp_path / patient / "SE1", scan[0], scan[1].affine)
    command = ("predict", trained, tmp_path / "P1" / "SE1", "--out", tmp_path / "masks", *QUIETLY)
    assert run(*command)[0] == 0
    before = (tmp_path / "masks" / "SE1.dcm").read_bytes()
    status, _, err = run("predict", trained, tmp_path / "P2" / "SE1", "--out", tmp_path / "masks", *QUIETLY)
    assert status == 1 and "P1" in err and "another --out" in err
    assert (tmp_path / "masks" / "SE1.dcm").read_bytes() == before
    assert run(*command)[0] == 0  # the same scan again is fine


def test_the_mask_of_a_scan_in_another_format_takes_the_place_of_the_earlier_one(run, scan, trained, tmp_path):
    write(tmp_path / "a.nii.gz", scan[0], grid=scan[1])
    for format in ("same", "nrrd"):
        command = ("predict", trained, tmp_path / "a.nii.gz", "--out", tmp_path / "masks", "--format", format)
        assert run(*command, *QUIETLY)[0] == 0
    assert {path.name for path in (tmp_path / "masks").iterdir()} == {"a.seg.nrrd", "predictions.json"}


def test_a_single_slice_picked_out_of_a_series_is_no_scan(run, scan, trained, tmp_path):
    series = write_phantom_series(tmp_path / "in", scan[0], scan[1].affine)
    status, _, err = run("predict", trained, sorted(series.iterdir())[3], "--out", tmp_path / "masks", *QUIETLY)
    assert status == 1 and "slices of a DICOM series" in err


def test_the_test_scans_of_a_table_are_predicted_and_scored_by_the_table(run, scan, trained, tmp_path):
    write_phantom_series(tmp_path / "pacs" / "p1", scan[0], scan[1].affine)
    write(tmp_path / "other.nii.gz", scan[0] + 1, grid=scan[1])
    write(tmp_path / "truth.nii.gz", (scan[0] > 500).astype(np.uint8), grid=scan[1])
    table = tmp_path / "scans.csv"
    table.write_text("image,label,split\npacs/p1,truth.nii.gz,test\nother.nii.gz,truth.nii.gz,train\n")
    status, _, err = run("predict", trained, table, "--out", tmp_path / "masks", *QUIETLY)
    assert status == 0, err
    assert {path.name for path in (tmp_path / "masks").iterdir()} == {"p1.dcm", "predictions.json"}
    status, _, err = run("evaluate", tmp_path / "masks", table, "--json", tmp_path / "scores.json", "--quiet")
    assert status == 0, err
    assert [case["case"] for case in json.loads((tmp_path / "scores.json").read_text())["cases"]] == ["p1"]
