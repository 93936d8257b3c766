"""duo: dual-task mutual learning with what later work found strong; duoseg's own method.

Two students see the same labelled patches: S predicts the region (class probabilities p), D the boundary (a signed map
phi, negative inside), which T turns into probabilities. What the moving average S' of the region student says of a
plain unlabelled patch u, both learn on a changed view v of it:

    T(phi) = 1 / (1 + exp(k phi))                            as in DTML, with a k that lets the map learn
    L_S    = (CE(p, y) + Dice(p, y)) / 2                     labelled patches
    L_D    = Dice(T(phi), y)                                 labelled patches
    S'    <- a S' + (1 - a) S                                a = min(decay, 1 - 12 / steps), once that many are taken
    q      = S'(u)                                           what the average of S thinks of u
    y~     = argmax q where max q >= tau_c                   c = argmax q; no label elsewhere
    tau_c  = min(threshold, mean of max q over the voxels of c)
    L      = L_S + L_D + lambda (CE(p, y~) + CE(T(phi), y~) on v)

v is by turns u with heavily changed intensities, mirrored as the plan allows, or u with a box of another patch pasted
in (CutMix; of an annotated one where there is no other u), and y~ goes with it. Before that, a first stage trains both
students on batches full of labelled patches, in the same schedule. What each part is for, where it comes from and what
it is worth: docs/explanation/duo.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from duoseg.methods.base import Batch, Method, Settings, Stage
from duoseg.model.distance import (
    bounded,
    logits_from_distance,
    mask_from_distance,
    probabilities_from_distance,
)
from duoseg.model.losses import (
    IGNORE,
    class_probabilities,
    cross_entropy,
    dice_loss,
    gaussian_ramp,
    masked_mean,
    region_loss,
)
from duoseg.model.networks import NetworkFactory
from duoseg.model.teacher import Teacher

SPANS = 12
"""The average looks back over one of so many equal spans of the training at most: a slower one would still hold the
random start when it begins to teach in a short training."""


class DuoSettings(Settings):
    """The parts of duo, each of which can be switched off; without any of them it is `dtml`.

    Attributes:
        pre_train: share of the first stage, of labelled patches alone, in all steps; 0 leaves it out.
        k: slope of T. At 1500 only voxels with |phi| below about 0.005 carry gradient.
        unlabelled: what unlabelled patches teach: ``opinions`` as above, or as in DTML that the squared ``difference``
            of p and T(phi), of all patches as they are, be small.
        threshold: the least probability at which an opinion counts.
        by_class: whether a class whose opinions are less probable than that on average has their average as its own
            threshold; otherwise young students, sure of the background long before any organ, would unlearn the organ.
        decay: of the average, which looks back over a twelfth of the training at most, so less than 0.99 in one of
            fewer than 1,200 steps; with 0 it is the student itself.
        views: the changes that take turns; without any, v is u.
        weight: lambda.
        ramp: the share of the stage over which lambda rises, as in DTML; 0: it is full from the first step on.
        predict: S, D, or the ``mean`` of both.
    """

    pre_train: Annotated[float, Field(ge=0, lt=1)] = 0.4
    k: Annotated[float, Field(gt=0)] = 20.0
    unlabelled: Literal["opinions", "difference"] = "opinions"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.8
    by_class: bool = True
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    views: tuple[Literal["strong", "pasted"], ...] = ("strong", "pasted")
    weight: Annotated[float, Field(ge=0)] = 1.0
    ramp: Annotated[float, Field(ge=0, le=1)] = 0.0
    predict: Literal["region", "boundary", "mean"] = "mean"


class Duo(Method):
    """Two students of unlike tasks that learn from what they have been, on views that are harder than the patches."""

    Settings = DuoSettings
    revision = 3  # in 2 the average was as slow in short trainings; 1 had competing classes and learned distances
    labelled_terms = ("region", "boundary")

    def __init__(self, networks: NetworkFactory, settings: DuoSettings) -> None:
        super().__init__(networks, settings)
        self.region = networks.region()
        self.boundary = networks.distance()
        self.region_average = Teacher(self.region)
        self.settings = settings
        self.decay = settings.decay
        self.averages = settings.predict == "mean"
        self.stages = (Stage("mutual", share=1 - settings.pre_train, anew=False),)
        if settings.pre_train:
            self.stages = (Stage("pre-train", share=settings.pre_train, batch="labelled"), *self.stages)

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """L_S and L_D of labelled patches, and what unlabelled ones teach each student."""
        n, s, image, y = batch.labelled, self.settings, batch.image, batch.label
        opinion: Tensor | None = None
        if s.unlabelled == "opinions" and len(image) > n:
            view, opinion = self.changed(batch, self.opinion(image[n:]))
            image = torch.cat([image[:n], view])
        logits, phi = self.region(image), bounded(self.boundary(image))
        mask = mask_from_distance(phi, s.k)

        weight = s.weight * (gaussian_ramp(progress / s.ramp) if s.ramp else 1)
        terms = {"region": region_loss(logits[:n], y), "boundary": dice_loss(mask[:n], y)}
        if s.unlabelled == "difference":
            difference = mask - class_probabilities(logits)[:, 1:]
            terms["mutual"] = 2 * weight * difference.square().mean()  # 2: see dtml.py
        elif opinion is not None:
            terms["region_unlabelled"] = weight * cross_entropy(logits[n:], opinion)
            terms["boundary_unlabelled"] = weight * cross_entropy(logits_from_distance(phi[n:], s.k), opinion)
        return terms

    @torch.no_grad()
    def opinion(self, u: Tensor) -> Tensor:
        """y~: the most probable class of each voxel, (B, *spatial), -1 where it is less probable than its threshold."""
        asked = self.region_average if self.settings.decay else self.region
        return self.sure(class_probabilities(asked(u)))

    def sure(self, q: Tensor) -> Tensor:
        """As above, of probabilities q (B, K + 1, *spatial)."""
        confidence, label = q.max(dim=1)
        thresholds = torch.full((q.shape[1],), self.settings.threshold, dtype=q.dtype, device=q.device)
        if self.settings.by_class:
            means = torch.stack([masked_mean(confidence, label == index) for index in range(len(thresholds))])
            thresholds = torch.minimum(thresholds, means)
        return label.masked_fill(confidence < thresholds[label], IGNORE)

    def changed(self, batch: Batch, label: Tensor) -> tuple[Tensor, Tensor]:
        """V of the unlabelled patches, and their label carried to it; one kind of change for all that are here."""
        n, views = batch.labelled, self.settings.views
        if not views:
            return batch.image[n:], label
        streams = batch.generator.select(range(n, len(batch.image)))
        turn = views[int(streams.host.uniform(0.0, 1.0)[0] * len(views))]
        view = batch.strong_view(first=n) if turn == "strong" else batch.pasted_view()
        return view.image, view.apply(label)

    def start_training(self, steps: int) -> None:
        """The average looks back over a share of the steps."""
        self.decay = min(self.settings.decay, max(0.0, 1 - SPANS / steps))

    def begin_with_weights(self) -> None:
        """The average begins with them."""
        self.region_average.become(self.region)

    def after_step(self, progress: float) -> None:
        """The average follows."""
        self.region_average.follow(self.region, self.decay)

    def inference_modules(self) -> dict[str, nn.Module]:
        """Both students."""
        return {"region": self.region, "boundary": self.boundary}

    def members(self, image: Tensor) -> Iterator[Tensor]:
        """P and T(phi); first that of D if it predicts alone."""
        both = (self.said_by_region, self.said_by_boundary)
        return (said(image) for said in (both[::-1] if self.settings.predict == "boundary" else both))

    def said_by_region(self, image: Tensor) -> Tensor:
        """P."""
        return class_probabilities(self.region(image))

    def said_by_boundary(self, image: Tensor) -> Tensor:
        """T(phi)."""
        return probabilities_from_distance(bounded(self.boundary(image)), self.settings.k)
