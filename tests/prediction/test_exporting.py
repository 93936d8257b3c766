"""What is exported says the same as the model, and MONAI prepares a scan as duoseg does."""

from __future__ import annotations

import io
import json
import sys
import zipfile

import nibabel as nib
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from duoseg.errors import InputError
from duoseg.methods import method_names
from duoseg.methods.registry import find_method
from duoseg.model.components import keep_largest_components
from duoseg.model.networks import NetworkFactory
from duoseg.planning.plan import AugmentationPlan, NetworkPlan, Normalisation, Plan, WindowPlan
from duoseg.planning.prepare import prepare_image
from duoseg.planning.reading import read_channels
from duoseg.prediction.exporting import scripts
from duoseg.prediction.exporting.monai_bundle import inference, write_bundle
from duoseg.prediction.exporting.onnx_model import write_onnx
from duoseg.prediction.exporting.tracing import example, used
from duoseg.prediction.model import Model, PredictionSettings
from duoseg.scans.cases import Case
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
    return torch.randn(3, 2, *PLAN.patch, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", method_names())
def test_every_method_becomes_a_graph_of_what_it_predicts_with(name, tmp_path):
    """As TorchScript and by torch.export, for any number of windows, without networks that do not predict."""
    network = Model(PLAN, [a_method(name)], device="cpu").network
    with torch.no_grad():
        expected = a_method(name).probabilities(a_window())
    write_bundle(tmp_path / "organ.zip", network, PLAN, largest_component=False)
    with zipfile.ZipFile(tmp_path / "organ.zip") as archive:
        script = torch.jit.load(io.BytesIO(archive.read("organ/models/model.ts")))
    program = torch.export.export(network, (example(PLAN),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for graph in (script, program.module()):
        with torch.no_grad():
            torch.testing.assert_close(graph(a_window()), expected, atol=1e-3, rtol=1e-3)  # `boundary` is steep
    assert count(script) == count(used(network, a_window()))


def test_networks_that_do_not_predict_are_left_out():
    method = a_method("dtml")
    network = Model(PLAN, [method], device="cpu").network
    assert count(used(network, a_window())) == count(method.region) < count(network) == count(method)
    averaged = a_method("duo")
    both = count(averaged.region) + count(averaged.boundary)
    assert count(used(Model(PLAN, [averaged], device="cpu").network, a_window())) == both < count(averaged)


def count(module: torch.nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


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
def two_channels(tmp_path, monkeypatch):
    """A scan of two channels whose axes run left, superior, anterior, with an empty border: files and the array."""
    monkeypatch.setitem(sys.modules, "scripts", scripts)  # as the bundle's folder has it
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
    parser = parsed(PLAN, dataset_dir=str(folder), output_dir=str(folder / "masks"))
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


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, np.nan])
def test_a_channel_without_contrast_or_with_a_voxel_that_is_no_number_is_prepared_alike(two_channels, value):
    folder, voxels, grid = two_channels
    if np.isnan(value):
        voxels[1, 5, 5, 5] = value
    else:
        voxels[1] = value
    nib.save(nib.Nifti1Image(voxels[1], grid.affine), folder / "case_0001.nii.gz")
    parser = parsed(PLAN, dataset_dir=str(folder), output_dir=str(folder / "masks"))
    (prepared,) = parser.get_parsed_content("dataset")
    read, where = read_channels(Case("case", tuple(sorted(folder.glob("*.nii.gz"))), label=None, subject="case"))
    np.testing.assert_allclose(prepared["image"].numpy(), prepare_image(read, where, PLAN)[0], atol=1e-4)


def test_scans_that_monai_would_segment_wrongly_are_refused():
    affine = np.diag([1.0, 1.5, 2.0, 1.0])

    def scan(shape=(2, 4, 5, 6), shear=0.0, **header):
        turned = affine.copy()
        turned[1, 2] = shear
        return MetaTensor(torch.zeros(shape), affine=turned, meta={"filename_or_obj": "a.nii.gz", **header})

    assert scripts.plain(scan(sform_code=1, qform_code=0, xyzt_units=10), 2).shape == (2, 4, 5, 6)
    for wrong, why in (
        (scan(shape=(3, 4, 5, 6)), "channels"),
        (scan(shear=0.2), "right angles"),
        (scan(sform_code=0, qform_code=0), "in space"),
        (scan(xyzt_units=1), "millimetres"),
    ):
        with pytest.raises(ValueError, match=f"a.nii.gz: .*{why}"):
            scripts.plain(wrong, 2)
    empty = scan()
    empty[1] = float("nan")
    with pytest.raises(ValueError, match=r"a\.nii\.gz: a channel holds no number"):
        scripts.plain(empty, 2)


def test_scans_get_masks_with_names_of_their_own(tmp_path):
    def names(*files, channels=1):
        folder = tmp_path / "-".join(files)
        folder.mkdir()
        for file in files:
            (folder / f"{file}.nii.gz").touch()
        entries = scripts.scans(str(folder), str(tmp_path), channels)
        everything = [one for entry in entries for one in entry["image"]]
        return [scripts.case_name(entry["image"][0], everything, channels) for entry in entries]

    assert names("case.1", "case.2") == ["case.1", "case.2"]
    assert names("a_0000", "b_0000") == ["a", "b"]
    assert names("a_0000", "a_0001", "b_0000", "b_0001", channels=2) == ["a", "b"]
    assert names("case", "case_0000") == ["case", "case_0000"]
    assert names("pat_0001", "pat_0002") == ["pat_0001", "pat_0002"]
    assert names("pat_0001") == ["pat_0001"]
    assert names("a", "._a", ".b") == ["a"]
    with pytest.raises(ValueError, match="names of their own"):
        names("pat_0000", "pat_0001")
    with pytest.raises(ValueError, match="is missing"):
        names("lone_0000", channels=2)
    with pytest.raises(ValueError, match="there is no"):
        scripts.scans(str(tmp_path / "nowhere"), str(tmp_path), 1)
    with pytest.raises(ValueError, match="replace"):
        scripts.scans(str(tmp_path), f"{tmp_path}/../{tmp_path.name}", 1)


def test_masks_of_largest_bodies_and_of_large_values_are_exact():
    probabilities = torch.rand(3, 9, 10, 11, generator=torch.Generator().manual_seed(0))
    values = np.array([0, 3, 2**31 - 1])
    indices = probabilities.argmax(dim=0).numpy().astype(np.uint8)
    for largest, expected in ((False, indices), (True, keep_largest_components(indices))):
        mask = scripts.mask_of(probabilities, values[1:].tolist(), largest)
        np.testing.assert_array_equal(mask[0], values[expected])


def test_names_that_monai_takes_for_something_else_are_refused(tmp_path):
    plan = PLAN.model_copy(update={"classes": {"%tumour": 1, "organ": 2}})
    network = Model(plan, [a_method("supervised")], device="cpu").network
    with pytest.raises(InputError, match="%tumour"):
        write_bundle(tmp_path / "a.zip", network, plan, largest_component=False)
