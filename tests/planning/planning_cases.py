"""Small scans, plans and data sets on disk, shared by the planning tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from duoseg.planning.plan import NetworkPlan, Normalisation, Plan
from duoseg.scans.cases import Case
from duoseg.scans.dataset import Dataset
from duoseg.scans.scan import Grid

OBLIQUE = np.array([[0.9, 0.1, 0.0], [-0.1, 0.9, 0.1], [0.0, -0.1, 1.0]])


def plan(**changes) -> Plan:
    values: dict[str, Any] = {
        "channels": ("MRI",),
        "classes": {"organ": 1, "tumour": 4},
        "spacing": (1.0, 1.0, 1.0),
        "patch": (16, 16, 16),
        "normalisation": (Normalisation(channel="MRI", scheme="zscore"),),
        "network": NetworkPlan(channels=(16, 32), strides=((2, 2, 2),)),
        "steps": 10,
    }
    return Plan(**{**values, **changes})


def volume(seed: int = 0, shape: tuple[int, int, int] = (20, 24, 18)) -> tuple[np.ndarray, np.ndarray]:
    """An image with an empty border, and a label with two classes inside it."""
    rng = np.random.default_rng(seed)
    image = np.zeros(shape, np.float32)
    image[2:-3, 3:-1, 1:-2] = rng.uniform(50, 150, np.array(shape) - (5, 4, 3)).astype(np.float32)
    label = np.zeros(shape, np.uint8)
    label[5:14, 6:18, 4:13] = 1
    label[7:11, 9:14, 6:10] = 4
    image[label > 0] += 100
    return image, label


def affine(spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = (-10, 5, 3)
    return matrix


def grid(shape, spacing=(1.0, 1.0, 1.0)) -> Grid:
    return Grid(tuple(shape), affine(spacing))


def write_case(
    folder: Path,
    name: str,
    *,
    seed: int = 0,
    labelled: bool = True,
    shape: tuple[int, int, int] = (20, 24, 18),
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Case:
    folder.mkdir(parents=True, exist_ok=True)
    image, label = volume(seed, shape)
    image_path, label_path = folder / f"{name}_0000.nii.gz", folder / f"{name}_label.nii.gz"
    nib.save(nib.Nifti1Image(image, affine(spacing)), image_path)
    nib.save(nib.Nifti1Image(label, affine(spacing)), label_path)
    return Case(name=name, images=(image_path,), label=label_path if labelled else None, subject=name)


def dataset(cases: list[Case], **changes) -> Dataset:
    values: dict[str, Any] = {
        "root": Path("."),
        "channels": ("MRI",),
        "classes": {"organ": 1, "tumour": 4},
        "ignore_value": None,
        "train": tuple(cases),
        "test": (),
        "holdout": (),
    }
    return Dataset(**{**values, **changes})
