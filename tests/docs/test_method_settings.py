"""The page of settings has, of each method that it lists, every setting with its default, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

from duoseg.methods import method_names
from duoseg.methods.registry import find_method

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "method-settings.md"

ROW = re.compile(r"^\| (`\w+`)? ?\| (`\w+`)? ?\| ?([^|]*?) \| ", re.MULTILINE)


def default_text(value: object) -> str:
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:.6g}`"


def test_the_page_has_every_setting_with_its_default():
    told: dict[tuple[str, str], str] = {}
    method = ""
    for name, setting, default in ROW.findall(PAGE.read_text()):
        method = name.strip("`") or method
        told[method, setting.strip("`")] = default
    wanted = {}
    listed = {name for name, _ in told}
    assert listed <= {*method_names()} and len(listed) > 15
    for name in listed:  # a method needs its own file and nothing else, not even a line there
        fields = find_method(name).Settings.model_fields
        wanted |= {(name, key): default_text(field.default) for key, field in fields.items()} or {(name, ""): ""}
    assert told == wanted
