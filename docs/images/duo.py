"""Draws duo.png: what the students of a duo run make of an annotated patch, and what they are taught on a raw one.

    python docs/images/duo.py RUN DATA docs/images/duo.png

RUN is a training by duo, such as runs/duo in the folder of `duoseg demo`; DATA the data set that it learned from. A
short training leaves more unsure voxels to show.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import duoseg
from duoseg.methods.base import Batch
from duoseg.methods.duo import Duo
from duoseg.model.distance import bounded, probabilities_from_distance
from duoseg.model.draws import SampleGenerator
from duoseg.model.losses import IGNORE, class_probabilities
from duoseg.planning.cache import prepare_cases
from duoseg.planning.plan import Plan
from duoseg.scans.dataset import load_dataset
from duoseg.training.checkpoint import load_checkpoint
from duoseg.training.patches import PatchSampler

SIDE, GAP, HEAD = 230, 14, 44
NO_WARP = {"spatial_probability": 0.0}
COLOURS = np.array([(230, 120, 40), (50, 140, 220), (120, 190, 60), (190, 90, 200)], dtype=float)
INSIDE, OUTSIDE = np.array([200.0, 80, 30]), np.array([40.0, 90, 180])


def grey(image: Tensor) -> np.ndarray:
    """A slice of an image, (rows, columns, 3) in 0 to 255."""
    low, high = np.percentile(image, (1, 99))
    shades = np.clip((image.numpy() - low) / (high - low), 0, 1) * 255
    return np.repeat(shades[..., None], 3, axis=2)


def painted(image: Tensor, label: Tensor) -> np.ndarray:
    """The image with classes in colour; unsure voxels are hatched."""
    picture = grey(image)
    for index in range(1, int(label.max()) + 1):
        where = label.numpy() == index
        picture[where] = 0.45 * picture[where] + 0.55 * COLOURS[index - 1]
    rows, columns = np.indices(label.shape)
    unsure = (label.numpy() == IGNORE) & ((rows + columns) % 2 == 0)
    picture[unsure] = (250, 240, 60)
    return picture


def map_of(phi: Tensor) -> np.ndarray:
    """A distance map: warm inside, cold outside, white at the boundary and dark at the reach."""
    share = np.clip(phi.numpy(), -1, 1)[..., None]
    return np.where(share < 0, 255 + (INSIDE - 255) * -share, 255 + (OUTSIDE - 255) * share)


def shade_of(p: Tensor) -> np.ndarray:
    """A probability from black to white."""
    return np.repeat(p.numpy()[..., None] * 255, 3, axis=2)


def drawn(rows: list[list[tuple[str, np.ndarray]]]) -> Image.Image:
    """Titled pictures in rows."""
    font = ImageFont.load_default(15)
    width = max(len(row) for row in rows) * (SIDE + GAP) + GAP
    sheet = Image.new("RGB", (width, len(rows) * (SIDE + HEAD + GAP) + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        for j, (title, picture) in enumerate(row):
            x, y = GAP + j * (SIDE + GAP), GAP + i * (SIDE + HEAD + GAP)
            pen.multiline_text((x, y), title, fill="black", font=font)
            shown = Image.fromarray(picture.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            sheet.paste(shown, (x, y + HEAD))
    return sheet


def patches(plan: Plan, data: Path) -> tuple[Tensor, Tensor]:
    """The patches of the run's first step, but for the augmentation; labels of the first of them."""
    split = load_dataset(data).split(labelled=None)
    with tempfile.TemporaryDirectory() as folder:
        labelled = prepare_cases(split.labelled, plan, Path(folder))
        unlabelled = prepare_cases(split.unlabelled, plan, Path(folder))
        plain = plan.model_copy(update={"augmentation": plan.augmentation.model_copy(update=NO_WARP)})
        raw = PatchSampler(labelled, unlabelled, plain, seed=0).batch(0, "mixed")
    return raw.image, raw.label.long()


@torch.no_grad()
def rows_of(method: Duo, plan: Plan, image: Tensor, label: Tensor) -> list[list[tuple[str, np.ndarray]]]:
    """What is shown of an annotated patch, and of a raw one."""
    n = len(label)
    p, phi = class_probabilities(method.region(image)), bounded(method.boundary(image))
    t = probabilities_from_distance(phi, method.settings.k)
    said = method.opinion(image[n:])
    views: dict[str, tuple[Tensor, Tensor]] = {}
    for step in range(99):
        generator = SampleGenerator(0, step, range(len(image)))
        view, carried = method.changed(Batch(image, label, generator=generator, plan=plan), said)
        # A box of another patch leaves the rest as it was.
        views.setdefault("pasted" if bool((view == image[n:]).any()) else "strong", (view[0, 0], carried[0]))

    def cut(volume: Tensor) -> Tensor:
        return volume[..., volume.shape[-1] // 2].T.flip(0)

    def told(kind: str) -> np.ndarray:
        return painted(*(cut(part) for part in views[kind]))

    first, raw = cut(image[0, 0]), cut(image[n, 0])
    return [
        [
            ("annotated patch x,\nannotation y", painted(first, cut(label[0]))),
            ("S: probability p", shade_of(cut(p[0, 1]))),
            ("D: its map phi,\nred inside, blue outside", map_of(cut(phi[0, 0]))),
            ("D: its mask T(phi)", shade_of(cut(t[0, 1]))),
        ],
        [
            ("raw patch u", grey(raw)),
            ("what S' is sure of;\nhatched: not sure", painted(raw, cut(said[0]))),
            ("both learn it on v:\nintensities changed, mirrored", told("strong")),
            ("or on v:\na box of another patch pasted in", told("pasted")),
        ],
    ]


def main() -> None:
    """Read the run, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    model = duoseg.load(asked.run, device="cpu")
    method = model._methods[0]
    if not isinstance(method, Duo):
        parser.error(f"{asked.run}: not a run of duo")
    method.load_state_dict(load_checkpoint(asked.run)["method"])
    drawn(rows_of(method, model.plan, *patches(model.plan, asked.data))).save(asked.out, optimize=True)


if __name__ == "__main__":
    main()
