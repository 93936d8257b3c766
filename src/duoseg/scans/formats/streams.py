"""Reading a file of voxels to its last byte, whatever it is compressed with.

Voxels are read in one pass, into an array of the announced size, because a file that is too short must be named
as such, and a checksum at the end of compressed data is only verified by reading up to it.
"""

from __future__ import annotations

import bz2
import gzip
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BufferedIOBase, BufferedReader
from pathlib import Path, PurePosixPath

import numpy as np

from duoseg.errors import InputError
from duoseg.files import readable
from duoseg.scans.formats.contents import require_kind
from duoseg.scans.limits import require_memory

_ERRORS = (OSError, zlib.error, ValueError, OverflowError)
_BLOCK = 1 << 20
_MOST_SURPLUS = 1 << 30  # a file that goes on for longer after its voxels is no scan; unpacking it would take minutes


class _Inflater(BufferedIOBase):
    """The content of a zlib stream (RFC 1950), to be read forward; its checksum is verified at its end."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._file, self._inflate = file, zlib.decompressobj(wbits=47)  # zlib's or gzip's own header
        self._done = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Return ``size`` bytes (all that are left if negative), fewer only at the end."""
        most = sys.maxsize if size is None or size < 0 else size
        content = bytearray()
        while len(content) < most and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._file.read(_BLOCK)
            if not packed:
                raise EOFError("the end of the compressed data is missing")
            content += self._inflate.decompress(packed, min(most - len(content), _BLOCK))
        self._done += len(content)
        return bytes(content)

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._done


# By what data is packed with: how it is opened, and how much longer than itself its content can be at most. Deflate
# reaches 1032; bzip2 packs 45 MB of one byte into 40 bytes.
_PACKINGS: dict[str, tuple[Callable[[BufferedIOBase], BufferedIOBase], int]] = {
    "gzip": (lambda file: gzip.GzipFile(mode="rb", fileobj=file), 1100),
    "bzip2": (lambda file: bz2.BZ2File(file), 1_200_000),
    "zlib": (_Inflater, 1100),
}
_MAGICS = {b"\x1f\x8b": "gzip", b"BZ": "bzip2"}


@dataclass(frozen=True)
class Stream:
    """The content of a file, read from front to back.

    Attributes:
        path: the file, for messages.
        file: its content, unpacked.
        room: the most bytes that the content can have, by the size on disk.
    """

    path: Path
    file: BufferedIOBase
    room: int

    @property
    def is_plain(self) -> bool:
        """Whether the content is the file as it lies on disk."""
        return isinstance(self.file, BufferedReader)

    def unpacked(self, packing: str) -> AbstractContextManager[Stream]:
        """Return what is packed ("gzip", "bzip2", "zlib") from here on, to be used in a ``with`` statement."""
        return _unpacked(self, packing)

    def read_exactly(self, count: int, what: str) -> bytes:
        """Return the next ``count`` bytes; ``InputError`` where there are fewer, which names them as ``what``."""
        content = self.file.read(count)
        if len(content) < count:
            raise cut_short(self.path, f"{what} has {count} bytes, {len(content)} are there")
        return content

    def skip(self, count: int) -> None:
        """Go on to ``count`` bytes from here; ``InputError`` where the file cannot hold so many."""
        self._require_room(count)
        if self.is_plain:
            self.file.seek(count, os.SEEK_CUR)
        while not self.is_plain and count and (got := len(self.file.read(min(count, _BLOCK)))):
            count -= got

    def read_voxels(self, dtype: np.dtype, count: int, *, extra: int = 0) -> np.ndarray:
        """Read ``count`` values of ``dtype``, in native byte order.

        Args:
            dtype: as stored, with its byte order.
            count: at least 1.
            extra: bytes of memory that will be needed besides those of the voxels.

        Raises:
            InputError: the file is too short for them, or the memory too small.
        """
        nbytes = count * dtype.itemsize
        self._require_room(nbytes)
        require_memory(self.path, nbytes + extra)
        voxels = np.empty(count, dtype)
        view, done = voxels.view(np.uint8).data, 0
        while done < nbytes:
            got = self.file.readinto(view[done : done + (_BLOCK << 6)])
            if not got:
                raise cut_short(self.path, f"{nbytes} bytes of voxels are announced, {done} are there")
            done += got
        return voxels if dtype.isnative else voxels.byteswap(inplace=True).view(dtype.newbyteorder("="))

    def surplus(self) -> int:
        """Read on to the end, where checksums are verified, and return how many bytes that were.

        Raises:
            InputError: there are more than 1 GiB of them.
        """
        if self.is_plain:
            here = self.file.tell()
            return self.file.seek(0, os.SEEK_END) - here
        count = 0
        while got := len(self.file.read(_BLOCK)):
            count += got
            if count > _MOST_SURPLUS:
                raise InputError(
                    f"{self.path}: it goes on for more than 1 GiB after the voxels that its header announces; "
                    "copy or download it again."
                )
        return count

    def _require_room(self, count: int) -> None:
        end = self.file.tell() + count
        if count < 0 or end > self.room:
            size = self.path.stat().st_size
            raise cut_short(self.path, f"{end} bytes are announced, the file has {size}")


