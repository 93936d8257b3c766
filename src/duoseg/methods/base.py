"""What a method is: named losses from a batch, probabilities from an image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from torch import Tensor, nn

from duoseg.model.augment import View, strong_view, weak_view
from duoseg.model.boxes import PastedView, cutmix_boxes, pasted
from duoseg.model.draws import SampleGenerator
from duoseg.model.networks import NetworkFactory
from duoseg.planning.plan import Plan, Spacing

BatchKind = Literal["mixed", "labelled", "images"]


class Settings(BaseModel):
    """A method's own constants: what its paper introduces, with the published values as defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        """Python takes true for 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation in (int, float):
            raise ValueError("is true or false, and should be a number")
        return value


@dataclass(frozen=True)
class Stage:
    """A part of the training.

    Attributes:
        name: for the log.
        share: of all steps; the shares of a method add up to 1.
        batch: ``mixed`` (labelled patches first, then unlabelled), ``labelled`` (the whole batch has labels) or
            ``images`` (patches of all scans, no labels).
        anew: whether optimiser and schedule start anew; otherwise they go on from the stage before, and the learning
            rate runs its course over both.
    """

    name: str
    share: float = 1.0
    batch: BatchKind = "mixed"
    anew: bool = True

    def __post_init__(self) -> None:
        """Refuse a kind of batch that there is not, and a share that is none; ``ValueError``."""
        if self.batch not in get_args(BatchKind) or not 0 < self.share <= 1:
            raise ValueError(
                f"Stage {self.name!r}: batch is one of {', '.join(get_args(BatchKind))}, not {self.batch!r}, and share "
                f"above 0 and at most 1, not {self.share}"
            )


class Batch:
    """Patches of one step, augmented as the plan says.

    The truth of unlabelled patches is not here: ``label`` has entries for the first ``labelled`` items only.

    Attributes:
        image: (B, C, *spatial), float32.
        label: (labelled, *spatial), class indices with -1 where there is no annotation.
        generator: the only source of randomness; a sample's draws depend on seed, step and its index alone.
        notes: what the method has noted of this step.
    """

    def __init__(self, image: Tensor, label: Tensor, *, generator: SampleGenerator, plan: Plan) -> None:
        self.image = image
        self.label = label
        self.generator = generator
        self.notes: dict[str, Tensor] = {}
        self._plan = plan

    @property
    def labelled(self) -> int:
        """How many items, from the first on, have labels."""
        return len(self.label)

    @property
    def spacing(self) -> Spacing:
        """Voxel sides in mm."""
        return self._plan.spacing

    def note(self, name: str, value: Tensor | float) -> None:
        """Keep a number for the log and the page of which nothing is learned, such as the share of sure voxels.

        Args:
            name: of its own; in ``log.jsonl`` with ``noted/`` before it.
            value: one number, the same name in each step of a stage; where it is undefined the log has a gap.

        Raises:
            ValueError: it is no single number.
        """
        number = torch.as_tensor(value, dtype=torch.float32, device=self.image.device).detach()
        if number.numel() != 1:
            raise ValueError(f"batch.note({name!r}, ...) takes one number, not a tensor of shape {tuple(number.shape)}")
        self.notes[name] = number.reshape(())

    def noise(self, deviation: float, *, first: int = 0) -> Tensor:
        """Gaussian noise for the images from ``first`` on, cut at twice its deviation: (B - first, C, *spatial)."""
        streams = self.generator.select(range(first, len(self.image)))
        drawn = streams.normal(*self.image.shape[1:]).to(self.image.dtype)
        return (deviation * drawn).clamp(-2 * deviation, 2 * deviation)

    def weak_view(self) -> View:
        """The images moved by a transform that can be undone exactly; intensities as they are."""
        return weak_view(self.image, plan=self._plan.augmentation, generator=self.generator, spacing=self._plan.spacing)

    def strong_view(self, *, first: int = 0) -> View:
        """The images from ``first`` on moved by a transform that can be undone exactly, intensities heavily changed."""
        streams = self.generator.select(range(first, len(self.image)))
        return strong_view(
            self.image[first:], plan=self._plan.augmentation, generator=streams, spacing=self._plan.spacing
        )

    def pasted_view(self) -> PastedView:
        """The unlabelled images with a box of the one before pasted into each (CutMix).

        A lone one gets its box from an annotated patch, with the annotation.
        """
        n, image = self.labelled, self.image[self.labelled :]
        inside = cutmix_boxes(self.generator.select(range(n, len(self.image))), image.shape[2:])
        return PastedView(pasted(image, inside, self.image[n - 1 : n]), inside, self.label[n - 1 : n])


