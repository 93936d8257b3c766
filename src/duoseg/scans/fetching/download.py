"""Downloading one large file: goes on where it stopped, and is whole or not there.

The standard library does it: `pooch` and its like start over after every cut, which for 30 GB is no help, and an HTTP
client of its own brings a dozen packages for one request.
"""

from __future__ import annotations

import hashlib
import http.client
import math
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

from duoseg.errors import InputError
from duoseg.files import naming
from duoseg.progress import Progress
from duoseg.scans.fetching.catalogue import Checksum
from duoseg.scans.fetching.partial import Part
from duoseg.version import __version__

BLOCK_BYTES = 2**20
ATTEMPTS = 5
"""In a row without a single new byte."""

TIMEOUT_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 60.0
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which it is worth asking again."""


class _Interrupted(Exception):
    """The connection failed in a way that may pass."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def download(
    url: str,
    target: Path,
    checksum: Checksum,
    *,
    progress: Progress | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Download ``url`` to ``target`` and hold it to its checksum; a target that is there is held to it as well.

    What comes is kept beside the target as ``<name>.part``. A later call asks for the rest only, if the server still
    has the same version of the file; if it cannot send a rest, or has another version, the file is begun anew.

    Args:
        url: of the file, by HTTP or HTTPS.
        target: where it shall lie.
        checksum: a file that does not have it is removed.
        progress: told of megabytes.
        pause: waits so many seconds before another attempt.

    Raises:
        InputError: the server has no such file or cannot be reached, the disk is too small, or the file has another
            checksum.
    """
    part = Part(target.with_name(f"{target.name}.part"), url)
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        _complete(part, progress, pause)
        part.path.replace(target)
    try:
        require_checksum(target, checksum)
    except InputError:
        target.unlink()
        raise
    finally:
        part.remove()


def require_checksum(file: Path, checksum: Checksum) -> None:
    """Hold a file to its published checksum.

    Raises:
        InputError: it has another.
    """
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.new(checksum.algorithm, usedforsecurity=False)).hexdigest()
    if found != checksum.value:
        raise InputError(
            f"{file}: has the {checksum.algorithm.upper()} {found}, but {checksum.value} was published "
            f"({checksum.source}); it was removed, so try again, and if it stays so the file on the server has changed."
        )


def _complete(part: Part, progress: Progress | None, pause: Callable[[float], None]) -> None:
    failures, before = 0, part.size
    while True:
        try:
            return _fetch_rest(part, progress)
        except _Interrupted as fault:
            failures = 1 if part.size > before else failures + 1
            before = part.size
            if failures >= ATTEMPTS:
                raise InputError(
                    f"{part.url}: cannot be downloaded ({fault}); what has come ({before / 1e6:.1f} MB) is kept, so "
                    "try again later, and it goes on from there."
                ) from fault
            pause(min(LONGEST_WAIT_SECONDS, max(fault.wait, 2.0 ** (failures - 1))))


def _fetch_rest(part: Part, progress: Progress | None) -> None:
    begun, tag = part.size, part.tag()
    headers = {"User-Agent": f"duoseg/{__version__}", "Accept-Encoding": "identity"}
    if begun and tag:
        headers |= {"Range": f"bytes={begun}-", "If-Range": tag}
    try:
        with _open(urllib.request.Request(part.url, headers=headers)) as answer:
            if answer.status != 206 or _first_byte(answer.headers) != begun or not (begun and tag):
                begun = 0
                part.begin(_tag(answer.headers))
            length = answer.headers.get("Content-Length", "")
            total = begun + int(length) if length.isdecimal() else None
            _require_room(part.path, (total or 0) - begun)
            _store(answer, part, total, progress)
    except urllib.error.HTTPError as fault:
        if fault.code == 416:
            if fault.headers.get("Content-Range", "") == f"bytes */{begun}":
                return  # there is no rest: all has come
            part.remove()
        elif fault.code not in PASSING:
            raise InputError(
                f"{part.url}: the server answers {fault.code} ({fault.reason}); look for a newer place."
            ) from fault
        raise _Interrupted(f"the server answers {fault.code}", _retry_after(fault.headers)) from fault
    except http.client.HTTPException as fault:
        raise _Interrupted(str(fault) or type(fault).__name__) from fault


def _open(request: urllib.request.Request) -> Any:
    if not request.full_url.startswith(("https://", "http://")):
        raise InputError(f"{request.full_url}: is no address on the web; use one that begins with https.")
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError:
        raise
    except OSError as fault:  # also URLError
        raise _Interrupted(str(getattr(fault, "reason", fault)) or type(fault).__name__) from fault


def _store(answer: Any, part: Part, total: int | None, progress: Progress | None) -> None:
    limit = math.inf if total is not None else part.size + shutil.disk_usage(part.path.parent).free // 2
    size = part.size
    with naming(part.path), part.path.open("ab") as stream:
        while block := _read(answer):
            stream.write(block)
            size += len(block)
            if size > limit:
                raise InputError(
                    f"{part.url}: is larger than half of the free disk, and its size is not announced; make room."
                )
            if progress is not None:
                progress("download", size // 10**6, (total or size) // 10**6, "MB")
    if total is not None and size != total:
        raise _Interrupted(f"the connection was cut after {size} of {total} bytes")


def _read(answer: Any) -> bytes:
    # Only what the connection raises may pass: a full disk, which raises alike, does not.
    try:
        return answer.read(BLOCK_BYTES)
    except OSError as fault:
        raise _Interrupted(str(fault) or type(fault).__name__) from fault


def _require_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise InputError(
            f"{path.parent}: the download needs {needed / 1e9:.2f} GB more, and {free / 1e9:.2f} GB are free; make "
            "room, or choose another place."
        )


def _tag(headers: Message) -> str:
    """Return what names this version of the file exactly; a weak tag does not."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _first_byte(headers: Message) -> int:
    match = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def _retry_after(headers: Message) -> float:
    seconds = headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else 0.0