@contextmanager
def opened(path: Path, *kinds: str, packed: bool = True, errors: tuple[type[Exception], ...] = ()) -> Iterator[Stream]:
    """Open a file of one of these ``kinds`` ("NIfTI"), or of mere data where none is named, to be read.

    Content decides, not the name: a file compressed by gzip or bzip2 as a whole is unpacked, unless ``packed`` is
    false, because the header of the data says whether and how they are packed.
    While it is open, whatever goes wrong with the content becomes an ``InputError`` that begins with ``path``:
    what the standard library raises, and ``errors``, which are those of the library that parses it.

    Raises:
        InputError: the file is missing, unreadable, not of these kinds, damaged, or cut short.
    """
    try:
        with readable(path):
            require_kind(path, *kinds)
            with path.open("rb") as file:
                magic = file.read(2) if packed else b""
                file.seek(0)
                stream = Stream(path, file, path.stat().st_size)
                if magic in _MAGICS:
                    with stream.unpacked(_MAGICS[magic]) as unpacked:
                        yield unpacked
                else:
                    yield stream
    except InputError:
        raise
    except EOFError as error:
        raise cut_short(path, "its compressed data ends too early") from error
    except MemoryError as error:
        raise InputError(f"{path}: there is not enough memory to read it; crop or downsample it.") from error
    except (*_ERRORS, *errors) as error:
        what, why = " or ".join(kinds), " ".join(str(error).split())
        damaged = f"the file is damaged{f' or not {what}' if what else ''}"
        raise InputError(f"{path}: {damaged} ({why}); copy or download it again.") from error


@contextmanager
def _unpacked(stream: Stream, packing: str) -> Iterator[Stream]:
    unpack, expansion = _PACKINGS[packing]
    with unpack(stream.file) as file:
        yield Stream(stream.path, file, stream.room * expansion)


def cut_short(path: Path, how: str) -> InputError:
    """Return the error that says in which way a file is too short."""
    return InputError(f"{path}: the file is cut short: {how}; copy or download it again.")


def surplus_note(surplus: int, voxels: np.ndarray, shape: tuple[int, int, int]) -> tuple[str, ...]:
    """Return a note where a file holds at least one slice more than announced; fewer bytes are mere padding."""
    slice_bytes = shape[0] * shape[1] * voxels.itemsize
    if surplus < slice_bytes:
        return ()
    slices = surplus / slice_bytes
    return (f"the file holds {surplus} bytes ({slices:.3g} slices) more than its header announces; they were ignored",)


def beside(header: Path, name: str) -> Path:
    """Return the path of the data file that a header names.

    Raises:
        InputError: the name leads out of the header's folder, or there is no such file.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or re.match(r"[a-zA-Z]:|~", name) or not name.isprintable():
        raise InputError(
            f"{header}: names its data file by a path that leads out of its own folder ({ascii(name)[:200]}); put the "
            "data file beside the header, and give its bare name there."
        )
    data = header.parent / parts
    if not os.path.isfile(data):
        raise InputError(f"{header}: its data file {name[:200]} is missing; put it beside the header.")
    return data
