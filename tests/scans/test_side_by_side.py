"""Many items at a time: in order, to the first error, and in no more memory than there is."""

from __future__ import annotations

import math
import os
import threading
import time

import numpy as np
import pytest

from duoseg.errors import InputError
from duoseg.scans.formats import write
from duoseg.scans.scan import Grid
from duoseg.scans.side_by_side import Room, in_processes, in_threads, voxels_to_hold


@pytest.mark.parametrize("many", [in_threads, in_processes])
def test_results_come_in_the_order_of_the_items(many):
    keyword = {in_threads: "threads", in_processes: "processes"}[many]
    assert list(many(math.sqrt, [1, 4, 9, 16], **{keyword: 3})) == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="math domain"):
        list(many(math.sqrt, [1, -1, 4], **{keyword: 2}))


def test_a_process_that_the_system_ends_is_told():
    with pytest.raises(InputError, match="try --threads 1"):
        list(in_processes(os._exit, [0, 1], processes=2))


def test_threads_hold_no_more_than_there_is_but_the_one_that_needs_more_than_all():
    room, lock = Room(10), threading.Lock()
    held, most, alone = [0], [0], []

    def work(nbytes):
        with room.taken(nbytes):
            with lock:
                held[0] += nbytes
                most[0] = max(most[0], held[0] if nbytes <= 10 else 0)
                alone.append(nbytes <= 10 or held[0] == nbytes)
            time.sleep(0.002)
            with lock:
                held[0] -= nbytes
        return nbytes

    sizes = [4, 3, 5, 6, 50, 1, 2, 9, 10, 3] * 5
    assert list(in_threads(work, sizes, threads=8)) == sizes
    assert 4 < most[0] <= 10 and all(alone)


def test_how_many_voxels_a_scan_has_is_told_by_its_header_or_by_the_files_of_its_folder(tmp_path):
    write(tmp_path / "scan.nii.gz", np.zeros((5, 6, 7), np.int16), grid=Grid((5, 6, 7), np.diag([2, 1, 1, 1])))
    (tmp_path / "series").mkdir()
    for index in range(3):
        (tmp_path / "series" / f"{index}.dcm").write_bytes(bytes(100))
    assert voxels_to_hold(tmp_path / "scan.nii.gz") == 5 * 6 * 7
    assert voxels_to_hold(tmp_path / "scan.nii.gz", spacing=(1, 1, 0.5)) == 4 * 5 * 6 * 7
    assert voxels_to_hold(tmp_path / "scan.nii.gz", spacing=(4, 4, 4)) == 5 * 6 * 7
    assert voxels_to_hold(tmp_path / "series") == 300
    assert voxels_to_hold(tmp_path / "absent.nii.gz") == 0
