"""A trained run, loaded once, that predicts any number of scans."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from duoseg.errors import InputError
from duoseg.methods.base import Method, mean_of
from duoseg.model.components import keep_largest_components
from duoseg.planning.plan import Plan
from duoseg.planning.prepare import Prepared, prepare_image, restore_mask, restore_mask_and_doubt
from duoseg.prediction.agreement import Agreement
from duoseg.prediction.inference import in_company, predict_slabs, room_for
from duoseg.prediction.judge import Judge
from duoseg.prediction.result import Prediction
from duoseg.prediction.watching import Seen, watched
from duoseg.prediction.whole import Whole
from duoseg.scans.scan import Grid
from duoseg.training.devices import DeviceName, device_of, lay_out, memory_format
from duoseg.training.places import find_place


class PredictionSettings(BaseModel):
    """Choices at prediction time.

    ``mirror`` averages over flips along the axes that training flipped; ``largest_component`` keeps each class's
    largest connected body (26-neighbourhood) and makes the rest background.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mirror: bool = False
    largest_component: bool = False


class Model:
    """One or more trained methods of the same plan, averaged.

    Args:
        plan: how scans are prepared and windows laid.
        methods: with their weights loaded; they are taken over, to the device and for evaluation.
        settings: mirroring, largest component.
        device: where to compute.

    Attributes:
        judge: what is known of how far its masks may be trusted.
    """

    def __init__(
        self,
        plan: Plan,
        methods: Sequence[Method],
        *,
        settings: PredictionSettings | None = None,
        device: DeviceName = "auto",
    ) -> None:
        self.plan = plan
        self.settings = settings or PredictionSettings()
        self.judge = Judge()
        self._device = device_of(device, find_place().here)
        self._methods = [method.eval() for method in methods]
        self._whole = Whole(self._methods)
        lay_out(self._whole, self._device)

    @property
    def network(self) -> Whole:
        """What predicts one window: (B, C, *patch) to probabilities (B, K + 1, *patch), with the flips asked for."""
        return Whole(self._methods, mirror_axes=self._mirror_axes).eval()

    @property
    def _mirror_axes(self) -> tuple[int, ...]:
        return self.plan.augmentation.mirror_axes if self.settings.mirror else ()

    def predict(
        self,
        voxels: np.ndarray,
        grid: Grid | np.ndarray,
        *,
        name: str = "the scan",
        keep_probabilities: bool = True,
        uncertainty: bool = False,
    ) -> Prediction:
        """Segment one scan.

        Beside the voxels, memory holds the prepared image, the mask, and of probabilities 2 GiB at most: what is
        more lies in a temporary file.

        Args:
            voxels: (C, X, Y, Z) in the scan's own axis order, or (X, Y, Z) where there is one channel.
            grid: where those voxels lie in the world: a `Grid`, or an affine, (4, 4), from voxels to RAS+ mm.
            name: for error messages, the file.
            keep_probabilities: for `Prediction.probabilities`; without them, memory holds no more of a scan than a
                window is thick.
            uncertainty: for `Prediction.uncertainty` and `Prediction.judgement`; asks every student, also those that
                do not predict.

        Raises:
            InputError: the voxels cannot be prepared, e.g. NaN or another number of channels.
        """
        prepared = self.prepare(voxels, grid, name=name)
        make = self.judged if uncertainty else self.segment
        prediction = make(prepared, keep_probabilities=keep_probabilities)
        return replace(prediction, image=voxels if voxels.ndim == 3 else voxels[0])

    def prepare(self, voxels: np.ndarray, grid: Grid | np.ndarray, *, name: str = "the scan") -> Prepared:
        """The first half of `predict`, which needs no network; arguments and errors are the same."""
        if voxels.ndim not in (3, 4):
            raise InputError(f"{name}: has {voxels.ndim} axes; give (X, Y, Z), or (C, X, Y, Z).")
        voxels = voxels if voxels.ndim == 4 else voxels[None]
        if not isinstance(grid, Grid):
            grid = _grid(voxels, grid, name)
        image, placement = prepare_image(voxels, grid, self.plan, name=name)
        return Prepared(image, placement, grid, name)

    def segment(
        self,
        prepared: Prepared,
        *,
        keep_probabilities: bool = True,
        uncertainty: bool = False,
        agreement: bool = False,
    ) -> Prediction:
        """The second half of `predict`, which judges nothing.

        Args:
            prepared: the scan.
            keep_probabilities: as for `predict`.
            uncertainty: for `Prediction.uncertainty`.
            agreement: for `Prediction.agreement`, what the students say each on their own; asks those, too, that do not
                predict.
        """
        return self._segment(prepared, None, keep_probabilities, uncertainty, agreement)

    def judged(self, prepared: Prepared, *, keep_probabilities: bool = True) -> Prediction:
        """The second half of `predict` with uncertainty: how far the mask may be trusted stands with it."""
        prediction, features = self.look(prepared, keep_probabilities=keep_probabilities, agreement=True)
        return replace(prediction, judgement=self.judge.judgement(prepared, prediction, features))

    def _segment(
        self, prepared: Prepared, seen: Seen | None, keep_probabilities: bool, uncertainty: bool, agreement: bool
    ) -> Prediction:
        classes = len(self.plan.classes) + 1
        members = self._members if agreement else 1
        slabs = predict_slabs(
            torch.from_numpy(prepared.image),
            in_company(self._opinions if members > 1 else self._probabilities, seen),
            classes=classes * (1 + members) if members > 1 else classes,
            patch=self.plan.patch,
            window=self.plan.window,
            mirror_axes=self._mirror_axes,
            device=self._device,
            name=prepared.name,
        )
        agreed: Agreement | None = None
        if members > 1:
            agreed = Agreement(classes, members)
            slabs = agreed.watch(slabs)
        sheared = prepared.placement.shear is not None  # cuts across the slabs, so that all of them are needed
        room = room_for((classes, *slabs.shape), torch.device("cpu")) if keep_probabilities or sheared else None
        doubt: np.ndarray | None = None
        # another device computes while this machine's processors resample
        with nullcontext(slabs) if self._device.type == "cpu" else slabs.made_ahead() as parts:
            ready = parts if room is None else parts.gathered_in(room) if sheared else parts.kept_in(room)
            if uncertainty:
                indices, doubt = restore_mask_and_doubt(ready, prepared.placement)
            else:
                indices = restore_mask(ready, prepared.placement)
        if self.settings.largest_component:
            indices = keep_largest_components(indices)
        mask = self._file_values(indices)
        return Prediction(
            mask=mask,
            classes=self.plan.classes,
            grid=prepared.grid,
            placement=prepared.placement,
            probabilities=room if keep_probabilities else None,
            uncertainty=doubt,
            agreement=None if agreed is None else agreed.dice,
        )

    def look(
        self, prepared: Prepared, *, keep_probabilities: bool = False, agreement: bool = False
    ) -> tuple[Prediction, np.ndarray]:
        """What `segment` says, with its uncertainty, and what the encoders made of the scan, (F,) float32.

        With ``agreement`` these are the encoders of all students, else of those that predict.
        """
        if agreement:
            _ = self._members  # a patch of nothing, which is no part of the scan, is asked about for it
        with watched(self._methods) as seen:
            prediction = self._segment(prepared, seen, keep_probabilities, True, agreement)
        return prediction, seen.pooled()

    @cached_property
    @torch.inference_mode()
    def _members(self) -> int:
        """How many opinions there are on their own."""
        nothing = torch.zeros(1, len(self.plan.channels), *self.plan.patch, device=self._device)
        nothing = nothing.contiguous(memory_format=memory_format(self._device))
        return sum(len([*method.members(nothing)]) for method in self._methods)

    @torch.inference_mode()
    def _opinions(self, patches: Tensor) -> Tensor:
        """The prediction, and after it what each student says on its own."""
        patches = patches.contiguous(memory_format=memory_format(self._device))
        said = [_said(method, patches) for method in self._methods]
        members = [opinion for _, opinions in said for opinion in opinions]
        return torch.cat([mean_of([answer for answer, _ in said]), *members], dim=1)

    @torch.inference_mode()
    def _probabilities(self, patches: Tensor) -> Tensor:
        return self._whole(patches.contiguous(memory_format=memory_format(self._device)))

    def _file_values(self, indices: np.ndarray) -> np.ndarray:
        values = np.array([0, *self.plan.classes.values()])
        return values.astype(np.min_scalar_type(int(values.max())))[indices]


def _said(method: Method, patches: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The prediction and the members' opinions, without asking the members twice."""
    members = [*method.members(patches)]
    if type(method).probabilities is Method.probabilities:
        return method.prediction(members), members
    return method.probabilities(patches), members  # of its own making


def _grid(voxels: np.ndarray, affine: np.ndarray, name: str) -> Grid:
    affine = np.asarray(affine, dtype=float)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) == 0:
        raise InputError(f"{name}: its affine is no (4, 4) matrix from voxels to millimetres.")
    _, x, y, z = voxels.shape
    return Grid((x, y, z), affine)
