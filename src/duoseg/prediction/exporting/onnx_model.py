"""ONNX: the network alone, with words about what has to be around it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import torch

from duoseg.errors import InputError
from duoseg.files import atomic_path
from duoseg.planning.plan import Plan
from duoseg.prediction.exporting.tracing import example, quietly
from duoseg.prediction.whole import Whole
from duoseg.version import __version__

PRODUCER = "duoseg"
INPUT = "image"
OUTPUT = "probabilities"
WHAT_IS_AROUND = (
    f"'{INPUT}' are windows of a scan: any number of them, channels, and voxels along right, anterior, superior. A "
    "scan is turned to these axes, cut to the box of its voxels that are not zero, normalised, and resampled linearly "
    "to spacing_mm, smoothed where it shrinks; one smaller than the patch gets a rim of zeros. intensities: 'zscore' "
    "takes off the mean and divides by the standard deviation of the channel's voxels that are not zero; 'ct' clips to "
    f"the window, takes off mean, divides by std. '{OUTPUT}' are those of the classes, which sum to 1: average them "
    "over windows with the weights that window tells of (a Gaussian's sigma is 1/8 of the patch's side, its floor 1e-4 "
    "of its top), resample them to the scan's grid, and take the most probable class there. classes are in the order "
    "of the output: name, value in masks."
)


def write_onnx(path: Path, network: Whole, plan: Plan) -> None:
    """Write the network of windows, from ``image`` (B, C, *patch) to ``probabilities`` (B, K + 1, *patch), float32.

    The model's metadata hold, each as JSON, what of the plan a program needs that cuts windows out of scans.
    """
    with quietly(), torch.no_grad():
        program = torch.export.export(network, (example(plan),), dynamic_shapes=({0: torch.export.Dim("batch")},))
        exported = torch.onnx.export(program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT])
    assert exported is not None
    model = exported.model_proto
    model.producer_name, model.producer_version = PRODUCER, __version__
    model.doc_string = WHAT_IS_AROUND
    for key, value in surroundings(plan).items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def is_own_model(path: Path) -> bool:
    """Whether a file is an ONNX model that duoseg wrote."""
    import onnx

    try:
        return onnx.load(path, load_external_data=False).producer_name == PRODUCER
    except Exception:  # whatever the reader says of a file that is no model
        return False


def require_onnx() -> None:
    """Find out early whether ONNX files can be written.

    Raises:
        InputError: the ``onnx`` extra is not installed.
    """
    for name in ("onnx", "onnxscript"):  # PyTorch's exporter needs the second, and says so in a traceback
        if importlib.util.find_spec(name) is None:
            raise InputError(f"ONNX needs {name}, which is not installed: pip install 'onnx>=1.17' 'onnxscript>=0.6'.")


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
