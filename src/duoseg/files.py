"""Writing files so that a reader never sees half of one, and reading descriptions that nobody has to trust."""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, time
from pathlib import Path
from typing import IO, Any

from duoseg.errors import InputError

CACHE = ".duoseg-cache"
"""Name of the folder of prepared scans, in the data set's own folder where nothing else is asked for."""

UNFINISHED = ".fetch"
"""Name of the folder for what is not finished, in one that becomes a data set: where it is, the set is not whole."""

MOST_TEXT_BYTES = 64 * 2**20
MOST_SCORES_BYTES = 2**31
"""Of scores: a scan and a class have some 350 bytes."""
"""Plans, settings, tables and lists are a thousand times smaller; what is larger is something else."""

_MOST_DIGITS = 20

StrPath = str | os.PathLike[str]


def listed(paths: StrPath | Sequence[StrPath]) -> list[StrPath]:
    """Several paths as they are, one as a list of it."""
    return [paths] if isinstance(paths, str | os.PathLike) else list(paths)


def final_name(path: Path) -> Path:
    """The path that a temporary path of `atomic_path` stands for; any other path as it is."""
    return path.with_name(re.sub(r"^\.[0-9a-f]{8}\.", "", path.name))


def require_writable(path: Path) -> None:
    """Make the folder of a file to be written later, and fail now if it cannot be.

    Raises:
        InputError: its folder cannot be made or written to, or something else than a file has its name.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise InputError(f"{path.parent}: cannot be made ({fault.strerror}): choose another place.") from fault
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: cannot be written there: choose another place.")
    _require_file_or_nothing(path)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path`` in one rename, on error it is removed.

    The temporary name keeps the whole file name as its ending, since several libraries choose a format by suffix.

    Raises:
        InputError: a folder, a device or a pipe has that name: a rename would take its place.
        OSError: it cannot be written, such as on a full disk; its ``filename`` is ``path`` where the system gave none.
    """
    _require_file_or_nothing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        with naming(path):
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _require_file_or_nothing(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is there, and is no file: choose another place.")


def located(path: StrPath) -> str:
    """A path as it is found from any folder: ``..`` is where a link leads to, and a link itself keeps its name."""
    path = Path(path)
    if path.name in ("", ".."):
        return os.path.realpath(path)
    return os.path.join(os.path.realpath(path.parent), path.name)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give the system's refusal to write (a full disk, a limit) the name that it lacks.

    Raises:
        OSError: as it came, with ``path`` as its ``filename`` where it had none.
    """
    try:
        yield
    except OSError as fault:
        if fault.filename is not None or fault.errno is None:
            raise
        raise OSError(fault.errno, fault.strerror or str(fault), str(path)) from fault


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file until it is closed; False where another process has.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock of this name, hold it, and remove its file at the end.

    Raises:
        OSError: the folder cannot be written to, or its file system has no locks.
    """
    lock = _taken(path, _wait_for)
    assert lock is not None  # it was waited for
    with lock:
        yield
        path.unlink(missing_ok=True)


@contextmanager
def held(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock of this name, and remove its file at the end; where the file system has none, hold nothing.

    Raises:
        InputError: another process holds it; with the words of ``refusal``.
    """
    try:
        lock = _taken(path, try_lock)
    except OSError:
        lock = path.open("w")
    if lock is None:
        raise InputError(refusal)
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _wait_for(file: IO[Any]) -> bool:
    fcntl.flock(file, fcntl.LOCK_EX)
    return True


def _taken(path: Path, take: Callable[[IO[Any]], bool]) -> IO[Any] | None:
    """The open file of a lock that is this process's now; None where it could not be taken."""
    while True:
        lock = path.open("w")
        if not take(lock):
            lock.close()
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        lock.close()  # its holder removed it in the meantime


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the system's refusal to read ``path`` into a message.

    Raises:
        InputError: there is no permission to read it.
    """
    try:
        yield
    except PermissionError as error:
        raise InputError(
            f"{path}: there is no permission to read it; change its access rights, or ask its owner."
        ) from error


def read_text(path: Path, *, limit: int = MOST_TEXT_BYTES) -> str:
    """Read a UTF-8 text (a byte-order mark is dropped) of at most ``limit`` bytes.

    Raises:
        InputError: it is missing, no ordinary file, not to be read by this user, too large, or not UTF-8.
    """
    try:
        with readable(path):
            # A pipe would block for ever on opening, a device never end.
            if not stat.S_ISREG(path.stat().st_mode):
                raise InputError(f"{path}: cannot be read: it is no ordinary file; give a text file.")
            with path.open("rb") as file:
                content = file.read(limit + 1)
    except InputError:
        raise
    except OSError as fault:
        raise InputError(f"{path}: cannot be read ({fault.strerror}); check the name and the place.") from fault
    except ValueError as fault:  # a null character in the name
        raise InputError(f"{str(path)!r}: cannot be the name of a file; mend the name.") from fault
    if len(content) > limit:
        size = f"{limit / 2**20:.0f} MiB" if limit >= 2**20 else f"{limit} bytes"
        raise InputError(
            f"{path}: is larger than {size}, which no file of its kind is; check that it is the right one."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise InputError(
            f"{path}: is not text in UTF-8 ({fault.reason} at byte {fault.start}); save it anew."
        ) from fault


def read_json(path: Path, *, limit: int = MOST_TEXT_BYTES) -> Any:
    """Read a JSON file of at most ``limit`` bytes, whose numbers are finite and whose whole ones fit into 64 bits.

    Raises:
        InputError: it cannot be read as text, is not valid JSON, is nested too deeply, or holds other numbers.
    """
    text = read_text(path, limit=limit)
    with _parsing(path, "JSON"):
        return json.loads(text, parse_float=_finite, parse_int=_whole, parse_constant=_finite)


def read_toml(path: Path, *, limit: int = MOST_TEXT_BYTES) -> dict[str, Any]:
    """Read a TOML file of at most ``limit`` bytes, with finite numbers, whole ones of up to 64 bits, and no dates.

    Raises:
        InputError: it cannot be read as text, is not valid TOML, is nested too deeply, or holds other values.
    """
    text = read_text(path, limit=limit)
    with _parsing(path, "TOML"):
        values = tomllib.loads(text, parse_float=_finite)
        _require_plain(values)
    return values


@contextmanager
def _parsing(path: Path, language: str) -> Iterator[None]:
    try:
        yield
    except RecursionError as fault:
        raise InputError(
            f"{path}: is not valid {language} here: it is nested too deeply; mend or remove it."
        ) from fault
    except ValueError as fault:
        raise InputError(f"{path}: is not valid {language} ({fault}); mend or remove it.") from fault


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def _whole(text: str) -> int:
    # The length first: reading a number takes the square of its digits.
    if len(text) > _MOST_DIGITS or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"{text[:20]}... is beyond 64 bits")
    return int(text)


def _require_plain(values: Any) -> None:
    """Hold the whole numbers of a TOML document to what its standard asks for, and refuse dates, which it allows."""
    if isinstance(values, date | time):
        raise ValueError(f"{values} is a date or a time, which no setting is")
    if isinstance(values, int):
        if not -(2**63) <= values < 2**63:
            raise ValueError("a whole number is beyond 64 bits")
    elif isinstance(values, dict | list):
        for value in values.values() if isinstance(values, dict) else values:
            _require_plain(value)
