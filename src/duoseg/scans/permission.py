"""Files and folders that the user may not read: not damaged, and not to be copied again."""

from __future__ import annotations

from duoseg.files import readable

__all__ = ["readable"]
