"""The public data sets that can be fetched by name.

A set is listed only if somebody has published a checksum of the very file that is downloaded; the place is named beside
it. Numbers of scans are those of the files, and sizes those that were published, where they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from duoseg.errors import InputError

MONAI = "MONAI, monai.apps.DecathlonDataset.md5 (Apache-2.0)"
TORCHIO = "TorchIO, torchio.datasets.IXITiny.md5 (Apache-2.0)"


@dataclass(frozen=True)
class Checksum:
    """A published checksum of a file.

    Attributes:
        algorithm: how it is computed.
        value: hexadecimal digits, lower case.
        source: where it was published.
    """

    algorithm: Literal["md5", "sha256"]
    value: str
    source: str


@dataclass(frozen=True)
class Layout:
    """Where scans lie in an archive, within its one top folder.

    Attributes:
        images: folder of the training images.
        labels: folder of their labels.
        unlabelled: folder of images without labels; empty where there is none.
        image_ending: what stands at the end of an image's name, before its suffix, besides the case.
        label_ending: the same of a label.
        channels: channel names; those of the archive's ``dataset.json`` where empty.
        classes: class name -> value, as pairs; those of the archive's ``dataset.json`` where empty.
    """

    images: str = "imagesTr"
    labels: str = "labelsTr"
    unlabelled: str = "imagesTs"
    image_ending: str = ""
    label_ending: str = ""
    channels: tuple[str, ...] = ()
    classes: tuple[tuple[str, int], ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that are wanted."""
        return tuple(folder for folder in (self.images, self.labels, self.unlabelled) if folder)


@dataclass(frozen=True)
class PublicSet:
    """A public data set.

    Attributes:
        name: what it is asked for by.
        title: what it shows.
        modality: how it was scanned.
        labelled: scans with a label.
        unlabelled: scans without.
        gigabytes: size of the download in units of 10^9 bytes, about; None where nobody published it.
        url: the archive.
        checksum: of the archive.
        licence: of the scans and labels.
        citation: the paper to cite.
        layout: where scans lie in the archive.
    """

    name: str
    title: str
    modality: str
    labelled: int
    unlabelled: int
    gigabytes: float | None
    url: str
    checksum: Checksum
    licence: str
    citation: str
    layout: Layout = Layout()


def find_set(name: str) -> PublicSet:
    """Return the set of that name.

    Raises:
        InputError: there is none; names the nearest one.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    nearest = get_close_matches(name.lower(), list(CATALOGUE), n=1)
    meant = f"did you mean {nearest[0]}? " if nearest else ""
    raise InputError(
        f"{name[:80]}: no public data set of this name is known; {meant}known are: {', '.join(CATALOGUE)}."
    )


def _msd(
    name: str, number: int, task: str, md5: str, title: str, modality: str, scans: tuple[int, int], size: float | None
) -> PublicSet:
    return PublicSet(
        name,
        title,
        modality,
        *scans,
        size,
        url=f"https://msd-for-monai.s3-us-west-2.amazonaws.com/Task{number:02d}_{task}.tar",
        checksum=Checksum("md5", md5, MONAI),
        licence="CC BY-SA 4.0",
        citation=(
            "Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13, 4128 (2022), "
            "doi:10.1038/s41467-022-30695-9; Simpson et al., arXiv:1902.09063"
        ),
    )


GLIOMA = "glioma: oedema, non-enhancing and enhancing tumour"
FOUR_MR = "MRI (FLAIR, T1w, T1gd, T2w)"
ZONES = "peripheral and transition zone of the prostate"
HALVES = "anterior and posterior hippocampus"
PANCREAS = "pancreas and its tumours"
VESSELS = "vessels and tumours of the liver"

_SETS = (
    _msd("brain_tumour", 1, "BrainTumour", "240a19d752f0d9e9101544901065d872", GLIOMA, FOUR_MR, (484, 266), 7.6),
    _msd("heart", 2, "Heart", "06ee59366e1e5124267b774dbd654057", "left atrium", "MRI", (20, 10), None),
    _msd("liver", 3, "Liver", "a90ec6c4aa7f6a3d087205e23d4e6397", "liver and its tumours", "CT", (131, 70), 29),
    _msd("hippocampus", 4, "Hippocampus", "9d24dba78a72977dbd1d2e110310f31b", HALVES, "MRI", (260, 130), 0.03),
    _msd("prostate", 5, "Prostate", "35138f08b1efaef89d7424d2bcc928db", ZONES, "MRI (T2, ADC)", (32, 16), None),
    _msd("lung", 6, "Lung", "8afd997733c7fc0432f71255ba4e52dc", "lung tumours", "CT", (63, 32), 9),
    _msd("pancreas", 7, "Pancreas", "4f7080cfca169fa8066d17ce6eb061e4", PANCREAS, "CT", (281, 139), 12.3),
    _msd("hepatic_vessel", 8, "HepaticVessel", "641d79e80ec66453921d997fbf12a29c", VESSELS, "CT", (303, 140), None),
    _msd("spleen", 9, "Spleen", "410d4a301da4e5b2f6f86ec3ddba524e", "spleen", "CT", (41, 20), 1.6),
    _msd("colon", 10, "Colon", "bad7a188931dc2f6acf72b08eb6202d0", "colon cancer", "CT", (126, 64), 6.2),
    PublicSet(
        "ixi_tiny",
        "brain, of 566 healthy persons, at 83 x 44 x 55 voxels",
        "MRI (T1w)",
        labelled=566,
        unlabelled=0,
        gigabytes=None,
        url="https://www.dropbox.com/s/ogxjwjxdv5mieah/ixi_tiny.zip?dl=1",
        checksum=Checksum("md5", "bfb60f4074283d78622760230bfa1f98", TORCHIO),
        licence="CC BY-SA 3.0",
        citation="IXI, https://brain-development.org/ixi-dataset/; TorchIO, doi:10.1016/j.cmpb.2021.106236",
        layout=Layout("image", "label", "", "_image", "_label", ("T1w",), (("brain", 1),)),
    ),
)

CATALOGUE = {one.name: one for one in _SETS}
"""Every set, by name."""
