"""One file a method. A method knows networks and losses; it knows no devices, files, ranks or precision."""

from __future__ import annotations

import pkgutil
from importlib.metadata import EntryPoint, entry_points

GROUP = "duoseg.methods"
"""The entry points by which other packages bring methods of their own."""


def method_names() -> tuple[str, ...]:
    """The names of all methods, without importing them: those of files here, and of other packages' entry points."""
    return tuple(sorted({*own_names(), *brought()}))


def own_names() -> set[str]:
    """Those that have a file here; one whose name begins with an underscore is what several share."""
    modules = {module.name for module in pkgutil.iter_modules(__path__)}
    return {name for name in modules if not name.startswith("_") and name not in ("base", "registry")}


def brought() -> dict[str, list[EntryPoint]]:
    """Those that other packages bring, by name: each stands for a module, one if no two packages are at odds."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for point in entry_points(group=GROUP):  # a package can be found twice, as on two paths
        found.setdefault(point.name, {})[point.value] = point
    return {name: [*points.values()] for name, points in found.items()}
