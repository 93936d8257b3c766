"""What the project imports is what it declares: in the package its dependencies, elsewhere also its extras."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
OPTIONAL = {"onnx", "onnxscript", "packaging", "tensorboard", "tensorboardx"}
"""Imported by the package where they are there; and what pytest itself stands on."""


def imported(folder: Path) -> set[str]:
    """The top names of all modules that files in a folder import."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names)


def declared(*extras: str) -> set[str]:
    wanted = [*PROJECT["dependencies"], *(one for extra in extras for one in EXTRAS[extra])]
    return {canonicalize_name(Requirement(one).name) for one in wanted}


@pytest.mark.parametrize(
    ("folder", "extras"), [("src", ()), ("tests", ("test", "browser")), ("benchmarks", ("test", "dev", "bench"))]
)
def test_everything_imported_is_declared(folder, extras):
    beside = [] if folder == "src" else [*(ROOT / folder).rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    own = {path.stem for path in beside} | {"duoseg"}
    known = packages_distributions()
    missing = set()
    for name in imported(ROOT / folder) - own:
        distributions = {canonicalize_name(one) for one in known.get(name, [name])}
        if not distributions & (declared(*extras) | OPTIONAL):
            missing.add(name)
    assert not missing
