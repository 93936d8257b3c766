"""Every cell of the format matrix, and that the page about formats shows exactly these."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from format_cells import READ, REFUSED, Cell, Reading, through_read_scan
from format_matrix import BEGIN, CELLS, PAGE, on_page, rendered
from format_readers import by_another_library

from duoseg.errors import InputError
from duoseg.scans.formats import can_read, exists, read_grid, source_files

AFFINE_MM = 1e-3

readable = [cell for cell in CELLS if cell.outcome != REFUSED]


def is_right(cell: Cell, voxels: np.ndarray, affine: np.ndarray) -> bool:
    return (
        voxels.size == cell.voxels.size
        and np.allclose(voxels.reshape(cell.voxels.shape, order="F"), cell.voxels, rtol=1e-6, atol=0)
        and np.allclose(affine, cell.affine, rtol=0, atol=AFFINE_MM)
    )


def another_reader_agrees(cell: Cell, path: Path) -> bool:
    try:
        return is_right(cell, *by_another_library(cell.format)(path))
    except Exception:  # whatever another library raises at a file that it does not read
        return False


@pytest.mark.parametrize("cell", readable, ids=str)
def test_a_scan_is_read_as_it_is_nothing_is_assumed_in_silence_and_others_agree(tmp_path: Path, cell: Cell) -> None:
    path = cell.make(tmp_path)
    reading: Reading = cell.read(path)
    np.testing.assert_allclose(reading.voxels, cell.voxels, rtol=1e-6)
    np.testing.assert_allclose(reading.affine, cell.affine, atol=AFFINE_MM, rtol=0)
    if cell.outcome == READ:
        assert reading.notes == ()
    else:
        (note,) = [note for note in reading.notes if re.search(cell.says, note)]
        assert "\n" not in note
    grid = read_grid(path)
    assert grid.shape == cell.voxels.shape
    np.testing.assert_allclose(grid.affine, cell.affine, atol=AFFINE_MM, rtol=0)
    assert can_read(path) and exists(path)
    assert all(file.is_file() for file in source_files(path))
    if cell.read is through_read_scan:
        assert another_reader_agrees(cell, path) == (not cell.differs)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.outcome == REFUSED], ids=str)
def test_a_file_is_refused_in_one_line_that_says_why(tmp_path: Path, cell: Cell) -> None:
    path = cell.make(tmp_path)
    with pytest.raises(InputError) as caught:
        cell.read(path)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    assert message.startswith(str(tmp_path))
    assert re.search(cell.says, message), message


def test_a_cell_stands_in_the_matrix_once() -> None:
    places = [(cell.oddity, cell.format) for cell in CELLS]
    assert len(set(places)) == len(places)


def test_the_matrix_is_large_and_refuses_little() -> None:
    assert len(CELLS) >= 130
    assert sum(cell.outcome == REFUSED for cell in CELLS) <= len(CELLS) / 3


def test_the_page_shows_the_matrix_as_tested() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(BEGIN) == 1
    assert on_page(text) == rendered(), "python tests/scans/format_matrix.py writes it anew"
