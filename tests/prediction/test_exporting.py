"""What is exported says the same as the model, and MONAI prepares a scan as duoseg does."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from duoseg.methods import method_names
from duoseg.methods.registry import find_method
from duoseg.model.networks import NetworkFactory
from duoseg.planning.plan import AugmentationPlan, NetworkPlan, Normalisation, Plan, WindowPlan
from duoseg.planning.prepare import prepare_image
from duoseg.prediction.exporting.monai_bundle import inference
from duoseg.prediction.exporting.onnx_model import write_onnx
from duoseg.prediction.model import Model, PredictionSettings
from duoseg.scans.scan import Grid

PLAN = Plan(
    channels=("ct", "pet"),
    classes={"organ": 2, "lesion": 7},
    spacing=(1.0, 1.5, 2.0),
    patch=(16, 8, 8),
    normalisation=(
        Normalisation(channel="ct", scheme="ct", window=(-100.0, 300.0), mean=40.0, std=60.0),
        Normalisation(channel="pet", scheme="zscore"),
    ),
    network=NetworkPlan(channels=(3, 4), strides=((2, 2, 2),)),
    augmentation=AugmentationPlan(mirror_axes=(0, 1)),
    window=WindowPlan(stride=(8, 4, 2), blending="uniform"),
    steps=1,
)


def a_method(name: str, seed: int = 0):
    torch.manual_seed(seed)
    factory = NetworkFactory(PLAN.network, in_channels=2, classes=2, patch=PLAN.patch)
    return find_method(name)(factory, find_method(name).Settings()).eval()


def a_window():
    return torch.randn(1, 2, *PLAN.patch, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", method_names())
def test_every_method_becomes_one_graph(name):
    network = Model(PLAN, [a_method(name)], device="cpu").network
    graph = torch.export.export(network, (torch.zeros(1, 2, *PLAN.patch),)).module()
    with torch.no_grad():
        torch.testing.assert_close(graph(a_window()), a_method(name).probabilities(a_window()))


def test_an_onnx_runtime_says_what_the_mirrored_ensemble_says(tmp_path):
    methods = [a_method("duo"), a_method("dtml", seed=1)]
    model = Model(PLAN, methods, settings=PredictionSettings(mirror=True), device="cpu")
    write_onnx(tmp_path / "net.onnx", model.network, PLAN)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (said,) = session.run(["probabilities"], {"image": a_window().numpy()})
    opinions = []
    with torch.no_grad():
        for method in methods:
            for dims in ([], [2], [3], [2, 3]):
                opinions.append(method.probabilities(a_window().flip(dims)).flip(dims))
    np.testing.assert_allclose(said, torch.stack(opinions).mean(dim=0), atol=1e-5)


def test_an_onnx_file_holds_what_has_to_be_around_the_network(tmp_path):
    write_onnx(tmp_path / "net.onnx", Model(PLAN, [a_method("supervised")], device="cpu").network, PLAN)
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    around = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert around["spacing_mm"] == [1.0, 1.5, 2.0] and around["patch"] == [16, 8, 8]
    assert around["classes"] == [["background", 0], ["organ", 2], ["lesion", 7]]
    assert around["intensities"][0] == PLAN.normalisation[0].model_dump(mode="json") | {"window": [-100.0, 300.0]}
    assert "spacing_mm" in model.doc_string


@pytest.fixture
def two_channels(tmp_path):
    """A scan of two channels whose axes run left, superior, anterior, with an empty border: files and the array."""
    generator = np.random.default_rng(0)
    voxels = np.zeros((2, 20, 14, 18), np.float32)
    voxels[:, 2:17, 3:12, 1:16] = generator.normal(50, 80, (2, 15, 9, 15))
    affine = np.array([[-1.0, 0, 0, 5], [0, 0, 1.5, -3], [0, 2.0, 0, 7], [0, 0, 0, 1]])
    for index, channel in enumerate(voxels):
        nib.save(nib.Nifti1Image(channel, affine), tmp_path / f"case_{index:04}.nii.gz")
    return tmp_path, voxels, Grid(voxels.shape[1:], affine)


def parsed(plan, **changes):
    parser = ConfigParser(inference(plan, largest_component=False) | changes)
    parser.parse()
    return parser


def test_monai_prepares_a_scan_to_the_same_voxels(two_channels):
    folder, voxels, grid = two_channels
    parser = parsed(PLAN, dataset_dir=str(folder))
    (files,) = parser.get_parsed_content("dataset").data
    assert files == {"image": [str(folder / f"case_{index:04}.nii.gz") for index in range(2)]}
    prepared = parser.get_parsed_content("preprocessing")(files)["image"]
    ours, _ = prepare_image(voxels, grid, PLAN)
    np.testing.assert_allclose(prepared.numpy(), ours, atol=1e-4)


def test_monai_writes_the_values_of_the_masks_on_the_scans_grid(two_channels):
    folder, voxels, grid = two_channels
    parser = parsed(PLAN, dataset_dir=str(folder), output_dir=str(folder / "masks"))
    (scan,) = parser.get_parsed_content("dataset")
    bright = torch.from_numpy(scan["image"][0].numpy() > 1)
    opinion = torch.stack([(~bright).float(), torch.zeros(bright.shape), bright.float()])
    scan["pred"] = MetaTensor(opinion, meta=scan["image"].meta)
    parser.get_parsed_content("postprocessing")(scan)
    mask = nib.load(folder / "masks" / "case.nii.gz")
    np.testing.assert_allclose(mask.affine, grid.affine)
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), np.where((voxels[0] - 40) / 60 > 1, 7, 0))


def test_monai_lays_the_same_windows(two_channels):
    inferer = parsed(PLAN).get_parsed_content("inferer")
    assert inferer.roi_size == [16, 8, 8] and inferer.mode.value == "constant"
    assert inferer.overlap == pytest.approx([0.5, 0.5, 0.75])
