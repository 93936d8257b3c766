"""Finds methods: every module of this package that defines one."""

from __future__ import annotations

import importlib
import pkgutil
from difflib import get_close_matches

import duoseg.methods
from duoseg.errors import InputError
from duoseg.methods.base import Method


def method_names() -> tuple[str, ...]:
    """The names of all methods, without importing them: a method's file is named after it."""
    modules = (module.name for module in pkgutil.iter_modules(duoseg.methods.__path__))
    return tuple(sorted(name for name in modules if name not in ("base", "registry")))


def find_method(name: str) -> type[Method]:
    """The class of the method called ``name``.

    Raises:
        InputError: there is no such method; the message gives the nearest name and all of them.
    """
    if name not in method_names():
        near = get_close_matches(name, method_names(), n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise InputError(f"There is no method '{name}'.{hint} Methods: {', '.join(method_names())}.")
    module = importlib.import_module(f"duoseg.methods.{name}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} must define exactly one Method, found {len(found)}.")
    return found[0]
