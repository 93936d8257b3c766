"""``duoseg export``: a trained run as one file for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from duoseg.commands.replacing import require_replaceable
from duoseg.commands.runs import load_model
from duoseg.errors import InputError
from duoseg.files import StrPath, listed
from duoseg.prediction.exporting.monai_bundle import is_bundle, write_bundle
from duoseg.prediction.exporting.onnx_model import is_own_model, require_onnx, write_onnx
from duoseg.training.devices import use_threads

ExportFormat = Literal["onnx", "monai"]
ENDINGS = {"onnx": ".onnx", "monai": ".zip"}
WHAT = {"onnx": "model", "monai": "bundle"}


def export(
    runs: StrPath | Sequence[StrPath],
    out: StrPath,
    *,
    format: ExportFormat = "onnx",
    threads: int | None = None,
) -> Path:
    """Write a trained run, or the mean of several, as a file that needs no duoseg.

    Args:
        runs: a run folder, or several.
        out: the file, ``.onnx`` or ``.zip``; an earlier one is replaced.
        format: "onnx", the network of one window with what has to be around it as metadata; or "monai", a bundle (a
            ZIP archive) that also prepares scans and writes masks. What the run's settings say of flips is part of
            both, what they say of largest components of the bundle alone.
        threads: CPU threads.

    Returns:
        The file.

    Raises:
        InputError: a run cannot be read, the file's name ends otherwise, another program's file has it, or ONNX is not
            installed.
    """
    out = Path(out)
    if format not in get_args(ExportFormat):
        raise InputError(
            f"There is no format {format!r} to export to: give one of {', '.join(get_args(ExportFormat))}."
        )
    if out.suffix != ENDINGS[format]:
        other = next((name for name, ending in ENDINGS.items() if ending == out.suffix), None)
        hint = f", or --format {other}" if other else ""
        raise InputError(f"{out}: give a name that ends in {ENDINGS[format]}{hint}.")
    if format == "onnx":
        require_onnx()
    require_replaceable(out, what=WHAT[format], is_own=is_own_model if format == "onnx" else is_bundle)
    use_threads(threads)
    model = load_model(*listed(runs), device="cpu")
    if format == "onnx":
        write_onnx(out, model.network, model.plan)
    else:
        write_bundle(out, model.network, model.plan, largest_component=model.settings.largest_component)
    return out