class Method(nn.Module):
    """Base of all methods. All state that must survive an interruption lies in parameters and buffers.

    A subclass names its ``Settings`` and ``stages``, builds its students from the factory, and says what
    it learns from a batch (``forward``) and what it predicts (``members``). Whoever changes what it learns raises its
    ``revision``: no training goes on with, and no study mixes, what two revisions learned.
    """

    Settings: ClassVar[type[Settings]] = Settings
    revision: ClassVar[int] = 1
    labelled_terms: ClassVar[tuple[str, ...]] = ("region",)
    """The loss terms that annotated patches alone make: by them a page tells whether these are learned."""
    apart_terms: ClassVar[tuple[str, ...]] = ()
    """Those by which other networks than the students learn, such as an adversary."""
    memory_factor: ClassVar[float] = 1.0
    """The memory of a step over that of its encoder-decoders, which see each patch once; more with an adversary."""
    stages: tuple[Stage, ...] = (Stage("train"),)
    averages: bool = False
    """Whether the mean of all members predicts; otherwise the first one does."""

    # Calling a module returns Any in torch's types; this says what comes back.
    __call__: Callable[..., dict[str, Tensor]]

    @abstractmethod
    def __init__(self, networks: NetworkFactory, settings: Settings) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Named, weighted loss terms, each a scalar; the trainer sums them.

        Args:
            batch: the patches of this step.
            progress: 0 at the first step of the stage, 1 at its end.
        """

    @abstractmethod
    def members(self, image: Tensor) -> Iterable[Tensor]:
        """Each student's opinion, (B, K + 1, *spatial) with classes summing to 1; lazily, if some cost more."""

    def probabilities(self, image: Tensor) -> Tensor:
        """The prediction, (B, K + 1, *spatial) with classes summing to 1: as `averages` says."""
        return self.prediction(self.members(image))

    def prediction(self, members: Iterable[Tensor]) -> Tensor:
        """The same of opinions that are there already."""
        return mean_of([*members]) if self.averages else next(iter(members))

    def parameter_groups(self) -> list[dict]:
        """Optimiser groups, by default all parameters in one.

        A group with an ``adam_rate`` learns by Adam at that constant rate, as published adversaries do, whatever the
        plan's optimiser and limit on the gradient's norm are.
        """
        return [{"params": list(self.parameters())}]

    def inference_modules(self) -> dict[str, nn.Module]:
        """The modules that prediction needs, by name; by default all direct children."""
        return dict(self.named_children())

    def begin_with_weights(self) -> None:
        """Called where a training begins with the weights of another, once they are here; averages begin with them."""

    def start_training(self, steps: int) -> None:
        """Called before the first step, and again wherever a training goes on: how many steps all stages have."""

    def start_stage(self, stage: Stage) -> None:
        """Called before the first step of each stage, e.g. to freeze a copy as teacher."""

    def after_step(self, progress: float) -> None:
        """Called after each optimiser step, e.g. to move an average."""


def mean_of(opinions: Sequence[Tensor]) -> Tensor:
    """Of one or several, (B, K + 1, *spatial) each."""
    return opinions[0] if len(opinions) == 1 else torch.stack([*opinions]).mean(dim=0)
