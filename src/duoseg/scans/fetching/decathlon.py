"""From the layout of an archive of scans to the standard one: nnU-Net's raw folders.

Files are moved where they need no change, which keeps them as they were published. A 4-D image becomes one file a
channel with the same geometry. Scans that came without labels (the Decathlon keeps those of its test scans to itself)
go to ``imagesUn``: nobody here could score them as test scans, and as unlabelled ones they are what learning from few
labels needs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from duoseg.errors import InputError
from duoseg.files import atomic_path, read_text, write_text
from duoseg.progress import Progress
from duoseg.scans.description import Description, read_description
from duoseg.scans.fetching.catalogue import PublicSet
from duoseg.scans.limits import require_memory

SUFFIX = ".nii.gz"
SOURCE = "SOURCE.txt"
DESCRIPTION = "dataset.json"

_MOST_SOURCE_BYTES = 2**16


def convert(unpacked: Path, target: Path, public: PublicSet, *, progress: Progress | None = None) -> None:
    """Bring the unpacked archive of a public set into nnU-Net's raw layout.

    One scan is in memory at a time. Each file leaves ``unpacked`` when it has arrived, so that an interrupted call goes
    on with the rest. ``dataset.json`` and ``SOURCE.txt`` (licence, citation, checksum) come last.

    Raises:
        InputError: a file is not what its place promises: no NIfTI image, or with another number of channels.
    """
    layout = public.layout
    description = _description(unpacked, public)
    jobs = [
        *((file, target / "imagesTr", layout.image_ending) for file in _files(unpacked / layout.images)),
        *((file, target / "imagesUn", layout.image_ending) for file in _files(unpacked / (layout.unlabelled or "-"))),
    ]
    labels = list(_files(unpacked / layout.labels))
    for done, (file, folder, ending) in enumerate(jobs, start=1):
        _place_image(file, folder, _case(file, ending), description.channels)
        if progress is not None:
            progress("convert", done, len(jobs))
    for file in labels:
        _move(file, target / "labelsTr" / f"{_case(file, layout.label_ending)}{SUFFIX}")
    write_text(target / SOURCE, _source_text(public))
    write_text(target / DESCRIPTION, _dataset_json(public, description))


def is_fetched(folder: Path, public: PublicSet) -> bool:
    """Return whether ``folder`` holds this very set, complete: by its name and checksum, however it is described."""
    folders = all((folder / name).is_dir() for name in ("imagesTr", "labelsTr"))
    if not folders or not (folder / DESCRIPTION).is_file() or not (folder / SOURCE).is_file():
        return False
    try:
        lines = read_text(folder / SOURCE, limit=_MOST_SOURCE_BYTES).splitlines()
    except InputError:
        return False
    return any(line.startswith(f"{public.name}: ") for line in lines[:1]) and _checksum_line(public) in lines


def _description(unpacked: Path, public: PublicSet) -> Description:
    found = read_description(unpacked)
    layout = public.layout
    channels = layout.channels or found.channels
    classes = dict(layout.classes) or found.classes
    if not channels or not classes:
        raise InputError(
            f"{unpacked / DESCRIPTION}: names no channels or no classes; the archive is another than expected."
        )
    return Description(channels=channels, classes=classes)


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.name.lower().endswith(SUFFIX))


def _case(file: Path, ending: str) -> str:
    return file.name[: -len(SUFFIX)].removesuffix(ending)


def _place_image(file: Path, folder: Path, case: str, channels: tuple[str, ...]) -> None:
    targets = [folder / f"{case}_{number:04d}{SUFFIX}" for number in range(len(channels))]
    image = _opened(file)
    frames = image.shape[3] if len(image.shape) == 4 else 1
    if len(image.shape) not in (3, 4) or frames != len(channels):
        raise InputError(
            f"{file}: holds {frames} volumes, but {len(channels)} channels are named ({', '.join(channels)}); the "
            "archive is another than expected."
        )
    if len(image.shape) == 3:
        _move(file, targets[0])
        return
    require_memory(file, math.prod(image.shape) * 4)
    voxels = _stored_voxels(image)
    for number, target in enumerate(targets):
        channel = nib.Nifti1Image(voxels[..., number], image.affine, image.header)
        channel.set_data_dtype(voxels.dtype)
        with atomic_path(target) as temporary:
            channel.to_filename(temporary)
    file.unlink()


def _opened(file: Path) -> nib.Nifti1Image:
    try:
        image = nib.load(file)
    except Exception as fault:  # whatever a damaged header leads to
        raise InputError(f"{file}: is no NIfTI image ({type(fault).__name__}); download the archive anew.") from fault
    if not isinstance(image, nib.Nifti1Image):
        raise InputError(f"{file}: is no NIfTI image, but a {type(image).__name__}; download the archive anew.")
    return image


def _stored_voxels(image: nib.Nifti1Image) -> np.ndarray:
    """Return the voxels in the type that they are stored in; float32 where scale factors apply."""
    stored = image.dataobj
    if isinstance(stored, ArrayProxy) and (stored.slope, stored.inter) == (1, 0):
        return np.asanyarray(stored)
    return image.get_fdata(dtype=np.float32)


def _move(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    file.replace(target)


def _dataset_json(public: PublicSet, description: Description) -> str:
    values = {
        "name": public.name,
        "description": public.title,
        "reference": public.citation,
        "licence": public.licence,
        "channel_names": {str(number): name for number, name in enumerate(description.channels)},
        "labels": {"background": 0, **description.classes},
        "file_ending": SUFFIX,
    }
    return json.dumps(values, indent=2) + "\n"


def _checksum_line(public: PublicSet) -> str:
    return f"{public.checksum.algorithm.upper()} of the archive: {public.checksum.value}"


def _source_text(public: PublicSet) -> str:
    unlabelled = (
        "\nThe scans in imagesUn are the set's own test scans, whose labels are not public.\n"
        if public.unlabelled
        else ""
    )
    return (
        f"{public.name}: {public.title}, {public.modality}\n"
        f"From: {public.url}\n"
        f"{_checksum_line(public)}\n"
        f"Published by: {public.checksum.source}\n"
        f"Licence: {public.licence}\n"
        f"Please cite: {public.citation}\n"
        f"{unlabelled}"
    )
