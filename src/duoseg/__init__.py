"""duoseg: from a few annotated 3-D scans and many raw ones to a segmenter.

One function a command::

    import duoseg

    run = duoseg.train("scans", "runs/first", labelled=4)
    duoseg.predict(["runs/first"], ["scans/imagesTs"], "masks")
    scores = duoseg.evaluate("masks", "scans/labelsTs")

``duoseg.load("runs/first")`` keeps a model in memory and predicts arrays. Importing this package is cheap; the
numerical libraries are imported at the first call.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from duoseg.version import __version__

if TYPE_CHECKING:
    from duoseg.commands.calibrate import calibrate
    from duoseg.commands.check import check
    from duoseg.commands.compare import compare
    from duoseg.commands.demo import demo
    from duoseg.commands.evaluate import evaluate
    from duoseg.commands.export import export
    from duoseg.commands.fetch import fetch
    from duoseg.commands.load import load
    from duoseg.commands.plan import plan
    from duoseg.commands.predict import predict
    from duoseg.commands.report import report
    from duoseg.commands.suggest import suggest
    from duoseg.commands.train import train
    from duoseg.commands.view import view

__all__ = [
    "__version__",
    "calibrate",
    "check",
    "compare",
    "demo",
    "evaluate",
    "export",
    "fetch",
    "load",
    "plan",
    "predict",
    "report",
    "suggest",
    "train",
    "view",
]

_MODULES = {name: f"duoseg.commands.{name}" for name in __all__ if name != "__version__"}


def __getattr__(name: str) -> Any:
    """Import a command's function at its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'duoseg' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
