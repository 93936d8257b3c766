"""A MONAI bundle: the network as TorchScript, and by which of MONAI's transforms scans come to it and masks from it.

The layout is that of MONAI's bundle specification. TorchScript is what the programs read that take bundles (MONAI's
deployment kit, MONAI Label); PyTorch recommends ``torch.export`` instead, which they do not read yet.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from duoseg.files import atomic_path
from duoseg.planning.plan import Normalisation, Plan
from duoseg.prediction.exporting.tracing import example, quietly
from duoseg.prediction.whole import Whole
from duoseg.prediction.windows import GAUSSIAN_SIGMA
from duoseg.version import __version__

MODEL = "models/model.ts"
METADATA = "configs/metadata.json"
INFERENCE = "configs/inference.json"
README = "docs/README.md"
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
TESTED_WITH = {"monai": "1.6.1", "fire": "0.7.1", "pytorch-ignite": "0.5.5", "nibabel": "5.4.2"}

Config = dict[str, Any]


def write_bundle(path: Path, network: Whole, plan: Plan, *, largest_component: bool) -> None:
    """Write the bundle as a ZIP archive of one folder, called after the file.

    Unpacked, ``python -m monai.bundle run`` segments a folder of NIfTI scans with it. MONAI resamples without smoothing
    what shrinks, so its masks are almost, not exactly, those of `duoseg.predict`.
    """
    configs = {
        METADATA: json.dumps(metadata(plan), indent=2),
        INFERENCE: json.dumps(inference(plan, largest_component=largest_component), indent=2),
    }
    # programs that take the network's file alone look for the same two in it
    extra, script = {Path(name).name: text for name, text in configs.items()}, io.BytesIO()
    with quietly(), torch.no_grad():
        torch.jit.save(torch.jit.trace(network, example(plan), check_trace=False), script, _extra_files=extra)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in {**configs, README: readme(plan), MODEL: script.getvalue()}.items():
            archive.writestr(f"{path.stem}/{name}", content)


def metadata(plan: Plan) -> Config:
    """``metadata.json``: what goes into the network and what comes out."""
    classes = ["background", *plan.classes]
    window = {"type": "image", "dtype": "float32", "spatial_shape": list(plan.patch), "is_patch_data": True}
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"exported by duoseg {__version__}"},
        "monai_version": TESTED_WITH["monai"],
        "pytorch_version": str(torch.__version__).partition("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {name: number for name, number in TESTED_WITH.items() if name != "monai"},
        "name": ", ".join(plan.classes),
        "task": f"Segmentation of {', '.join(plan.classes)}",
        "description": "Trained by duoseg from a few annotated scans and many raw ones.",
        "authors": "",
        "copyright": "",
        "network_data_format": {
            "inputs": {
                "image": {
                    **window,
                    "format": "magnitude",
                    "num_channels": len(plan.channels),
                    "value_range": [],
                    "channel_def": {str(index): name for index, name in enumerate(plan.channels)},
                }
            },
            "outputs": {
                "pred": {
                    **window,
                    "format": "segmentation",
                    "num_channels": len(classes),
                    "value_range": [0, 1],
                    "channel_def": {str(index): name for index, name in enumerate(classes)},
                }
            },
        },
    }


def inference(plan: Plan, *, largest_component: bool) -> Config:
    """``inference.json``: from a folder of NIfTI files to a folder of masks."""
    several = len(plan.channels) > 1
    first = "_0000.nii.gz" if several else ".nii.gz"
    files = [f"p[:-{len(first)}] + '_{index:04}.nii.gz'" for index in range(len(plan.channels))] if several else ["p"]
    return {
        "imports": ["$import glob", "$import os", "$import numpy", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/masks'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "datalist": f"$sorted(glob.glob(os.path.join(@dataset_dir, '*{first}')))",
        "network_def": f"$torch.jit.load(@bundle_root + '/{MODEL}', map_location='cpu')",
        "network": "$@network_def.to(@device).eval()",
        "preprocessing": {"_target_": "Compose", "transforms": preprocessing(plan)},
        "dataset": {
            "_target_": "Dataset",
            "data": f"$[{{'image': [{', '.join(files)}]}} for p in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": windows(plan),
        "postprocessing": {
            "_target_": "Compose",
            "transforms": postprocessing(plan, largest_component=largest_component),
        },
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
        "run": ["$@evaluator.run()"],
    }


def preprocessing(plan: Plan) -> list[Config]:
    """As `duoseg.planning.prepare`: upright, cut to what is not zero, normalised, resampled."""
    channels = ", ".join(normalised(index, rule) for index, rule in enumerate(plan.normalisation))
    return [
        {"_target_": "LoadImaged", "keys": "image", "reader": "NibabelReader"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        {
            "_target_": "CropForegroundd",
            "keys": "image",
            "source_key": "image",
            "select_fn": "$lambda x: x != 0",
            "allow_smaller": True,
        },
        {"_target_": "Lambdad", "keys": "image", "func": f"$lambda x: torch.stack([{channels}])"},
        {"_target_": "Spacingd", "keys": "image", "pixdim": list(plan.spacing), "mode": "bilinear"},
    ]


def normalised(channel: int, rule: Normalisation) -> str:
    """One channel's rule as an expression of the image x."""
    if rule.scheme == "ct":
        assert rule.window is not None
        low, high = rule.window
        return f"(x[{channel}].clamp({low}, {high}) - {rule.mean}) / {rule.std}"
    content = f"x[{channel}][x[{channel}] != 0]"
    return f"(x[{channel}] - {content}.mean()) / {content}.std(unbiased=False)"


