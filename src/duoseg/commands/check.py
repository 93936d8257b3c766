"""``duoseg check``: every scan read, every problem named."""

from __future__ import annotations

from duoseg.files import StrPath
from duoseg.progress import Progress, counted
from duoseg.scans.check_report import CheckReport
from duoseg.scans.checking import check_dataset
from duoseg.scans.dataset import load_dataset
from duoseg.scans.limits import processes


def check(
    data: StrPath, *, labelled: int | None = None, threads: int | None = None, progress: Progress | None = None
) -> CheckReport:
    """Read every scan of a data set and list what is there and what is wrong.

    Args:
        data: data set folder or CSV table.
        labelled: open the labels of the first so many training scans only.
        threads: how many share the scans, as far as memory allows; `OMP_NUM_THREADS`, else all cores, where absent.
        progress: called with what is being done, how much of it is done and how much there is.

    Raises:
        InputError: there is no data set at all.
    """
    return check_dataset(
        load_dataset(data, tolerant=True),
        labelled=labelled,
        threads=threads or processes(),
        progress=counted(progress, "check"),
    )
