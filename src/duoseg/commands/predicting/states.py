"""What the files of scans and masks were like, so that another one in their place is noticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from duoseg.errors import InputError
from duoseg.files import located
from duoseg.scans.cases import Case
from duoseg.scans.copies import sample_of, visible_files
from duoseg.scans.formats import source_files, written_files
from duoseg.scans.leaks import folder_of


def state_of(case: Case) -> str:
    """What is another text once a file of a case is another: a digest of their sizes and times, and of pieces of some.

    An older file can replace a newer one, as from a backup, so the digest is of the time itself, and not of which is
    the newer one. Files that were unpacked together may have one size and time, and two of them may change places: so
    of one file, or of the first, the middle and the last of a series, some of the content counts, too.

    Raises:
        InputError: one of them is missing, or cannot be read.
    """
    try:
        files = files_of(case)
        states = [(file, file.stat()) for file in files]
        middle = len(files) // 2
        pieces = map(sample_of, dict.fromkeys([*files[:1], *files[middle : middle + 1], *files[-1:]]))
        content = b"".join(pieces)
    except OSError as fault:
        raise InputError(f"{fault.filename or case.images[0]}: cannot be read ({fault.strerror}).") from fault
    seen = repr([(located(file), state.st_size, state.st_mtime_ns) for file, state in states])
    return hashlib.sha256(seen.encode() + content).hexdigest()[:32]


def files_of(case: Case) -> list[Path]:
    """The files that a case's content lies in.

    Of series in folders all visible files there, so that not all headers have to be read for this.
    """
    found: list[Path] = []
    for image in case.images:
        place = folder_of(image)
        if place is None:
            found += source_files(image)
        else:
            found += sorted(visible_files(place[0]))
    return found


def digest_of(mask: Path) -> str:
    """That of a mask's content, of both its files where it has two."""
    content = hashlib.sha256()
    for file in written_files(mask):
        content.update(file.read_bytes())
    return content.hexdigest()[:32]
