"""Files of methods that somebody is just writing: what is wrong with them is told in a line."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

import duoseg.methods
from duoseg.errors import InputError
from duoseg.methods.registry import find_method, source_of

WHOLE = '''"""A new idea: Someone, 2027."""

from duoseg.methods.base import Method


class Idea(Method):
    def __init__(self, networks, settings):
        super().__init__(networks, settings)

    def forward(self, batch, progress):
        return {}

    def members(self, image):
        return []
'''

NUMBERS = itertools.count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(duoseg.methods, "__path__", [*duoseg.methods.__path__, str(tmp_path)])

    def write(text: str) -> str:
        name = f"idea_{next(NUMBERS)}"  # a module is imported once
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def test_a_whole_file_is_a_method_whose_first_line_says_where_it_comes_from(write):
    name = write(WHOLE)
    assert find_method(name).__name__ == "Idea"
    assert source_of(name) == "A new idea: Someone, 2027."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (WHOLE.replace("def members", "def member"), r"\.py: Idea does not define members\."),
        (WHOLE.replace("class Idea", "class Idea("), r"cannot be imported: SyntaxError: .*\.py, line 6"),
        (WHOLE.replace("import Method", "import Methods"), r"cannot be imported: ImportError: .*\.py, line 3\)"),
        (WHOLE + "\n\nclass Other(Idea):\n    pass\n", r"\.py: must define exactly one Method, and defines 2\."),
        ('"""Nothing."""\n', r"\.py: must define exactly one Method, and defines 0\."),
    ],
)
def test_a_faulty_file_is_told_with_its_name_and_place(write, text, told):
    with pytest.raises(InputError, match=told):
        find_method(write(text))
