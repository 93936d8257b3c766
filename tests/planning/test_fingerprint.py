from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import planning_cases as make
import pytest

from duoseg.errors import InputError
from duoseg.planning.fingerprint import take_fingerprint
from duoseg.scans.dataset import load_dataset


def test_sizes_are_measured_in_canonical_axis_order(tmp_path: Path) -> None:
    case = make.write_case(tmp_path, "a", spacing=(0.5, 1.0, 2.0))
    assert case.label is not None
    image = nib.nifti1.load(case.images[0])
    turned = image.as_reoriented(np.array([[2, -1], [0, 1], [1, 1]]))
    label = nib.nifti1.load(case.label).as_reoriented(np.array([[2, -1], [0, 1], [1, 1]]))
    data = make.dataset([case])
    straight = take_fingerprint(data.split(labelled=1), data)
    nib.save(turned, case.images[0])
    nib.save(label, case.label)
    assert turned.shape != image.shape
    assert take_fingerprint(data.split(labelled=1), data) == straight
    facts = straight.cases[0]
    assert facts.shape == (20, 24, 18) and facts.content == (15, 20, 15) and facts.spacing == (0.5, 1.0, 2.0)
    organ, tumour = straight.anatomy
    assert tumour.extents_mm == ((2.0, 5.0, 8.0),)
    assert organ.extents_mm == ((4.5, 12.0, 18.0),)
    assert tumour.volumes_ml[0] == pytest.approx(4 * 5 * 4 / 1000)


def test_intensities_are_those_of_the_labelled_foreground(tmp_path: Path) -> None:
    case = make.write_case(tmp_path, "a")
    data = make.dataset([case])
    facts = take_fingerprint(data.split(labelled=1), data).intensities[0]
    image, label = make.volume()
    inside = image[label > 0].astype(np.float64)
    assert facts.mean == pytest.approx(inside.mean()) and facts.std == pytest.approx(inside.std())
    assert facts.percentile_99_5 == pytest.approx(np.percentile(inside, 99.5))


def test_unlabelled_labels_are_not_read(tmp_path: Path) -> None:
    cases = [make.write_case(tmp_path, f"c{i}", seed=i) for i in range(3)]
    data = make.dataset(cases)
    before = take_fingerprint(data.split(labelled=1), data).model_dump_json()
    for name in ("c1", "c2"):
        (tmp_path / f"{name}_label.nii.gz").write_bytes(b"garbage")
    assert take_fingerprint(data.split(labelled=1), data).model_dump_json() == before
    with pytest.raises(InputError, match="c1_label"):
        take_fingerprint(data.split(labelled=2), data)


def test_labels_that_match_no_image_are_told_where_no_scan_has_one(tmp_path: Path) -> None:
    image, label = make.volume()
    for name, voxels in (("images/a.nii.gz", image), ("labels/a_label.nii.gz", label)):
        (tmp_path / name).parent.mkdir()
        nib.save(nib.Nifti1Image(voxels, make.affine()), tmp_path / name)
    data = load_dataset(tmp_path)
    with pytest.raises(InputError, match=r"no training scan has a label; 1 label file .*did you mean a\.nii\.gz"):
        take_fingerprint(data.split(labelled=None), data)


def test_classes_without_names_are_those_of_the_labels(tmp_path: Path) -> None:
    data = make.dataset([make.write_case(tmp_path, "a")], classes={})
    assert take_fingerprint(data.split(labelled=1), data).classes == {"1": 1, "4": 4}


def test_label_that_is_no_mask_is_refused(tmp_path: Path) -> None:
    case = make.write_case(tmp_path, "a")
    nib.save(nib.Nifti1Image(np.full((20, 24, 18), 0.5, np.float32), make.affine()), tmp_path / "a_label.nii.gz")
    data = make.dataset([case])
    with pytest.raises(InputError, match=r"a_label.*fractional values such as 0\.5"):
        take_fingerprint(data.split(labelled=1), data)


def test_an_image_among_the_labels_is_told_by_its_name(tmp_path: Path) -> None:
    case = make.write_case(tmp_path, "a")
    values = np.arange(20 * 24 * 18).reshape(20, 24, 18) % 500
    nib.save(nib.Nifti1Image(values.astype(np.int16), make.affine()), tmp_path / "a_label.nii.gz")
    data = make.dataset([case], classes={})
    with pytest.raises(InputError, match=r"a_label.*499 different values.*is it an image"):
        take_fingerprint(data.split(labelled=1), data)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 3e9])
def test_label_with_a_value_that_is_no_integer_is_refused_whatever_the_classes(tmp_path: Path, wrong: float) -> None:
    case = make.write_case(tmp_path, "a")
    label = make.volume()[1].astype(np.float32)
    label[0, 0, 0] = wrong
    nib.save(nib.Nifti1Image(label, make.affine()), tmp_path / "a_label.nii.gz")
    for classes in ({}, {"organ": 1, "tumour": 4}):
        data = make.dataset([case], classes=classes)
        with pytest.raises(InputError, match=r"a_label.*1 voxel (is|has)"):
            take_fingerprint(data.split(labelled=1), data)


def test_rounding_in_a_label_changes_nothing(tmp_path: Path) -> None:
    data = make.dataset([make.write_case(tmp_path, "a")], classes={})
    exact = take_fingerprint(data.split(labelled=1), data)
    rounded = make.volume()[1] * np.float32(1 + 1e-6)
    nib.save(nib.Nifti1Image(rounded, make.affine()), tmp_path / "a_label.nii.gz")
    assert take_fingerprint(data.split(labelled=1), data) == exact


def test_volume_of_sheared_voxels_is_that_of_the_parallelepiped(tmp_path: Path) -> None:
    case = make.write_case(tmp_path, "a")
    image, label = make.volume()
    tilted = make.affine()
    tilted[1, 2] = 0.36
    nib.save(nib.Nifti1Image(image, tilted), case.images[0])
    nib.save(nib.Nifti1Image(label, tilted), tmp_path / "a_label.nii.gz")
    data = make.dataset([case])
    _, tumour = take_fingerprint(data.split(labelled=1), data).anatomy
    assert tumour.volumes_ml[0] == pytest.approx(4 * 5 * 4 / 1000)  # a shear keeps volumes
