"""Everything that a prediction asks of a window, as one network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from duoseg.methods.base import Method, mean_of


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
        return over_flips(self._asked, image, self._flips)

    def _asked(self, image: Tensor) -> Tensor:
        return mean_of([method.probabilities(image) for method in self._methods])


def over_flips(predict: Callable[[Tensor], Tensor], image: Tensor, flips: Sequence[tuple[int, ...]]) -> Tensor:
    """The mean prediction of (B, C, *spatial) over combinations of flips, of which the first is none."""
    total = predict(image)
    for flip in flips[1:]:
        dims = [2 + axis for axis in flip]
        total = total + predict(image.flip(dims)).flip(dims)
    return total / len(flips) if len(flips) > 1 else total
