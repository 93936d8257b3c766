"""Sphinx configuration: the pages are plain Markdown, readable as they are; this only arranges them."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "duoseg"
author = "duoseg maintainers"
copyright = f"{author}, Apache-2.0"
version = release = installed_version("duoseg")

extensions = ["myst_nb"]
exclude_patterns = ["**/_*"]
myst_enable_extensions = ["dollarmath", "attrs_block"]
myst_heading_anchors = 4
# Links out of docs/ work in a checkout and have no page here; the test suite follows every relative link.
suppress_warnings = ["myst.xref_missing"]
# Notebooks are kept without results and run anew.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
html_theme = "furo"
html_title = f"duoseg {release}"
html_copy_source = False

SECTIONS = {
    "Tutorials": "tutorials/*.*",
    "How-to guides": "how-to/*.md",
    "Explanation": "explanation/*.md",
    "Reference": "reference/*.md",
    "Results": "results/*.md",
    "The project": "dependencies.md",
}


def add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    """Append the site's navigation to the front page, so that no Markdown file holds Sphinx's own syntax."""
    if page != app.config.root_doc:
        return
    for caption, pattern in SECTIONS.items():
        found = sorted(path.relative_to(app.srcdir).as_posix() for path in Path(app.srcdir).glob(pattern))
        if found:
            options = f":hidden:\n:caption: {caption}\n"
            source[0] += "\n".join(["", "```{toctree}", options, *found, "```", ""])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", add_navigation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
