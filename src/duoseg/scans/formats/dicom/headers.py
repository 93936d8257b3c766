"""DICOM files opened by pydicom: known by their content, and read without trusting any length they announce.

pydicom is imported where it is used, because importing it takes a quarter of a second.
"""

from __future__ import annotations

import io
import logging
import math
import threading
import warnings
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duoseg.errors import InputError
from duoseg.files import readable
from duoseg.scans.formats.contents import require_kind
from duoseg.scans.formats.streams import cut_short
from duoseg.scans.limits import require_memory

if TYPE_CHECKING:
    from pydicom import Dataset

HEAD_BYTES = 140
DEFLATED = "1.2.840.10008.1.2.1.99"

_VALUE_TYPES = (b"UL", b"UI", b"CS", b"OB", b"SH", b"LO", b"DA")
_MOST_FIRST_BYTES = 64  # of the value of a header's first element, where no file meta stands before it
_META_BYTES = 4096  # the file meta, at the start of a file, is far shorter
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_BLOCK = 1 << 20


class _Quiet:
    """Keep what pydicom and highdicom have to say about a file from the terminal; what matters is checked here.

    Levels and filters are the process's: of threads that want quiet the first makes it, and the last ends it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0
        self._end = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._wanted += 1
            if self._wanted > 1:
                return
            self._end.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            for name in ("pydicom", "highdicom"):
                logger = logging.getLogger(name)
                self._end.callback(logger.setLevel, logger.level)
                logger.setLevel(logging.CRITICAL + 1)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._wanted -= 1
            if not self._wanted:
                self._end.close()


quiet = _Quiet()


def is_dicom(path: Path) -> bool:
    """Return whether a file can be opened and is DICOM by its first bytes."""
    try:
        with path.open("rb") as file:
            return looks_like_dicom(file.read(HEAD_BYTES))
    except OSError:  # it is named when it is to be read
        return False


def looks_like_dicom(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` (140 bytes, or all) is DICOM.

    Old files lack the preamble; these begin with an element of group 2 or 8 of a known type, or with a short value.
    """
    if head[128:132] == b"DICM":
        return True
    if len(head) < 8 or head[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08") or max(head[2:4]) > 0x18:
        return False
    if head[4:6] in _VALUE_TYPES:
        return True
    return head[:1] != b"\0" and int.from_bytes(head[4:8], "little") <= _MOST_FIRST_BYTES


@dataclass(frozen=True, eq=False)
class Header:
    """The elements of one file, or of one item of a sequence in it.

    Attributes:
        path: the file, for messages.
        dataset: the elements.
    """

    path: Path
    dataset: Dataset

    def get(self, keyword: str) -> Any:
        """Return the value of an element, None where it is missing or empty; ``InputError`` where it is damaged."""
        try:
            value = self.dataset.get(keyword)
        except Exception as error:  # pydicom parses on access, and raises whatever the bytes make it raise
            raise damaged(self.path, f"{keyword}: {error}") from error
        return None if value is None or (hasattr(value, "__len__") and len(value) == 0) else value

    def text(self, keyword: str) -> str:
        """Return a value as one short line of text without semicolons; "" where it is missing."""
        value = self.get(keyword)
        return "" if value is None else one_line(value)[:64]

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return ``count`` finite numbers, None where the element is missing.

        Raises:
            InputError: the element holds something else.
        """
        value = self.get(keyword)
        if value is None:
            return None
        parts = [value] if isinstance(value, (str, float, int)) else value
        try:
            numbers = tuple(float(part) for part in parts)
        except (TypeError, ValueError, OverflowError) as error:
            raise damaged(self.path, f"{keyword} is {self.text(keyword)!r}") from error
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            raise damaged(self.path, f"{keyword} is {self.text(keyword)!r}, not {count} numbers")
        return numbers

    def number(self, keyword: str) -> float | None:
        """Return one finite number, None where the element is missing; ``InputError`` where it is something else."""
        numbers = self.numbers(keyword, 1)
        return None if numbers is None else numbers[0]

    def whole(self, keyword: str, default: int) -> int:
        """Return one whole number; ``InputError`` where the element is something else."""
        number = self.number(keyword)
        if number is not None and number != int(number):
            raise damaged(self.path, f"{keyword} is {number}")
        return default if number is None else int(number)

    def items(self, keyword: str) -> list[Header]:
        """Return the items of a sequence, none where it is missing; ``InputError`` where it is no sequence."""
        value = self.get(keyword)
        if value is None:
            return []
        if isinstance(value, (str, bytes)) or not all(hasattr(item, "get") for item in value):
            raise damaged(self.path, f"{keyword} is no sequence")
        return [Header(self.path, item) for item in value]

    def all_items(self) -> list[Header]:
        """Return the first item of each sequence in it; ``InputError`` where an element is damaged."""
        try:
            keywords = [element.keyword for element in self.dataset if element.VR == "SQ" and element.keyword]
        except Exception as error:  # as in `get`
            raise damaged(self.path, error) from error
        return [item for keyword in keywords for item in self.items(keyword)[:1]]

    @property
    def syntax(self) -> str:
        """UID of the transfer syntax; where the file does not say, that with which it could be read."""
        meta = getattr(self.dataset, "file_meta", None)
        stated = str(meta.get("TransferSyntaxUID") or "") if meta is not None else ""
        if stated:
            return stated
        implicit, little = self.dataset.original_encoding
        return "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"


def read_header(path: Path, keywords: Sequence[str] = ()) -> Header:
    """Read the elements before the pixel data, all of them or those named by ``keywords``.

    Raises:
        InputError: the file is missing, no DICOM file, or damaged.
    """
    return _read(path, stop_before_pixels=True, specific_tags=list(keywords) or None)


def read_whole(path: Path) -> Header:
    """Read all elements with the pixel data, as they are stored.

    Raises:
        InputError: the file is missing, no DICOM file, damaged, or larger than memory.
    """
    with readable(path):
        require_memory(path, path.stat().st_size)
    return _read(path)


def not_dicom(path: Path) -> InputError:
    """Return the error that a file without the marks of DICOM is empty, a Git LFS pointer, or something else."""
    try:
        require_kind(path, "DICOM")
    except InputError as error:
        return error
    except (OSError, EOFError, zlib.error):  # it seems packed, and cannot be unpacked
        pass
    return InputError(f"{path}: this is not a DICOM file; give the scan itself, or mend its name.")


def one_line(value: object) -> str:
    """Return what a file says as printable text on one line, without the semicolons that separate a remedy."""
    words = " ".join(str(value).replace(";", ",").split())
    return "".join(sign for sign in words if sign.isprintable())


def damaged(path: Path, what: object) -> InputError:
    """Return the error that a file holds what it must not."""
    return InputError(f"{path}: the file is damaged ({one_line(what)[:160]}); copy or download it again.")


class _Bounded(io.BufferedReader):
    """A file that is never asked for more than it holds: a damaged length would reserve as many bytes."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._end = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._end - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def _read(path: Path, **options: Any) -> Header:
    from pydicom import dcmread

    with readable(path):
        if not path.is_file():
            raise InputError(f"{path}: there is no such file.")
        with _Bounded(path) as file:
            if not looks_like_dicom(file.read(HEAD_BYTES)):
                raise not_dicom(path)
            file.seek(0)
            _require_unpackable(path, file)
            try:
                dataset = dcmread(file, force=True, **options)
            except Exception as error:  # whatever the bytes make pydicom raise
                raise damaged(path, error) from error
    return Header(path, dataset)


def _require_unpackable(path: Path, file: io.BufferedReader) -> None:
    """Refuse a deflated file whose content does not fit into memory: pydicom unpacks it all at once."""
    head = file.read(_META_BYTES)
    meta = head.find(_GROUP_LENGTH)
    if DEFLATED.encode() in head and meta >= 0:
        start = meta + len(_GROUP_LENGTH) + 4
        file.seek(start + int.from_bytes(head[start - 4 : start], "little"))
        inflate, size = zlib.decompressobj(wbits=-zlib.MAX_WBITS), 0
        while not inflate.eof and (packed := inflate.unconsumed_tail or file.read(_BLOCK)):
            try:
                size += len(inflate.decompress(packed, _BLOCK))
            except zlib.error as error:
                raise damaged(path, error) from error
            require_memory(path, size)
        if not inflate.eof:
            raise cut_short(path, "the end of its compressed data is missing")
    file.seek(0)
