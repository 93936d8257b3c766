"""The peer in `predicting.py`, MONAI's usual chain; ``_predict_monai.py RUN SCANS OUT SECONDS``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from monai.data import Dataset, decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    MapTransform,
    NormalizeIntensityd,
    Orientationd,
    SaveImaged,
    ScaleIntensityRanged,
    Spacingd,
)

from duoseg.commands.runs import PLAN, build_method, load_plan
from duoseg.config import CONFIG, load_config
from duoseg.planning.plan import Normalisation
from duoseg.training.checkpoint import WEIGHTS, load_weights


def main(run: Path, scans: Path, out: Path, seconds: Path) -> None:
    """Predict all scans of a folder; write the CPU seconds that it took into a file."""
    torch.set_num_threads(1)
    plan = load_plan(run / PLAN)
    method = build_method(load_config(run / CONFIG), plan)
    load_weights(run / WEIGHTS, method)
    network = method.get_submodule("region").eval()
    before = Compose(
        [
            LoadImaged("image", image_only=True),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            *normalised(plan.normalisation[0]),
            Spacingd("image", pixdim=plan.spacing, mode="bilinear"),
        ]
    )
    after = Compose(
        [
            Activationsd("pred", softmax=True),
            Invertd("pred", transform=before, orig_keys="image", nearest_interp=False, to_tensor=True),
            AsDiscreted("pred", argmax=True),
            SaveImaged(
                "pred",
                output_dir=str(out),
                output_postfix="",
                separate_folder=False,
                print_log=False,
                output_dtype="uint8",
            ),
        ]
    )
    infer = SlidingWindowInferer(plan.patch, sw_batch_size=4, overlap=plan.window.step, mode="gaussian")
    began = time.process_time()
    files = [{"image": str(path)} for path in sorted(scans.iterdir())]
    with torch.inference_mode():
        for item in Dataset(files, before):
            batch = list_data_collate([item])
            batch["pred"] = infer(batch["image"], network)
            for one in decollate_batch(batch):
                after(one)
    seconds.write_text(json.dumps(time.process_time() - began))


def normalised(rule: Normalisation) -> list[MapTransform]:
    """MONAI's transform for a channel's rule."""
    if rule.scheme == "ct":
        assert rule.window is not None and rule.mean is not None and rule.std is not None
        low, high = rule.window
        return [
            ScaleIntensityRanged(
                "image", low, high, (low - rule.mean) / rule.std, (high - rule.mean) / rule.std, clip=True
            )
        ]
    return [NormalizeIntensityd("image", nonzero=True)]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
