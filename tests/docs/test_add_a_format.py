"""The page's own adapter is a whole one: what predicts and checks asks of a format, it offers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_docs import REPOSITORY, blocks

from duoseg.scans import formats
from duoseg.scans.formats import ScanFormat
from duoseg.scans.scan import Grid

PAGE = REPOSITORY / "docs" / "how-to" / "add-a-format.md"


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.chdir(tmp_path)
    code = next(block.body for block in blocks(PAGE) if block.language == "python")
    namespace: dict[str, object] = {"__name__": "npz"}
    exec(code, namespace)
    return SimpleNamespace(**namespace)


def test_it_has_every_name_of_the_protocol(adapter: SimpleNamespace) -> None:
    wanted = {name for name in vars(ScanFormat) if not name.startswith("_")}
    assert wanted <= vars(adapter).keys()
    numbers = {11: "eleven", 12: "twelve", 13: "thirteen", 14: "fourteen"}
    assert f"with {numbers[len(wanted)]} names" in " ".join(PAGE.read_text().split())


def test_its_masks_are_written_and_read_beside_scans_of_other_formats(
    adapter: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, adapter))
    grid = Grid((4, 5, 6), np.diag([0.5, 0.5, 2.0, 1.0]))
    voxels = np.arange(120, dtype=np.uint8).reshape(grid.shape)
    formats.write(tmp_path / "a.npz", voxels, grid=grid)
    assert formats.written_files(tmp_path / "a.npz") == [tmp_path / "a.npz"]
    found = formats.read_scan(tmp_path / "a.npz")
    assert (found.voxels == voxels).all() and np.array_equal(found.grid.affine, grid.affine)
