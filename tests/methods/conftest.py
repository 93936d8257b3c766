"""What tests of several methods are given."""

from __future__ import annotations

import pytest
from method_cases import PLAN

from duoseg.methods.base import Batch
from duoseg.model.augment import View, strong_view


@pytest.fixture
def views_in_double_precision(monkeypatch):
    """Views are of single precision; losses are compared in double."""

    def view(batch, *, first=0):
        streams = batch.generator.select(range(first, len(batch.image)))
        image = batch.image[first:]
        single = strong_view(image.float(), plan=PLAN.augmentation, generator=streams, spacing=(1, 1, 1))
        return View(single.image.to(image.dtype), single.frames)

    monkeypatch.setattr(Batch, "strong_view", view)
