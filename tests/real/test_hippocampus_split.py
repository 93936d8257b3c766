"""The script that divides a fetched Hippocampus gives the division of the published results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "hippocampus_split.py"

pytestmark = pytest.mark.real


def test_a_fetched_hippocampus_is_divided_as_in_the_published_results(data_folder, tmp_path):
    published = json.loads((data_folder / "hippocampus" / "splits.json").read_text())
    (tmp_path / "labelsTr").mkdir()
    (tmp_path / "imagesUn").mkdir()
    for case in (*published["train"], *published["test"]):
        (tmp_path / "labelsTr" / f"{case}.nii.gz").touch()
    (tmp_path / "imagesUn" / "hippocampus_002_0000.nii.gz").touch()
    subprocess.run([sys.executable, SCRIPT, tmp_path], check=True)
    found = json.loads((tmp_path / "splits.json").read_text())
    assert found.pop("unused") == ["hippocampus_002"]
    assert found == {key: published[key] for key in found}
