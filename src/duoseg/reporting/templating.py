"""What all pages share: the template engine, its filters, and the files beside the templates."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment() -> Environment:
    """A template engine that escapes all text and refuses names that it does not know."""
    return Environment(
        loader=PackageLoader("duoseg.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(name: str) -> str:
    """The text of a style sheet or script beside the templates."""
    return (resources.files("duoseg.reporting") / "templates" / name).read_text(encoding="utf-8")


def script_hash(script: str) -> str:
    """What a page's security policy calls the one script that may run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
