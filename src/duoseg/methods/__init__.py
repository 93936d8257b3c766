"""One file a method. A method knows networks and losses; it knows no devices, files, ranks or precision."""

from __future__ import annotations

import pkgutil


def method_names() -> tuple[str, ...]:
    """The names of all methods, without importing them: a method's file is named after it."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in modules if name not in ("base", "registry")))
