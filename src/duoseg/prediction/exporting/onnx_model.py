"""ONNX: the network alone, with words about what has to be around it."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from duoseg.errors import InputError
from duoseg.files import atomic_path
from duoseg.planning.plan import Plan
from duoseg.prediction.exporting.tracing import example, quietly
from duoseg.prediction.whole import Whole
from duoseg.version import __version__

INPUT = "image"
OUTPUT = "probabilities"
WHAT_IS_AROUND = (
    f"'{INPUT}' is a window of a scan: 1, channels, and voxels along right, anterior, superior at spacing_mm; of each "
    "channel the intensities say how it is normalised, over the box of the scan's non-zero voxels and before it is "
    f"resampled. '{OUTPUT}' are the probabilities of the classes, to be blended over windows and brought back to the "
    "scan's grid before the most probable class is taken. classes are in the order of the output: name, value in masks."
)


def write_onnx(path: Path, network: Whole, plan: Plan) -> None:
    """Write one window's network, from ``image`` (1, C, *patch) to ``probabilities`` (1, K + 1, *patch), float32.

    The model's metadata hold, each as JSON, what of the plan a program needs that cuts windows out of scans.

    Raises:
        InputError: the ``onnx`` extra is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it, and says so in a traceback
    except ImportError as fault:
        raise InputError("ONNX needs two packages more: pip install onnx onnxscript.") from fault
    with quietly(), torch.no_grad():
        program = torch.export.export(network, (example(plan),))
        exported = torch.onnx.export(program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT])
    assert exported is not None
    model = exported.model_proto
    model.producer_name, model.producer_version = "duoseg", __version__
    model.doc_string = WHAT_IS_AROUND
    for key, value in surroundings(plan).items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    with atomic_path(path) as temporary:
        onnx.save(model, temporary)


def surroundings(plan: Plan) -> dict[str, object]:
    """What of a plan is needed around its network."""
    return {
        "spacing_mm": plan.spacing,
        "patch": plan.patch,
        "channels": plan.channels,
        "intensities": [rule.model_dump(mode="json") for rule in plan.normalisation],
        "classes": [["background", 0], *([name, value] for name, value in plan.classes.items())],
        "window": plan.window.model_dump(mode="json"),
    }
