"""The notebook of the tutorials runs from its first cell to its last, and shows what it says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorials" / "in-a-notebook.ipynb"
STEPS = "steps=200"


@pytest.mark.slow
def test_the_notebook_runs_and_every_result_shows_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the notebook makes its folder
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # of the kernel, as of this process
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "results are made anew, and not kept"
    (train,) = [cell for cell in notebook.cells if STEPS in cell.source]
    train.source = train.source.replace(STEPS, "steps=4")
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown = {cell.source: cell.outputs[-1].data.get("text/html", "") for cell in notebook.cells if cell.get("outputs")}
    expected = {"train(": "<iframe", "\nprediction": "<svg", "predict(work": "<td", "evaluate(": "Dice"}
    for call, part in {**expected, "suggest(": "<td"}.items():
        (html,) = [html for source, html in shown.items() if call in source]
        assert part in html, call
