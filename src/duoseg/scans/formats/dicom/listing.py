"""DICOM files among others in a folder: slices that lie loose, and are no scans each by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from duoseg.errors import InputError
from duoseg.scans.formats.dicom.headers import is_dicom, quiet, read_header

_KEYWORDS = ("SeriesInstanceUID", "NumberOfFrames", "Modality")


def loose_slices(files: Sequence[Path]) -> list[list[Path]]:
    """Return those files that are single slices of one series with another of them, series by series.

    Files that cannot be read are left to whoever reads them.
    """
    series: defaultdict[str, list[Path]] = defaultdict(list)
    with quiet:
        for file in files:
            if not file.is_file() or not is_dicom(file):
                continue
            try:
                header = read_header(file, _KEYWORDS)
                single = header.whole("NumberOfFrames", 1) <= 1 and header.text("Modality").upper() != "SEG"
                uid = header.text("SeriesInstanceUID")
            except InputError:
                continue
            if single and uid:
                series[uid].append(file)
    return [group for group in series.values() if len(group) > 1]
