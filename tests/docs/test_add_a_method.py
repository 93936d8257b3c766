"""One new file makes a method: the page's own file, laid among the methods, trains and is compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_docs import REPOSITORY, blocks

import duoseg
import duoseg.methods
from duoseg.methods.registry import find_method, method_names

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
