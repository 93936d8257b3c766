"""Files and folders that the user may not read: not damaged, and not to be copied again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from duoseg.errors import InputError


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
