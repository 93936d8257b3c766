"""Everything that a prediction asks of a window, as one network."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from duoseg.methods.base import Method


def flips(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Every combination of spatial axes to flip along, beginning with none."""
    return [found for count in range(len(axes) + 1) for found in itertools.combinations(axes, count)]


class Whole(nn.Module):
    """The mean of several methods' probabilities, over all combinations of flips along ``mirror_axes``."""

    def __init__(self, methods: Sequence[Method], *, mirror_axes: Sequence[int] = ()) -> None:
        super().__init__()
        self.weights = nn.ModuleList(methods)
        self._methods = tuple(methods)
        self._flips = flips(mirror_axes)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, *spatial) to probabilities (B, K + 1, *spatial), which sum to 1 over classes."""
        opinions = [self._asked(image, [2 + axis for axis in flip]) for flip in self._flips]
        return mean(opinions)

    def _asked(self, image: Tensor, dims: list[int]) -> Tensor:
        turned = image.flip(dims) if dims else image
        opinion = mean([method.probabilities(turned) for method in self._methods])
        return opinion.flip(dims) if dims else opinion


def mean(opinions: Sequence[Tensor]) -> Tensor:
    """The mean; of one, itself."""
    return opinions[0] if len(opinions) == 1 else torch.stack(list(opinions)).mean(dim=0)
