"""What a MONAI bundle of duoseg does besides MONAI's own transforms. It lies in the bundle, and needs no duoseg."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

ENDINGS = (".nii.gz", ".nii")
MOST_DEGREES = 0.1
"""Axes further than this from right angles are sheared."""
MILLIMETRES, UNKNOWN = 2, 0
"""Of ``xyzt_units``; all programs take unknown units for millimetres."""


def scans(folder: str, masks: str, channels: int) -> list[dict[str, list[str]]]:
    """The files of each scan in a folder, by channel: ``case_0000.nii.gz``, ``case_0001.nii.gz`` ... where several.

    Raises:
        ValueError: there is none, a channel is missing, or masks would replace scans or each other.
    """
    if os.path.realpath(folder) == os.path.realpath(masks):
        raise ValueError(f"{folder}: masks would replace the scans there: give another --output_dir")
    visible = (path for path in Path(folder).glob("*") if not path.name.startswith("."))
    files = sorted(str(path) for path in visible if path.name.endswith(ENDINGS))
    if not files:
        raise ValueError(f"{folder}: there is no .nii.gz or .nii file: give the folder of the scans by --dataset_dir")
    if channels == 1:
        entries = [{"image": [file]} for file in files]
    else:
        entries = [{"image": _all_channels(file, channels)} for file in files if _stem(file).endswith("_0000")]
    names = [case_name(entry["image"][0], files, channels) for entry in entries]
    ends = [{_stem(file)[:-5] for file in files if _stem(file).endswith(f"_{number:04d}")} for number in range(2)]
    of_several = channels == 1 and not ends[0].isdisjoint(ends[1])  # a second channel, and no second scan
    if len(set(names)) < len(names) or not names or of_several:
        raise ValueError(
            f"{folder}: its files are no {len(files)} scans of {channels} channels with names of their own"
        )
    return entries


def case_name(file: str, files: Sequence[str], channels: int) -> str:
    """What a scan's mask is called: without ``_0000`` where all files have the number of a channel."""
    known = {f"_{number:04d}" for number in range(channels)}
    return _stem(file)[:-5] if all(_stem(one)[-5:] in known for one in files) else _stem(file)


def plain(image: Any, channels: int) -> torch.Tensor:
    """A scan that may be segmented; voxels that are no number become the lowest of their channel.

    Args:
        image: (C, x, y, z), one of MONAI's tensors: with an ``affine`` and a header, ``meta``.
        channels: of the model.

    Raises:
        ValueError: it would be segmented wrongly: it has another number of channels or volumes, nothing says how it
            lies in space, in which unit, or its axes are not at right angles.
    """
    affine, header = np.asarray(image.affine, float), image.meta
    name = header.get("filename_or_obj", "a scan")
    if image.ndim != 4 or len(image) != channels:
        raise ValueError(f"{name}: has the shape {tuple(image.shape)}, but the model takes {channels} channels in 3-D")
    if not int(header.get("sform_code", 1)) and not int(header.get("qform_code", 1)):
        raise ValueError(f"{name}: nothing in its header says how it lies in space")
    if int(header.get("xyzt_units", UNKNOWN)) % 8 not in (MILLIMETRES, UNKNOWN):
        raise ValueError(f"{name}: its voxels are not measured in millimetres")
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > np.sin(np.radians(MOST_DEGREES)):
        raise ValueError(f"{name}: its axes are not at right angles, as of a tilted gantry: use `duoseg predict`")
    if not all(bool(one.isfinite().any()) for one in image):
        raise ValueError(f"{name}: a channel holds no number")
    return torch.stack([torch.where(one.isfinite(), one, one[one.isfinite()].min()) for one in image])


def content(image: torch.Tensor) -> torch.Tensor:
    """Where a scan is not zero; everywhere where it is nothing else."""
    return image != 0 if bool((image != 0).any()) else torch.ones_like(image, dtype=torch.bool)


def normalised(image: torch.Tensor, rules: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """Each channel by its rule: by its own voxels that are not zero, or in a window by fixed numbers."""
    channels = []
    for channel, rule in zip(image, rules, strict=True):
        if rule["scheme"] == "ct":
            channel, middle, spread = channel.clamp(*rule["window"]), rule["mean"], rule["std"]
        else:
            inside = channel[channel != 0].double()
            middle = float(inside.mean()) if len(inside) else 0.0
            spread = float(inside.std(unbiased=False)) if len(inside) else 1.0
        channels.append((channel - middle) / max(spread, 1e-6 * abs(middle), 1e-12))
    return torch.stack(channels)


def mask_of(probabilities: torch.Tensor, values: Sequence[int], largest: bool) -> torch.Tensor:
    """The most probable class of each voxel, (1, x, y, z), as its value; with ``largest`` its largest body alone."""
    indices = probabilities.argmax(dim=0).cpu().numpy()
    mask = np.zeros(indices.shape, np.int32)
    for index, value in enumerate(values, start=1):
        found = indices == index
        if largest and found.any():
            bodies, count = ndimage.label(found, np.ones((3, 3, 3)))
            found = bodies == 1 + int(np.argmax(np.bincount(bodies.ravel(), minlength=count + 1)[1:]))
        mask[found] = value
    return probabilities.new_tensor(mask[None], dtype=torch.int32)


def _stem(file: str) -> str:
    name = Path(file).name
    return name[: -len(next(ending for ending in ENDINGS if name.endswith(ending)))]


def _all_channels(first: str, channels: int) -> list[str]:
    start, ending = first[: first.rindex("_0000")], first[first.rindex("_0000") + 5 :]
    files = [f"{start}_{index:04}{ending}" for index in range(channels)]
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise ValueError(f"{missing[0]}: is missing; a scan has {channels} channels")
    return files
