"""Predicting arrays in memory, and what a notebook shows of results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import duoseg
from duoseg.commands.runs import PLAN, load_plan
from duoseg.commands.train import Run
from duoseg.config import CONFIG, load_config
from duoseg.errors import InputError
from duoseg.pictures.html import Rows
from duoseg.scans.dataset import load_dataset
from duoseg.scans.formats import read_scan
from duoseg.scans.scan import Scan


@pytest.fixture
def scan(phantoms: Path) -> Scan:
    return read_scan(next((phantoms / "imagesTs").iterdir()))


def _parsed(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(html)


def test_an_array_with_its_affine_is_predicted_as_its_file_is(trained, phantoms, scan, tmp_path):
    (written, *_) = duoseg.predict(trained, phantoms / "imagesTs", tmp_path, uncertainty=True, device="cpu", threads=1)
    case = next(image for image in (phantoms / "imagesTs").iterdir() if image.name.startswith(written.case))
    scan = read_scan(case)
    model = duoseg.load(trained, device="cpu")
    prediction = model.predict(scan.voxels, scan.grid.affine, uncertainty=True)
    np.testing.assert_array_equal(prediction.mask, read_scan(written.mask).voxels)
    assert prediction.volumes_ml == written.volumes_ml
    assert prediction.doubt == pytest.approx(written.judgement.doubt)
    assert prediction.judgement == written.judgement


def test_a_prediction_shows_itself_as_three_planes_with_outline_uncertainty_and_volumes(trained, scan):
    model = duoseg.load(trained, device="cpu")
    page = _parsed(model.predict(scan.voxels, scan.grid, uncertainty=True)._repr_html_())
    assert [svg.get("aria-label", "").split()[0] for svg in page.iter("svg")] == ["Axial", "Coronal", "Sagittal"]
    assert len(list(page.iter("image"))) == 6  # each plane with its uncertainty
    assert [cell.text for cell in page.iter("th")] == ["class", "ml"]
    # Colours stand in the fragment: a notebook has no style sheet of ours.
    assert all(path.get("stroke") for path in page.iter("path"))


def test_what_is_no_scan_is_refused_in_words(trained, scan):
    model = duoseg.load(trained, device="cpu")
    with pytest.raises(InputError, match="2 axes"):
        model.predict(scan.voxels[0], scan.grid)
    for affine in (np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan)):
        with pytest.raises(InputError, match="affine"):
            model.predict(scan.voxels, affine)


def test_a_run_shows_its_page(trained, phantoms):
    run = Run(
        trained, load_config(trained / CONFIG), load_plan(trained / PLAN), load_dataset(phantoms).split(labelled=None)
    )
    frame = _parsed(run._repr_html_())
    assert frame.tag == "iframe" and "<svg" in frame.get("srcdoc", "")


def test_scores_show_their_means(phantoms):
    page = _parsed(duoseg.evaluate(phantoms / "labelsTs", phantoms / "labelsTs")._repr_html_())
    assert "1.000" in [cell.text for cell in page.iter("td")]


def test_predicted_scans_are_a_table_with_their_trust(trained, phantoms, tmp_path):
    found = duoseg.predict(trained, phantoms / "imagesTs", tmp_path, uncertainty=True, device="cpu", threads=1)
    cells = [cell.text or "" for cell in _parsed(found._repr_html_()).iter("td")]
    assert [cell for cell in cells if cell.startswith("trust 0.")] == [str(scan.judgement) for scan in found]


def test_lists_of_results_are_tables_and_hostile_names_are_text():
    @dataclass(frozen=True)
    class Record:
        case: str
        mask: Path
        volumes_ml: dict[str, float]
        doubt: float | None

    rows = Rows([Record("<script>", Path("a/b.nii.gz"), {"left & right": 1.23456}, None)])
    page = _parsed(rows._repr_html_())
    assert [cell.text for cell in page.iter("td")] == ["<script>", "b.nii.gz", "left & right 1.235", None]
    assert rows == list(rows)
    assert Rows()._repr_html_() == "<p>none</p>"