def windows(plan: Plan) -> Config:
    """As `duoseg.prediction.inference`."""
    window = plan.window
    step = [window.step] * 3
    if window.stride is not None:
        step = [stride / side for stride, side in zip(window.stride, plan.patch, strict=True)]
    return {
        "_target_": "SlidingWindowInferer",
        "roi_size": list(plan.patch),
        "sw_batch_size": 1,
        "overlap": [max(1 - share, 0.0) for share in step],
        "mode": "gaussian" if window.blending == "gaussian" else "constant",
        "sigma_scale": GAUSSIAN_SIGMA,
    }


def postprocessing(plan: Plan, *, largest_component: bool) -> list[Config]:
    """Probabilities back to the scan's grid, then the most probable class, then the masks' values."""
    values = list(plan.classes.values())
    indices = list(range(1, len(values) + 1))
    kept = {
        "_target_": "KeepLargestConnectedComponentd",
        "keys": "pred",
        "applied_labels": indices,
        "is_onehot": False,
        "connectivity": 3,
    }
    named = {"_target_": "MapLabelValued", "keys": "pred", "orig_labels": [0, *indices], "target_labels": [0, *values]}
    return [
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
            "to_tensor": True,
        },
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        *([kept] if largest_component else []),
        *([named] if values != indices else []),
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "",
            "separate_folder": False,
            "output_name_formatter": (
                "$lambda meta, saver: {'idx': None, 'subject': "
                "os.path.basename(meta['filename_or_obj']).removesuffix('.nii.gz').removesuffix('_0000')}"
            ),
            # to the grid on which the mask is already: without it MONAI 1.6 stops at scans stored in another axis order
            "resample": True,
            "output_dtype": f"$numpy.{np.min_scalar_type(max(values)).name}",
        },
    ]


def readme(plan: Plan) -> str:
    """``README.md`` of the bundle."""
    ending = "_0000.nii.gz, _0001.nii.gz ... for its channels" if len(plan.channels) > 1 else ".nii.gz"
    values = ", ".join(f"{value} ({name})" for name, value in plan.classes.items())
    return f"""# {", ".join(plan.classes)}

A segmenter trained and exported by duoseg {__version__}. It takes scans ({", ".join(plan.channels)}) as NIfTI
files whose names end in {ending}, and writes masks on their grids, with the values {values}.

    pip install "monai[fire,ignite,nibabel]"
    python -m monai.bundle run --meta_file configs/metadata.json --config_file configs/inference.json \\
        --bundle_root . --dataset_dir IMAGES --output_dir MASKS

Not a medical device: look at every mask.
"""
