"""Which names of cases can be those of files: masks, cache files and pictures are called after them."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 180
"""Bytes of a name: file systems allow 255, and endings and temporary names take up to 60."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def name_fault(name: str) -> str | None:
    """Say why a case cannot have this name; None if it can.

    A name must be that of a file, in one folder, on every system: without separators or control characters, not hidden,
    not a device of Windows, not too long.
    """
    if not name.strip():
        return "is empty"
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST:
        return f"is longer than {LONGEST} bytes"
    if any(character in "/\\" for character in name):
        return "holds a path separator"
    if has_control(name):
        return "holds a control character, or bytes that are no text"
    if name.startswith("."):
        return "begins with a dot, as hidden files do"
    if _RESERVED.fullmatch(name):
        return "is that of a device on Windows"
    return None


def has_control(text: str) -> bool:
    """Return whether a text holds a control character (a null, a line break), or bytes that could not be decoded."""
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def cell_fault(name: str) -> str | None:
    """Say why a table cannot give this name to a case; None if it can: spreadsheets would take it for a formula."""
    if name.startswith(("=", "+", "-", "@")):
        return f"begins with {name[0]}, as formulas of spreadsheets do"
    return name_fault(name)


def shown(value: object, most: int = 80) -> str:
    """Return a value as it would be written in Python, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
