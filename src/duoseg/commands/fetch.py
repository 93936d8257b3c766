"""``duoseg fetch``: a public data set in the standard layout."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

from duoseg.errors import InputError
from duoseg.files import UNFINISHED, StrPath, try_lock
from duoseg.progress import Progress
from duoseg.scans.fetching.catalogue import PublicSet, find_set
from duoseg.scans.fetching.decathlon import DESCRIPTION, convert, is_fetched
from duoseg.scans.fetching.download import download
from duoseg.scans.fetching.unpack import unpack


def fetch(name: str, to: StrPath, *, progress: Progress | None = None) -> Path:
    """Download a public data set, hold it to its published checksum, and lay it out to be trained on.

    Scans without public labels come into ``imagesUn``; ``SOURCE.txt`` holds licence, citation and checksum. After an
    interruption the same call goes on. Where the set is there already, nothing is done.

    Args:
        name: of a set in `duoseg.scans.fetching.catalogue.CATALOGUE`.
        to: the folder that becomes the data set; new, empty, or one that an earlier call began.
        progress: called with what is being done, how much of it is done and how much there is.

    Returns:
        The folder.

    Raises:
        InputError: the name is unknown, the folder holds something else, the file cannot be downloaded or has another
            checksum, or the archive is damaged or hostile.
    """
    return fetch_set(find_set(name), Path(to), progress=progress)


def fetch_set(public: PublicSet, to: Path, *, progress: Progress | None = None) -> Path:
    """Fetch a set that need not be in the catalogue; see `fetch`.

    Raises:
        InputError: as `fetch` does.
    """
    work = to / UNFINISHED
    if is_fetched(to, public):
        shutil.rmtree(work, ignore_errors=True)  # left where the very last step was interrupted
        return to
    _require_free(to, public)
    work.mkdir(parents=True, exist_ok=True)
    with (work / public.name).open("a") as begun:
        if not try_lock(begun):
            raise InputError(f"{to}: another `duoseg fetch` is at work here; wait for it, or choose another folder.")
        _fetch(public, work, to, progress)
    return to


def _fetch(public: PublicSet, work: Path, to: Path, progress: Progress | None) -> None:
    archive = work / Path(urlsplit(public.url).path).name
    unpacked, converted = work / "unpacked", work / "converted"
    if not unpacked.is_dir():
        shutil.rmtree(converted, ignore_errors=True)
        download(public.url, archive, public.checksum, progress=progress)
        unpack(archive, unpacked, public.layout.folders, files=(DESCRIPTION,), progress=progress)
    archive.unlink(missing_ok=True)
    converted.mkdir(exist_ok=True)
    convert(unpacked, converted, public, progress=progress)
    # What makes the folder a complete data set comes last; until then, the folder of what is not finished tells.
    for path in sorted(converted.iterdir(), key=lambda path: path.name == DESCRIPTION):
        path.replace(to / path.name)
    shutil.rmtree(work)


def _require_free(to: Path, public: PublicSet) -> None:
    if not to.exists():
        return
    if not to.is_dir():
        raise InputError(f"{to}: is no folder; choose another place.")
    begun = (to / UNFINISHED / public.name).is_file()
    if not begun and any(to.iterdir()):
        raise InputError(f"{to}: holds other files; choose a new or empty folder for {public.name}.")
