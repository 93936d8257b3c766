"""One new file makes a method: the page's own file, laid among the methods, trains and is compared."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_docs import REPOSITORY, blocks

import duoseg
import duoseg.methods
from duoseg.methods import method_names
from duoseg.methods.registry import find_method

PAGE = REPOSITORY / "docs" / "how-to" / "add-a-method.md"


@pytest.fixture
def one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The first block of the page as a file in a folder that counts as a part of the package."""
    code = next(block.body for block in blocks(PAGE) if block.language == "python")
    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / "fixmatch.py").write_text(code)
    monkeypatch.setattr(duoseg.methods, "__path__", [*duoseg.methods.__path__, str(folder)])
    return "fixmatch"


def test_the_file_alone_makes_the_method_known_and_trainable(
    one_new_file: str, phantoms: Path, tiny_protocol: Path, tmp_path: Path
) -> None:
    assert one_new_file in method_names()
    assert find_method(one_new_file).__name__ == "Fixmatch"
    run = duoseg.train(phantoms, tmp_path / "run", config=tiny_protocol, method=one_new_file, cache=tmp_path / "cache")
    duoseg.predict(run.folder, phantoms / "imagesTs", tmp_path / "masks")
    scores = duoseg.evaluate(tmp_path / "masks", phantoms / "labelsTs")
    assert len(scores.cases) == 2


def test_the_file_keeps_the_projects_rules(one_new_file: str, tmp_path: Path) -> None:
    code = (tmp_path / "methods" / "fixmatch.py").read_text()
    name = "src/duoseg/methods/fixmatch.py"
    for words in (("check", "-"), ("format", "--check", "-")):
        command = [sys.executable, "-m", "ruff", *words, "--stdin-filename", name]
        done = subprocess.run(command, cwd=REPOSITORY, input=code, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    settings = find_method(one_new_file).Settings
    explained = re.findall(r"^\s+(\w+):", settings.__doc__ or "", re.MULTILINE)
    assert explained == ["Attributes", *settings.model_fields]


def test_the_file_alone_is_compared(
    one_new_file: str, phantoms: Path, tiny_protocol: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every combination is a process of its own, which must find the file as this one does.
    (tmp_path / "start").mkdir()
    lines = ["import duoseg.methods", f"duoseg.methods.__path__.append({str(tmp_path / 'methods')!r})"]
    (tmp_path / "start" / "sitecustomize.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'start'}:{':'.join(filter(None, sys.path))}")
    study = duoseg.compare(
        phantoms,
        tmp_path / "study",
        methods=["supervised", one_new_file],
        labelled=[2],
        seeds=[0],
        config=tiny_protocol,
        cache=tmp_path / "cache",
        device="cpu",
        threads=1,
    )
    assert not study.failed
    assert {row["method"] for row in study.content["comparisons"]} == {one_new_file}
