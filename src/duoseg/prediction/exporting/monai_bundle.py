"""A MONAI bundle: the network as TorchScript, and by which of MONAI's transforms scans come to it and masks from it.

The layout is that of MONAI's bundle specification, without ``models/model.pt``: weights alone would need duoseg.
TorchScript is what the programs read that take bundles (MONAI's deployment kit, MONAI Label); PyTorch recommends
``torch.export`` instead, which they do not read yet.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from duoseg.errors import InputError
from duoseg.files import atomic_path
from duoseg.planning.plan import Plan
from duoseg.prediction.exporting import scripts
from duoseg.prediction.exporting.tracing import example, quietly, used
from duoseg.prediction.whole import Whole
from duoseg.prediction.windows import GAUSSIAN_SIGMA
from duoseg.version import __version__

MODEL = "models/model.ts"
METADATA = "configs/metadata.json"
INFERENCE = "configs/inference.json"
SCRIPTS = "scripts/__init__.py"
README = "docs/README.md"
EXPORTED = "exported by duoseg"
SIGNS = "%$@"
"""What MONAI's configurations begin references and expressions with."""
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
TESTED_WITH = {"monai": "1.6.1", "fire": "0.7.1", "nibabel": "5.4.2", "pytorch-ignite": "0.5.5", "scipy": "1.17.1"}

Config = dict[str, Any]


def write_bundle(path: Path, network: Whole, plan: Plan, *, largest_component: bool) -> None:
    """Write the bundle as a ZIP archive of one folder, called after the file.

    Unpacked, ``python -m monai.bundle run`` segments a folder of NIfTI scans with it. MONAI lays windows a little
    otherwise, and resamples without smoothing what shrinks, so its masks are almost those of `duoseg.predict`.

    Raises:
        InputError: a channel or class has a name that means something else in MONAI's configurations.
    """
    for name in (*plan.channels, *plan.classes):
        if name[:1] in SIGNS:
            raise InputError(f"'{name}': MONAI reads names that begin with {name[:1]} as something else; rename it.")
    configs = {
        METADATA: json.dumps(metadata(plan), indent=2),
        INFERENCE: json.dumps(inference(plan, largest_component=largest_component), indent=2),
    }
    # programs that take the network's file alone look for the same two in it
    extra, script = {Path(name).name: text for name, text in configs.items()}, io.BytesIO()
    with quietly(), torch.no_grad():
        asked = used(network, example(plan))
        torch.jit.save(torch.jit.trace(asked, example(plan), check_trace=False), script, _extra_files=extra)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        source = Path(scripts.__file__).read_text(encoding="utf-8")
        for name, content in {**configs, SCRIPTS: source, README: readme(plan), MODEL: script.getvalue()}.items():
            archive.writestr(f"{path.stem}/{name}", content)


def is_bundle(path: Path) -> bool:
    """Whether a file is a bundle that `write_bundle` wrote."""
    try:
        with zipfile.ZipFile(path) as archive:
            readmes = [name for name in archive.namelist() if name.endswith(f"/{README}")]
            return any(EXPORTED.encode() in archive.read(name) for name in readmes)
    except Exception:  # whatever the reader says of a file that is no archive, or a damaged or locked one
        return False


def metadata(plan: Plan) -> Config:
    """``metadata.json``: what goes into the network and what comes out."""
    classes = ["background", *plan.classes]
    window = {"type": "image", "dtype": "float32", "spatial_shape": list(plan.patch), "is_patch_data": True}
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"{EXPORTED} {__version__}"},
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
                    "format": "hounsfield" if plan.normalisation[0].scheme == "ct" else "magnitude",
                    "modality": plan.channels[0],
                    "num_channels": len(plan.channels),
                    "value_range": [],
                    "channel_def": {str(index): name for index, name in enumerate(plan.channels)},
                }
            },
            "outputs": {
                "pred": {
                    **window,
                    "format": "labels",
                    "num_channels": len(classes),
                    "value_range": [0, 1],
                    "channel_def": {str(index): name for index, name in enumerate(classes)},
                }
            },
        },
    }


def inference(plan: Plan, *, largest_component: bool) -> Config:
    """``inference.json``: from a folder of NIfTI files to a folder of masks."""
    return {
        "imports": ["$import numpy", "$import scripts", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/masks'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": f"$torch.jit.load(@bundle_root + '/{MODEL}', map_location='cpu')",
        "network": "$@network_def.to(@device).eval()",
        "rules": [rule.model_dump(mode="json") for rule in plan.normalisation],
        "preprocessing": {"_target_": "Compose", "transforms": preprocessing(plan)},
        "datalist": f"$scripts.scans(@dataset_dir, @output_dir, {len(plan.channels)})",
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
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
    """Much as `duoseg.planning.prepare`: upright, cut to what is not zero, normalised, resampled."""
    return [
        {"_target_": "LoadImaged", "keys": "image", "reader": "NibabelReader"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"},
        {"_target_": "Lambdad", "keys": "image", "func": f"$lambda x: scripts.plain(x, {len(plan.channels)})"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        {
            "_target_": "CropForegroundd",
            "keys": "image",
            "source_key": "image",
            "select_fn": "$scripts.content",
            "allow_smaller": True,
        },
        {"_target_": "Lambdad", "keys": "image", "func": "$lambda x: scripts.normalised(x, @rules)"},
        {"_target_": "Spacingd", "keys": "image", "pixdim": list(plan.spacing), "mode": "bilinear"},
    ]


def windows(plan: Plan) -> Config:
    """Much as `duoseg.prediction.inference`: windows begin at other voxels, and their rims count for a little more."""
    window = plan.window
    step = [window.step] * 3
    if window.stride is not None:
        step = [stride / side for stride, side in zip(window.stride, plan.patch, strict=True)]
    return {
        "_target_": "SlidingWindowInferer",
        "roi_size": list(plan.patch),
        "sw_batch_size": 4,
        "overlap": [max(1 - share, 0.0) for share in step],
        "mode": "gaussian" if window.blending == "gaussian" else "constant",
        "sigma_scale": GAUSSIAN_SIGMA,
    }


def postprocessing(plan: Plan, *, largest_component: bool) -> list[Config]:
    """Probabilities back to the scan's grid, then the most probable class, then the masks' values."""
    values = list(plan.classes.values())
    return [
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
            "to_tensor": True,
        },
        {
            "_target_": "Lambdad",
            "keys": "pred",
            "func": f"$lambda x: scripts.mask_of(x, {values}, {largest_component})",
        },
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "",
            "separate_folder": False,
            # MONAI takes one more ending off
            "output_name_formatter": (
                "$lambda meta, saver: {'idx': None, 'subject': scripts.case_name(meta['filename_or_obj'], "
                f"[one for entry in @datalist for one in entry['image']], {len(plan.channels)}) + '.nii.gz'}}"
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

A segmenter trained and {EXPORTED} {__version__}. It takes scans ({", ".join(plan.channels)}) as NIfTI
files whose names end in {ending}, and writes masks on their grids, with the values {values}.

    pip install "monai[fire,ignite,nibabel,scipy]"
    python -m monai.bundle run --meta_file configs/metadata.json --config_file configs/inference.json \\
        --bundle_root . --dataset_dir IMAGES --output_dir MASKS

Scans that would be segmented wrongly (axes not at right angles, nothing in the header about how they lie in space,
another number of channels) end the run with the file's name. There is no models/model.pt: the network is TorchScript,
which `monai.bundle.load` reads with load_ts_module=True.

Not a medical device: look at every mask.
"""
