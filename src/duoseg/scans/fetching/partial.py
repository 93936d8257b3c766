"""The part of a download that has come so far."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from duoseg.errors import InputError
from duoseg.files import read_json, write_text


@dataclass(frozen=True)
class Part:
    """What has come so far, and which version of the file it belongs to.

    Attributes:
        path: where it lies.
        url: where it comes from.
    """

    path: Path
    url: str

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def _tag_file(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def tag(self) -> str:
        """Return the server's mark of the version that the part belongs to; empty where it is not known."""
        try:
            known = read_json(self._tag_file)
            return known["tag"] if known["url"] == self.url else ""
        except (InputError, KeyError, TypeError):
            return ""

    def begin(self, tag: str) -> None:
        """Throw away what has come, and note which version comes now."""
        self.path.unlink(missing_ok=True)
        write_text(self._tag_file, json.dumps({"url": self.url, "tag": tag}))

    def remove(self) -> None:
        """Leave nothing behind."""
        self.path.unlink(missing_ok=True)
        self._tag_file.unlink(missing_ok=True)
