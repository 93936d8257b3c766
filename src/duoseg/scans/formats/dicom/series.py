"""The files of one series: those in a folder, grouped by SeriesInstanceUID, and the one that is meant."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from duoseg.errors import InputError
from duoseg.scans.formats.dicom.folder import dicom_files
from duoseg.scans.formats.dicom.frames import KEYWORDS, Frame, frames_of
from duoseg.scans.formats.dicom.headers import Header, read_header
from duoseg.scans.formats.streams import cut_short
from duoseg.scans.origins import Origin
from duoseg.scans.texts import count_text, some_text

MARK = "#"
"""Between a folder and the SeriesInstanceUID of one of its series."""

_UID = re.compile(r"[0-9.]{1,64}")
_ENDS_EARLY = "it ends within its header, before its pixels, or holds none"
# Modalities of objects that are no images of the body, though some have pixels or lie beside the images of a series.
_OBJECTS = frozenset(
    (
        *("AU", "DOC", "ECG", "FID", "HD", "KO", "M3D", "PLAN", "PR", "REG", "RESP", "RTDOSE", "RTIMAGE", "RTPLAN"),
        *("RTRECORD", "RTSEGANN", "RTSTRUCT", "RWV", "SEG", "SMR", "SR", "TEXTUREMAP"),
    )
)


@dataclass(frozen=True, eq=False)
class Series:
    """Files of one SeriesInstanceUID.

    Attributes:
        path: as the user gave it.
        uid: "" where the files have none.
        headers: of the files, in the order of their names.
        notes: what was left aside.
    """

    path: Path
    uid: str
    headers: tuple[Header, ...]
    notes: tuple[str, ...] = ()

    @property
    def modality(self) -> str:
        """Such as "CT"; "" where the files do not say."""
        return self.headers[0].text("Modality").upper()

    @property
    def is_segmentation(self) -> bool:
        """Whether it is a DICOM SEG object."""
        return self.modality == "SEG"

    @property
    def origin(self) -> Origin:
        """Whose it is, and in which coordinates."""
        first = self.headers[0]
        return Origin(first.text("PatientID"), first.text("FrameOfReferenceUID"))

    @property
    def has_images(self) -> bool:
        """Whether it holds images of the body, and no objects made from them."""
        return self.modality not in _OBJECTS and any(header.get("Rows") is not None for header in self.headers)

    @property
    def is_localizer(self) -> bool:
        """Whether it is a survey for planning: marked as one, or a single slice."""
        marked = all("LOCALIZER" in str(header.get("ImageType")).upper() for header in self.headers)
        return marked or self.slices == 1

    @property
    def slices(self) -> int:
        """Number of frames in all its files."""
        return sum(header.whole("NumberOfFrames", 1) for header in self.headers)

    @property
    def text(self) -> str:
        """One line for a list."""
        description = self.headers[0].text("SeriesDescription")
        what = count_text(self.slices, "slice") if self.has_images else "no images"
        return (
            f"{self.uid or 'no UID'} ({self.modality or 'no modality'}{description and f', {description!r}'}, {what})"
        )

    def require_images(self) -> None:
        """Refuse files without the size of an image; ``InputError`` names the first."""
        for header in self.headers:
            if header.get("Rows") is None or header.get("Columns") is None:
                raise cut_short(header.path, _ENDS_EARLY)

    def frames(self) -> list[Frame]:
        """Return the frames of all files; ``InputError`` where one is not placed in the body."""
        return [frame for header in self.headers for frame in frames_of(header)]


def split_choice(path: Path) -> tuple[Path, str]:
    """Return the file or folder that is meant, and the SeriesInstanceUID behind its mark; "" where none is chosen."""
    name, mark, uid = path.name.rpartition(MARK)
    if not (mark and name and _UID.fullmatch(uid)) or path.exists():
        return path, ""
    return path.with_name(name), uid


def read_series(path: Path) -> Series:
    """Read the headers of the series that ``path`` means: a file, a folder of one, or a folder with the mark and a UID.

    Of several series in a folder, the only one of images that is no localizer is meant.

    Raises:
        InputError: there is none, there are several and none is chosen, or a file is damaged.
    """
    place, uid = split_choice(path)
    if place.is_file():
        found = _grouped(path, [place])
        if uid and found[0].uid != uid:
            raise _not_there(path, uid, found)
        if found[0].modality in _OBJECTS and not found[0].is_segmentation:
            raise InputError(f"{path}: holds no images, but a {found[0].modality} object; give the series of images.")
        return found[0]
    found, notes = _in_folder(path, place)
    if uid:
        chosen = [series for series in found if series.uid == uid]
        if not chosen:
            raise _not_there(path, uid, found)
        _require_whole(found, chosen[0])
        return Series(path, uid, chosen[0].headers, notes)
    images = [series for series in found if series.has_images]
    volumes = [series for series in images if not series.is_localizer] or images
    if not images:
        volumes = [series for series in found if series.is_segmentation]
    if not volumes:
        raise InputError(
            f"{path}: holds no series of images, only {_listed(found)}; give the folder of the images that these "
            "were made from."
        )
    if len(volumes) > 1:
        raise InputError(
            f"{path}: holds {len(found)} series: {_listed(found)}; choose one, on the command line or in a table, by "
            f"its SeriesInstanceUID behind the path: {place}{MARK}{volumes[0].uid}."
        )
    _require_whole(found, volumes[0])
    left = [series for series in images if series is not volumes[0]]
    if left:
        notes += (f"its folder also holds {_listed(left)}, which was left aside as a localizer or single slice",)
    return Series(path, volumes[0].uid, volumes[0].headers, notes)


def _in_folder(path: Path, folder: Path) -> tuple[list[Series], tuple[str, ...]]:
    """Return the series in a folder, the largest first, and a note on the files that are none of them."""
    if not folder.is_dir():
        raise InputError(f"{path}: there is no such file or folder.")
    files, foreign = dicom_files(folder)
    if not files:
        raise InputError(f"{path}: holds no DICOM files; give the folder that holds the slices themselves.")
    if not foreign:
        return _grouped(path, files), ()
    return _grouped(path, files), (f"its folder also holds files that are not DICOM: {some_text(foreign, most=3)}",)


def _grouped(path: Path, files: Sequence[Path]) -> list[Series]:
    headers: dict[str, list[Header]] = defaultdict(list)
    for file in files:
        header = read_header(file, KEYWORDS)
        headers[header.text("SeriesInstanceUID")].append(header)
    found = [Series(path, uid, tuple(group)) for uid, group in headers.items()]
    return sorted(found, key=lambda series: (not series.has_images, -series.slices, series.uid))


def _require_whole(found: Sequence[Series], chosen: Series) -> None:
    """Refuse a file that ends within its header: it may be a slice of the chosen series, and would be left out."""
    kinds = {header.text("SOPClassUID") for header in chosen.headers}
    for series in found:
        for header in series.headers if series.modality not in _OBJECTS else ():
            kind = header.text("SOPClassUID")
            may_belong = kind in kinds or not (_UID.fullmatch(series.uid) and _UID.fullmatch(kind))
            if may_belong and header.get("Rows") is None:
                raise cut_short(header.path, _ENDS_EARLY)


def _listed(found: Sequence[Series]) -> str:
    return some_text([series.text for series in found], most=20)


def _not_there(path: Path, uid: str, found: Sequence[Series]) -> InputError:
    return InputError(f"{path}: there is no series {uid}; these are there: {_listed(found)}.")
