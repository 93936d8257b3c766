"""Synthetic scans for the demo and the tests: a chamber with vessels, as a scanner would have seen it.

Subjects differ in anatomy, pose and contrast; scans in bias field, noise, grid and, if asked, axis order.
Four labelled subjects do not show all of that, which makes the demo a fair picture of having few labels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from duoseg.errors import InputError
from duoseg.files import atomic_path, write_text
from duoseg.scans.anatomy import Anatomy, Field, draw_anatomy, smooth_noise

Triple = tuple[int, int, int]
CLASS_NAMES = ("atrium", "ventricle", "aorta")
CHANNEL_NAMES = ("MR", "MR2")
_FINE = 2
_ORDERS = ("RAS", "RAS", "LPS", "RAS", "SRA", "RAS", "ASL", "LAS")


def make_phantom(
    seed: int | Sequence[int],
    *,
    shape: Triple = (56, 56, 32),
    spacing: tuple[float, float, float] = (1.2, 1.2, 2.0),
    classes: int = 1,
    channels: int = 1,
    orientation: str = "RAS",
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.float64]]:
    """Make one subject's scan; the same arguments give the same bytes.

    Args:
        seed: One number or several (e.g. data set and subject).
        shape: Voxels along right, anterior, superior.
        spacing: Voxel sides along the same, mm.
        classes: 1 to 3: atrium; and ventricle; and ascending aorta.
        channels: 1, or 2 for a second contrast of the same anatomy.
        orientation: Axis codes of the arrays, such as "LPS"; the anatomy in the world stays the same.

    Returns:
        The image (channels, X, Y, Z), the label (X, Y, Z) with values 0 to ``classes``, and the oblique
        affine (4, 4) from voxel index to RAS+ mm.

    Raises:
        InputError: An argument is out of its range.
    """
    _check(shape, spacing, classes, channels)
    rng = np.random.default_rng(seed)
    anatomy_rng, contrast_rng, noise_rng, grid_rng = rng.spawn(4)
    fine = (shape[0] * _FINE, shape[1] * _FINE, shape[2] * _FINE)
    anatomy = draw_anatomy(anatomy_rng, _subject_points(anatomy_rng, fine, np.asarray(spacing) / _FINE))
    label = _label(anatomy, classes)
    # One generator a channel: adding a channel leaves the first one as it is.
    pairs = zip(contrast_rng.spawn(channels), noise_rng.spawn(channels), strict=True)
    image = np.stack([_acquire(_tissue(c, anatomy, fine, channel), n) for channel, (c, n) in enumerate(pairs)])
    return _store(image, label, _oblique_affine(grid_rng, shape, spacing), orientation)


def write_phantom_dataset(
    folder: Path,
    *,
    subjects: int = 24,
    labelled: int = 4,
    test: int = 6,
    seed: int = 0,
    size: Triple = (56, 56, 32),
    spacing: tuple[float, float, float] = (1.2, 1.2, 2.0),
    classes: int = 1,
    channels: int = 1,
    mixed_orientations: bool = True,
) -> Path:
    """Write an nnU-Net raw data set of phantoms in which most training scans have no label file at all.

    Args:
        folder: Created if absent; files of the same names are replaced.
        subjects: Training scans, of which the first ``labelled`` have labels.
        labelled: Training scans with a label file.
        test: Test scans, all with labels.
        seed: Of the whole set.
        size: About how many voxels a scan has along right, anterior, superior; scans differ by a few.
        spacing: About how large a voxel is, mm; scans differ by a few per cent.
        classes: As for `make_phantom`.
        channels: As for `make_phantom`.
        mixed_orientations: Store some scans in other axis orders, as archives of several scanners do.

    Returns:
        The folder.

    Raises:
        InputError: The numbers do not fit together.
    """
    if not 1 <= labelled <= subjects or test < 0:
        raise InputError(
            f"a phantom data set of {subjects} subjects needs 1 to {subjects} of them labelled and 0 or more "
            f"test subjects; got {labelled} labelled, {test} test"
        )
    names = [f"phantom_{number:03d}" for number in range(1, subjects + test + 1)]
    for index, name in enumerate(names):
        rng = np.random.default_rng((seed, index, 1))
        extra = rng.integers(0, 4, 3)
        shape = (size[0] + int(extra[0]), size[1] + int(extra[1]), size[2] + int(extra[2]))
        sides = np.asarray(spacing) * rng.uniform(0.95, 1.05, 3)
        image, label, affine = make_phantom(
            (seed, index),
            shape=shape,
            spacing=(float(sides[0]), float(sides[1]), float(sides[2])),
            classes=classes,
            channels=channels,
            orientation=_ORDERS[index % len(_ORDERS)] if mixed_orientations else "RAS",
        )
        part = "Tr" if index < subjects else "Ts"
        for channel, voxels in enumerate(image):
            _write_nifti(folder / f"images{part}" / f"{name}_{channel:04d}.nii.gz", voxels, affine)
        if index < labelled or index >= subjects:
            _write_nifti(folder / f"labels{part}" / f"{name}.nii.gz", label, affine)
    description = {
        "name": "phantoms",
        "description": "Synthetic subjects: a chamber with vessels. Made by duoseg, not by a scanner.",
        "channel_names": {str(number): name for number, name in enumerate(CHANNEL_NAMES[:channels])},
        "labels": {"background": 0} | {name: value for value, name in enumerate(CLASS_NAMES[:classes], start=1)},
        "numTraining": labelled,
        "file_ending": ".nii.gz",
    }
    write_text(folder / "dataset.json", json.dumps(description, indent=2) + "\n")
    splits = {"train": names[:subjects], "test": names[subjects:]}
    write_text(folder / "splits.json", json.dumps(splits, indent=2) + "\n")
    return folder


def _check(shape: Triple, spacing: Sequence[float], classes: int, channels: int) -> None:
    if min(shape) < 4 or min(spacing) <= 0:
        raise InputError(f"a phantom needs at least 4 voxels an axis and a positive spacing; got {shape}, {spacing} mm")
    if classes not in (1, 2, 3) or channels not in (1, 2):
        raise InputError(f"a phantom has 1 to 3 classes and 1 or 2 channels; got {classes} and {channels}")


def _subject_points(rng: np.random.Generator, fine: Triple, spacing: NDArray[np.float64]) -> Field:
    """Where each fine voxel lies in the subject's frame (3, X, Y, Z), mm: pose, size, deformation."""
    axes = [(np.arange(n) - (n - 1) / 2) * side for n, side in zip(fine, spacing, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    turn = Rotation.from_euler("xyz", rng.normal(0, 9, 3), degrees=True).as_matrix() / rng.uniform(0.88, 1.14)
    points = np.tensordot(turn.astype(np.float32), grid, axes=1)
    points += rng.normal(0, 3, 3).astype(np.float32)[:, None, None, None]
    for axis in range(3):
        points[axis] += 2.2 * smooth_noise(rng, fine, 4) + 0.9 * smooth_noise(rng, fine, 8)
    return points


def _label(anatomy: Anatomy, classes: int) -> NDArray[np.uint8]:
    """Class of each coarse voxel: what fills at least half of it; overlaps go as `_tissue` paints them."""
    atrium, aorta = anatomy.atrium < 0, anatomy.aorta < 0
    free = anatomy.blood >= 0
    masks = (atrium, (anatomy.ventricle < 0) & ~aorta & free, aorta & free)
    label = np.zeros([n // _FINE for n in atrium.shape], np.uint8)
    for value, mask in enumerate(masks[:classes], start=1):
        label[(_average(mask.astype(np.float32)) >= 0.5) & (label == 0)] = value
    return label


def _tissue(rng: np.random.Generator, anatomy: Anatomy, shape: Triple, channel: int) -> Field:
    """Paint tissues from the outside in; all bright blood pools lie within a few per cent of each other."""
    blood, muscle, fat, lung = rng.uniform((0.75, 0.38, 0.42, 0.04), (1.0, 0.62, 0.75, 0.14))
    if channel == 1:
        blood, muscle = 0.6 * muscle, 0.8 * blood
    pools = blood * rng.normal(1, 0.05, 4)
    texture = smooth_noise(rng, shape, 16)
    image = lung + 0.03 * texture
    image[anatomy.lung_vessels < 0] = blood * 0.8
    soft = fat + 0.07 * texture
    image = np.where(anatomy.chest < 0, soft, image)
    image = np.where(anatomy.spine < 0, 0.9 * muscle + 0.12 * texture, image)
    shell = np.minimum(anatomy.ventricle - 5, anatomy.other_atrium - 2)
    image = np.where(shell < 0, muscle + 0.04 * texture, image)
    image[(anatomy.oesophagus < 0)] = muscle * 0.8
    wall = np.float32(1.3) + np.float32(0.5) * smooth_noise(rng, shape, 5)
    for pool, vessel in zip(
        pools, (anatomy.ventricle, anatomy.other_atrium, anatomy.aorta, anatomy.descending_aorta), strict=True
    ):
        image = np.where(vessel < 1.0, muscle, image)
        image = np.where(vessel < 0, pool + 0.03 * texture, image)
    # The atrial wall is thinner than a voxel in places (neighbours touch) and brightened by scar in others.
    scar = np.clip(smooth_noise(rng, shape, 7) - 0.6, 0, 1) * np.float32(0.5)
    image = np.where(anatomy.blood < wall, muscle + scar, image)
    return np.where(anatomy.blood < 0, blood + 0.03 * texture, image).astype(np.float32)


def _acquire(tissue: Field, rng: np.random.Generator) -> NDArray[np.int16]:
    """Partial volume, blur, bias field, Rician noise and an arbitrary gain, as in a magnitude image."""
    signal = ndimage.gaussian_filter(_average(tissue), (0.45, 0.45, 0.25))
    bias = smooth_noise(rng, signal.shape, 3)
    signal = signal * np.exp(np.float32(rng.uniform(0.08, 0.2)) * bias)
    sigma = np.float32(rng.uniform(0.05, 0.085))
    real, imaginary = rng.standard_normal((2, *signal.shape), dtype=np.float32) * sigma
    gain = np.float32(rng.uniform(300, 1200))
    return np.rint(np.hypot(signal + real, imaginary) * gain).astype(np.int16)


def _average(fine: Field) -> Field:
    """Mean over blocks of 2 x 2 x 2."""
    x, y, z = (n // _FINE for n in fine.shape)
    return fine.reshape(x, _FINE, y, _FINE, z, _FINE).mean(axis=(1, 3, 5), dtype=np.float32)


def _oblique_affine(rng: np.random.Generator, shape: Triple, spacing: Sequence[float]) -> NDArray[np.float64]:
    """A grid turned by a few degrees, its centre a few centimetres from the world's origin."""
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", rng.uniform(-12, 12, 3), degrees=True).as_matrix()
    affine[:3, :3] = turn * np.asarray(spacing)
    affine[:3, 3] = rng.uniform(-40, 40, 3) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def _store(
    image: NDArray[np.int16], label: NDArray[np.uint8], affine: NDArray[np.float64], orientation: str
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.float64]]:
    """Permute and flip the arrays to the axis codes asked for, and the affine with them."""
    try:
        turn = nib.orientations.axcodes2ornt(orientation)
        change = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), turn)
    except (ValueError, TypeError) as error:
        raise InputError(f"orientation {orientation!r} is not three axis codes such as 'RAS' or 'LPS'") from error
    stored = np.stack([nib.orientations.apply_orientation(channel, change) for channel in image])
    turned = nib.orientations.apply_orientation(label, change)
    return stored, turned, affine @ nib.orientations.inv_ornt_aff(change, label.shape)


def _write_nifti(path: Path, voxels: NDArray, affine: NDArray[np.float64]) -> None:
    picture = nib.Nifti1Image(np.ascontiguousarray(voxels), affine)
    picture.set_qform(affine, code=1)
    picture.set_sform(affine, code=1)
    picture.header.set_xyzt_units("mm", "sec")
    with atomic_path(path) as temporary:
        nib.save(picture, temporary)
