"""Finds methods: every module of this package that defines one, and those that other packages bring."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import traceback
from difflib import get_close_matches
from types import ModuleType

from duoseg.errors import InputError
from duoseg.methods import brought, method_names, own_names
from duoseg.methods.base import Method

CODES_APART = "+"
"""Between the digests of several codes, by which one run was trained."""


def find_method(name: str) -> type[Method]:
    """The class of the method called ``name``.

    Raises:
        InputError: there is no such method (the message gives the nearest name and all of them), or its file is at
            fault: it cannot be imported, does not define exactly one method, or that one lacks a part.
    """
    module = _module(name)
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise InputError(f"{module.__file__}: must define exactly one Method, and defines {len(found)}.")
    lacking = [part for part in dir(found[0]) if getattr(getattr(found[0], part, None), "__isabstractmethod__", False)]
    if lacking:
        raise InputError(f"{module.__file__}: {found[0].__name__} does not define {', '.join(lacking)}.")
    return found[0]


def source_of(name: str) -> str:
    """Where a method comes from: the first line of its file, which for a published one names its paper."""
    return (_module(name).__doc__ or "").strip().split("\n")[0]


def code_of(name: str) -> str:
    """A digest of a method's file without its comments and docstrings: another one learns otherwise, or may.

    "" where its source is not there, as of a compiled one.
    """
    try:
        tree = ast.parse(inspect.getsource(_module(name)))
    except OSError:
        return ""
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


def _module(name: str) -> ModuleType:
    if name not in method_names():
        near = get_close_matches(name, method_names(), n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise InputError(f"There is no method '{name}'.{hint} Methods: {', '.join(method_names())}.")
    elsewhere = brought().get(name, [])
    if elsewhere and name in own_names():
        raise InputError(
            f"The method '{name}' of {elsewhere[0].value} has the name of one of duoseg's own; give it another in the "
            "package's entry points."
        )
    if len(elsewhere) > 1:
        raise InputError(
            f"{len(elsewhere)} packages bring a method '{name}' ({', '.join(point.value for point in elsewhere)}); "
            "give one of them another name in its entry points, or uninstall it."
        )
    try:
        found = elsewhere[0].load() if elsewhere else importlib.import_module(f"duoseg.methods.{name}")
    except Exception as fault:  # whatever a file may do that somebody is just writing
        at = traceback.extract_tb(fault.__traceback__)[-1]
        where = "" if isinstance(fault, SyntaxError) else f" ({at.filename}, line {at.lineno})"
        raise InputError(
            f"The file of the method '{name}' cannot be imported: {type(fault).__name__}: {fault}{where}."
        ) from fault
    if not isinstance(found, ModuleType):
        raise InputError(
            f"The entry point of the method '{name}' stands for a {type(found).__name__}, not for a module; name the "
            "module alone, without a colon."
        )
    return found
