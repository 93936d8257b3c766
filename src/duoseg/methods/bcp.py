"""Bidirectional Copy-Paste: Bai, Chen, Li, Shen & Wang, CVPR 2023, arXiv 2305.00673.

Labelled and unlabelled patches are mixed, each into the other, by a box of 2/3 of each side at a random place. M is 0
in the box and 1 around it; y~ is the label that a teacher, an average of the student, gives an unlabelled patch:

    x_in  = M x_a + (1 - M) u_a     learned from  y_a around and y~_a in the box
    x_out = M u_b + (1 - M) x_b     learned from  y~_b around and y_b in the box
    L     = L_seg(x_in) + L_seg(x_out)
    L_seg = (Dice + CE) / 2 over the annotated part + alpha (Dice + CE) / 2 over the rest       alpha = 1/2

Before that, a first stage trains on labelled patches pasted into each other, and the teacher begins as what came of it.
As in the released code for the left atrium: 2,000 of 17,000 steps for the first stage, only the largest body of a class
kept in y~, decay 0.99 without a rise, the student predicts. The first stage hands over its last weights, not those that
did best on the test scans. Dice is that of the harness, over foreground classes. Each pair has a box of its own, in the
code a batch has one. There half the patches of a batch are a, half b, in a batch twice that of the other methods; here
the batch is theirs, and each patch is a in one pair and b in another, so that a step of the second stage trains on as
many mixed patches, and one of the first on twice as many.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from duoseg.methods.base import Batch, Method, Settings, Stage
from duoseg.model.boxes import pasting_boxes
from duoseg.model.components import keep_largest_components
from duoseg.model.losses import IGNORE, region_loss
from duoseg.model.losses import class_probabilities as softmax
from duoseg.model.networks import NetworkFactory
from duoseg.model.teacher import Teacher


class BcpSettings(Settings):
    """The constants of BCP; the defaults are the published ones.

    Attributes:
        pre_train: share of the first stage in all steps.
        box: side of the pasted box, as a share of the patch's.
        unlabelled_weight: alpha, of what the teacher labelled.
        decay: of the teacher's moving average.
        largest_component: keep only the largest body of each class in the teacher's labels; wrong for an organ of
            several bodies.
    """

    pre_train: Annotated[float, Field(gt=0, lt=1)] = 2 / 17
    box: Annotated[float, Field(gt=0, lt=1)] = 2 / 3
    unlabelled_weight: Annotated[float, Field(ge=0)] = 0.5
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    largest_component: bool = True


class Bcp(Method):
    """A student of mixed patches."""

    Settings = BcpSettings
    memory_factor = 1.65
    labelled_terms = ("labelled",)
    revision = 2  # 1 mixed each patch once

    def __init__(self, networks: NetworkFactory, settings: BcpSettings) -> None:
        super().__init__(networks, settings)
        self.student = networks.region()
        self.teacher = Teacher(self.student)
        first = Stage("pre-train", share=settings.pre_train, batch="labelled")
        self.stages = (first, Stage("self-train", share=1 - settings.pre_train))
        self.settings = settings

    def begin_with_weights(self) -> None:
        """The average begins with them."""
        self.teacher.become(self.student)

    def start_stage(self, stage: Stage) -> None:
        """The teacher of the second stage begins as the student of the first."""
        self.teacher.become(self.student)

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The loss of patches mixed both ways; labelled with labelled ones where no other is there."""
        n = batch.labelled
        images, unlabelled = batch.image[:n], batch.image[n:]
        around = self.around(batch)
        if not len(unlabelled):
            (xa, xb), (ya, yb) = neighbours(images, n), neighbours(batch.label, n)
            return {"labelled": region_loss(self.student(paste(xa, xb, around)), paste(ya, yb, around))}
        count = max(n, len(unlabelled))
        (xa, xb), (ya, yb) = neighbours(images, count), neighbours(batch.label, count)
        (ua, ub), (va, vb) = neighbours(unlabelled, count), neighbours(self.pseudo_labels(unlabelled), count)
        m = around[:count]
        inward, outward = self.student(torch.cat([paste(xa, ua, m), paste(ub, xb, m)])).split(count)
        none, alpha = torch.full_like(ya, IGNORE), self.settings.unlabelled_weight
        return {
            "inward": region_loss(inward, paste(ya, none, m)) + alpha * region_loss(inward, paste(none, va, m)),
            "outward": region_loss(outward, paste(none, yb, m)) + alpha * region_loss(outward, paste(vb, none, m)),
        }

    def around(self, batch: Batch) -> Tensor:
        """M: for each item a mask (*spatial) that is False in a box at a random place."""
        return ~pasting_boxes(batch.generator, batch.image.shape[2:], self.settings.box)

    def pseudo_labels(self, image: Tensor) -> Tensor:
        """The teacher's classes, (B, *spatial)."""
        labels = self.teacher(image).argmax(dim=1)
        if not self.settings.largest_component:
            return labels
        kept = [torch.from_numpy(keep_largest_components(one)) for one in labels.cpu().numpy()]
        return torch.stack(kept).to(labels.device)

    def after_step(self, progress: float) -> None:
        """The teacher follows, without forgetting faster at first."""
        self.teacher.follow(self.student, self.settings.decay, rising=False)

    def inference_modules(self) -> dict[str, nn.Module]:
        """The student alone."""
        return {"student": self.student}

    def members(self, image: Tensor) -> list[Tensor]:
        """The student's probabilities."""
        return [softmax(self.student(image))]


def paste(outside: Tensor, inside: Tensor, around: Tensor) -> Tensor:
    """``outside`` where ``around`` is True, else ``inside``; of images (B, C, *spatial) or labels (B, *spatial)."""
    return torch.where(around.unsqueeze(1) if outside.ndim > around.ndim else around, outside, inside)


def neighbours(items: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """``count`` items a, the first ones again where there are too few, and as b the next one of each."""
    rows = torch.arange(count, device=items.device)
    return items[rows % len(items)], items[(rows + 1) % len(items)]
