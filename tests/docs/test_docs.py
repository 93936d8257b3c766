"""The documentation keeps its word: its Python runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, takewhile
from pathlib import Path

import pytest

from duoseg.cli import app

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])

FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+|~~~+)(?P<language>[^\n`]*)\n(?P<body>.*?)^(?P=indent)(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
INLINE_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
LINK = re.compile(r"\]\(\s*<?(?P<target>[^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HTML_LINK = re.compile(r"\b(?:src|href)=\"(?P<target>[^\"]+)\"")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(?P<target>[^\s>]+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(?P<title>.+?)\s*#*$", re.MULTILINE)
ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; ``line`` is that of its first line of content, counted from 1."""

    page: Path
    line: int
    language: str
    body: str


@dataclass(frozen=True)
class Command:
    """A ``$ duoseg ...`` line of a page, as the words a shell would pass."""

    page: Path
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{named(self.page)}:{self.line}: {shlex.join(self.words)}"


def named(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        indent = len(match["indent"])
        body = "".join(line[indent:] if line.strip() else line for line in match["body"].splitlines(True))
        yield Block(page, text.count("\n", 0, match.start("body")) + 1, match["language"].strip(), body)


def commands(page: Path) -> Iterator[Command]:
    for block in blocks(page):
        lines = iter(enumerate(block.body.splitlines(), start=block.line))
        for number, line in lines:
            if not line.startswith("$ duoseg"):
                continue
            while line.endswith("\\"):
                line = line[:-1] + next(lines)[1].removeprefix(">")
            words = shlex.split(line.removeprefix("$ "), comments=True)
            own = takewhile(lambda word: word not in {"|", "&&", ";", ">", "&"}, words[1:])
            yield Command(page, number, tuple(own))


def prose(page: Path) -> str:
    """The page's text without code, in which brackets mean no link."""
    return INLINE_CODE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))


def links(page: Path) -> Iterator[str]:
    text = prose(page)
    for kind in (LINK, HTML_LINK, REFERENCE):
        yield from (match["target"] for match in kind.finditer(text))


def anchors(page: Path) -> set[str]:
    """The names that a link may put after ``#``, formed as code hosts and the site do."""
    found: set[str] = set()
    for match in HEADING.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match["title"]).lower()
        slug = re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
        repeats = sum(1 for other in found if re.fullmatch(re.escape(slug) + r"(-\d+)?", other))
        found.add(f"{slug}-{repeats}" if repeats else slug)
    return found


PYTHON = [block for page in PAGES for block in blocks(page) if block.language == "python"]
PYTHON_BY_PAGE = [(page, list(group)) for page, group in groupby(PYTHON, key=lambda block: block.page)]
COMMANDS = [command for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "code"), PYTHON_BY_PAGE, ids=[named(page) for page, _ in PYTHON_BY_PAGE])
def test_python_blocks_of_a_page_run_in_order(
    page: Path, code: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "documentation"}
    for block in code:
        at_its_line = "\n" * (block.line - 1) + block.body
        exec(compile(at_its_line, str(page), "exec"), namespace)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_commands_and_options_in_the_pages_exist(command: Command) -> None:
    verbs, apps, rest = app.parse_commands(command.words)
    general = {*app.help_flags, *app.version_flags}
    if not verbs or verbs[0] in general:
        assert not rest, f"{command}: {rest[0]!r} is no command of duoseg"
        return
    options = {name for argument in apps[-1].assemble_argument_collection() for name in argument.names}
    options |= general
    for word in rest:
        name = word.partition("=")[0]
        if re.match(r"--?[A-Za-z]", name):
            known = ", ".join(sorted(option for option in options if option.startswith("-")))
            assert name in options, f"{command}: {verbs[0]} has no option {name}; it has {known}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    broken: list[str] = []
    for link in links(page):
        if ELSEWHERE.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        found = target.exists() and target.is_relative_to(REPOSITORY)
        if found and anchor and target.suffix == ".md":
            found = anchor in anchors(target)
        if not found:
            broken.append(link)
    assert not broken, f"{named(page)}: broken links {broken}"


def test_every_page_has_one_title() -> None:
    for page in PAGES:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        titles = re.findall(r"^# .+$|<h1\b", text, re.MULTILINE)
        assert len(titles) == 1, f"{named(page)}: {len(titles)} titles"
