"""The plan: everything that turns a set of scans into a training run, each choice with its reason.

A plan is data. It is written to ``plan.json``, read by people, edited by hand or by a protocol file, and used
unchanged by training and prediction. All triples are in the canonical axis order (right, anterior, superior).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

Triple = tuple[int, int, int]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Spacing = tuple[Length, Length, Length]
Side = Annotated[int, Field(ge=1)]
Patch = tuple[Side, Side, Side]
Steps = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=1, le=2**16)]
KernelSide = Literal[1, 3]
Kernel = tuple[KernelSide, KernelSide, KernelSide]


class Section(BaseModel):
    """A part of the plan: unknown keys are errors, values do not change after construction."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Normalisation(Section):
    """How one channel's intensities are brought to a common scale.

    ``zscore`` uses each scan's own mean and standard deviation over its non-zero voxels; ``ct`` clips to a
    fixed window and then uses fixed statistics, both measured inside the labelled foreground.
    """

    channel: str
    scheme: Literal["zscore", "ct"]
    window: tuple[float, float] | None = None
    mean: float | None = None
    std: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _window_is_open(self) -> Self:
        if self.window is not None and not self.window[0] <= self.window[1]:
            raise ValueError(f"a window from {self.window[0]} to {self.window[1]} holds nothing")
        return self


class NetworkPlan(Section):
    """One student's network. ``strides[i]`` is the down-sampling on entering level ``i + 1``.

    With the stem ``full`` level 0 works at full resolution, with ``strided`` behind a stem of stride 2.
    ``kernels[i]`` are the sides of the convolutions on level ``i``; none given means 3x3x3 on all, and is left out of
    the JSON, so that such a plan reads as it did before there were others.
    """

    architecture: Literal["residual_unet", "vnet"] = "residual_unet"
    stem: Literal["full", "strided"] = "full"
    channels: tuple[Width, ...] = (16, 32, 64, 128)
    strides: tuple[Patch, ...] = ((2, 2, 2), (2, 2, 2), (2, 2, 2))
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    kernels: tuple[Kernel, ...] = ()

    @model_serializer(mode="wrap")
    def _without_default_kernels(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = plain(self)
        if not self.kernels:
            values.pop("kernels", None)
        return values


class BatchPlan(Section):
    """Patches in one step, over all devices together.

    A step goes through them in ``accumulate`` equal parts, one after the other, and learns from the parts' mean.
    """

    labelled: Annotated[int, Field(ge=1)] = 2
    unlabelled: Annotated[int, Field(ge=0)] = 2
    foreground_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    accumulate: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _parts_are_equal(self) -> Self:
        if self.labelled % self.accumulate or self.unlabelled % self.accumulate:
            raise ValueError(
                f"{self.labelled} labelled and {self.unlabelled} unlabelled patches cannot be taken in "
                f"{self.accumulate} equal parts"
            )
        return self


class OptimiserPlan(Section):
    """The optimiser, its schedule over a stage, and the gradient's largest norm (0: not clipped)."""

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.02
    step_every: Annotated[int, Field(ge=1)] = 2500
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    clip_norm: Annotated[float, Field(ge=0)] = 12.0


class AugmentationPlan(Section):
    """Random changes to training patches; a probability of 0 switches one off.

    ``mirror_axes`` names the axes along which the anatomy may be flipped: flipping left and right is wrong
    where sides carry meaning. Angles in degrees, elastic displacement in voxels.
    """

    mirror_axes: tuple[Literal[0, 1, 2], ...] = ()
    quarter_turns: bool = False
    spatial_probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    rotation_degrees: tuple[float, float, float] = (20.0, 20.0, 20.0)
    scale: tuple[float, float] = (0.8, 1.25)
    elastic_voxels: Annotated[float, Field(ge=0)] = 2.0
    brightness_probability: Annotated[float, Field(ge=0, le=1)] = 0.2
    contrast_probability: Annotated[float, Field(ge=0, le=1)] = 0.2
    gamma_probability: Annotated[float, Field(ge=0, le=1)] = 0.3
    noise_probability: Annotated[float, Field(ge=0, le=1)] = 0.2
    blur_probability: Annotated[float, Field(ge=0, le=1)] = 0.2
    low_resolution_probability: Annotated[float, Field(ge=0, le=1)] = 0.2

    @model_validator(mode="after")
    def _scales_are_sizes(self) -> Self:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale runs from {self.scale[0]} to {self.scale[1]}, where 0 < low <= high is needed")
        return self


class WindowPlan(Section):
    """Sliding-window prediction: windows shift by ``step`` (a share of the patch) or ``stride`` (voxels)."""

    step: Annotated[float, Field(gt=0, le=1)] = 0.5
    stride: Patch | None = None
    blending: Literal["gaussian", "uniform"] = "gaussian"


class Plan(Section):
    """Everything a run needs to know about its data, network and schedule.

    ``classes`` maps each foreground class to its value in the label files; class ``c`` of the network (1, 2,
    ...) is the ``c``-th entry, 0 is background. ``reasons`` says in words why each choice was made.
    """

    version: Literal[1] = 1
    channels: tuple[str, ...]
    classes: dict[str, Annotated[int, Field(ge=1, lt=2**31)]]
    ignore_value: int | None = None
    spacing: Spacing
    patch: Patch
    normalisation: tuple[Normalisation, ...]
    network: NetworkPlan = NetworkPlan()
    batch: BatchPlan = BatchPlan()
    optimiser: OptimiserPlan = OptimiserPlan()
    augmentation: AugmentationPlan = AugmentationPlan()
    window: WindowPlan = WindowPlan()
    steps: Steps
    reasons: dict[str, str] = {}

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        values = [*self.classes.values()]
        if len(self.normalisation) != len(self.channels):
            raise ValueError(f"{len(self.normalisation)} rules of normalisation for {len(self.channels)} channels")
        if len({*values}) < len(values):
            raise ValueError(f"two classes have one value: {self.classes}")
        if self.ignore_value in (0, *values):
            raise ValueError(f"ignore_value {self.ignore_value} is that of the background or a class")
        return self

    @model_validator(mode="after")
    def _windows_leave_no_gaps(self) -> Self:
        stride = self.window.stride
        if stride is not None and any(own > side for own, side in zip(stride, self.patch, strict=True)):
            raise ValueError(
                f"a window.stride of {stride} leaves gaps between patches of {self.patch} voxels: make it smaller, or "
                "give window.step in its place"
            )
        return self
