"""Unpacking an archive that is not to be trusted: the wanted files, nothing else, nowhere else, no more than announced.

Files are written under names made here, so that no member can choose a place; still an archive with a member that tries
is refused as a whole, since nothing good comes of the rest.
"""

from __future__ import annotations

import io
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from duoseg.errors import InputError
from duoseg.files import naming
from duoseg.progress import Progress

MOST_MEMBERS = 100_000
MOST_GROWTH = 20
"""Times the archive's size: scans are compressed already, and text grows tenfold at most."""

MOST_HEADER_BYTES = 2**20
BLOCK_BYTES = 2**20

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path, folder: Path, wanted: Sequence[str], *, files: Sequence[str] = (), progress: Progress | None = None
) -> None:
    """Unpack the wanted folders of a tar or zip archive into ``folder``, which appears when it is complete.

    A member ``top/imagesTr/a.nii.gz`` becomes ``folder/imagesTr/a.nii.gz``. Hidden files are left out: among them are
    those that macOS writes beside each file.

    Args:
        archive: a tar file (not compressed, which scans are already), or a zip file.
        folder: made anew; what an interrupted call left is replaced.
        wanted: folders directly within the archive's top folder; the first must be there.
        files: files that are wanted from the top folder itself.
        progress: told of members.

    Raises:
        InputError: it is no archive, is damaged, holds a member that is or leads outside, a link, a device, or too much
            of anything, holds nothing that is wanted, or the disk is too small.
    """
    partial = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with _members(archive) as members:
            found = [(member, place) for member in members if (place := _place(archive, member.name, wanted, files))]
            if not any(place.parts[0] == wanted[0] for _, place in found):
                raise InputError(f"{archive}: holds no folder {wanted[0]}, as it should; download it anew.")
            _require_sensible(archive, found, folder)
            for done, (member, place) in enumerate(found, start=1):
                _write(archive, member, partial / place)
                if progress is not None:
                    progress("unpack", done, len(found))
    except _DAMAGED as fault:
        raise InputError(
            f"{archive}: is no archive that can be read, or is damaged ({fault}); download it anew."
        ) from fault
    else:
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _members(archive: Path) -> Iterator[list[_Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield list(_zip_members(archive, opened))
    else:
        with archive.open("rb") as stream, tarfile.TarFile(fileobj=_Modest(stream)) as opened:
            yield list(_tar_members(archive, opened))


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> Iterator[_Member]:
    for number, info in enumerate(opened.infolist(), start=1):
        _require_count(archive, number)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _hostile(archive, info.filename, "is a link or a device")
        _require_inside(archive, info.filename)
        if not info.is_dir():
            yield _Member(info.filename, info.file_size, lambda info=info: opened.open(info))


def _tar_members(archive: Path, opened: tarfile.TarFile) -> Iterator[_Member]:
    if not hasattr(tarfile, "data_filter"):
        raise InputError(f"{archive}: this Python cannot unpack archives safely; use Python 3.11.4 or newer.")
    for number, info in enumerate(opened, start=1):
        _require_count(archive, number)
        _require_inside(archive, info.name)
        if info.isdir():
            continue
        if not info.isreg() or info.issparse():
            raise _hostile(archive, info.name, "is a link, a device or a file with holes")
        tarfile.data_filter(info, str(archive.parent))
        yield _Member(info.name, info.size, lambda info=info: opened.extractfile(info) or _nothing(archive))


def _nothing(archive: Path) -> IO[bytes]:
    raise InputError(f"{archive}: a member of it cannot be read; download it anew.")


def _place(archive: Path, name: str, wanted: Sequence[str], files: Sequence[str]) -> Path | None:
    parts = PurePosixPath(name).parts
    if any(part.startswith(".") for part in parts[-2:]):
        return None
    if len(parts) == 3 and parts[1] in wanted:
        return Path(parts[1], parts[2])
    return Path(parts[1]) if len(parts) == 2 and parts[1] in files else None


def _require_inside(archive: Path, name: str) -> None:
    plain = name.replace("\\", "/")
    if plain.startswith("/") or ":" in plain.partition("/")[0] or ".." in plain.split("/") or "\0" in plain:
        raise _hostile(archive, name, "leads out of its folder")


def _require_count(archive: Path, number: int) -> None:
    if number > MOST_MEMBERS:
        raise InputError(f"{archive}: holds more than {MOST_MEMBERS} members; do not use it.")


def _require_sensible(archive: Path, found: Sequence[tuple[_Member, Path]], folder: Path) -> None:
    if len({str(place).lower() for _, place in found}) < len(found):
        raise InputError(f"{archive}: holds two files of one name; do not use it.")
    total, size = sum(member.size for member, _ in found), archive.stat().st_size
    if total > MOST_GROWTH * size:
        raise InputError(
            f"{archive}: would grow from {size / 1e6:.3g} to {total / 1e6:.3g} MB when unpacked, as no archive of "
            "scans does; do not use it."
        )
    free = shutil.disk_usage(folder.parent).free
    if total > free:
        raise InputError(
            f"{folder.parent}: unpacking needs {total / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free; make room."
        )


def _write(archive: Path, member: _Member, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with naming(target), member.open() as source, target.open("xb") as stream:
        while block := source.read(BLOCK_BYTES):
            size += len(block)
            if size > member.size:
                raise _hostile(archive, member.name, "is larger than it announces")
            stream.write(block)
    if size != member.size:
        raise InputError(f"{archive}: is cut short within {member.name[:80]!r}; download it anew.")


def _hostile(archive: Path, name: str, what: str) -> InputError:
    return InputError(f"{archive}: its member {name[:80]!r} {what}; do not use it.")


class _Modest(io.RawIOBase):
    """A file whose reader may not ask for much at once: tar headers announce their own size."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes.

        Raises:
            tarfile.ReadError: it is unlimited, or more than any header of a scan's archive takes.
        """
        if not 0 <= size <= MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        """Go to a position."""
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()
