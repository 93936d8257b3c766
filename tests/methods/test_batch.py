"""What a batch offers to methods: views whose labels go with them."""

from __future__ import annotations

import numpy as np
import torch
from method_cases import a_batch


def test_the_strong_view_of_some_carries_labels_along():
    batch = a_batch(labelled=1, total=4, dtype=torch.float32)
    place = torch.arange(3 * 8**3).view(3, 8, 8, 8)
    view = batch.strong_view(first=1)
    assert view.image.shape == (3, 1, 8, 8, 8)
    for item, own in zip(view.apply(place), place, strict=True):
        assert torch.equal(item.flatten().sort().values, own.flatten())
    # what was carried still correlates with the changed image, voxel by voxel
    carried = view.apply(batch.image[1:])
    for changed, original in zip(view.image, carried, strict=True):
        assert np.corrcoef(changed.flatten(), original.flatten())[0, 1] > 0.3


def test_the_pasted_view_has_a_box_of_the_patch_before_with_its_label():
    batch = a_batch(labelled=1, total=4, dtype=torch.float32)
    unlabelled = batch.image[1:]
    view = batch.pasted_view()
    number = torch.arange(3).view(3, 1, 1, 1).expand(3, 8, 8, 8)
    source = view.apply(number)
    for item in range(3):
        assert set(source[item].unique().tolist()) <= {item, (item - 1) % 3}
        foreign = source[item] != item
        assert foreign.any() and not foreign.all()
        assert torch.equal(view.image[item, 0][foreign], unlabelled[(item - 1) % 3, 0][foreign])
        assert torch.equal(view.image[item, 0][~foreign], unlabelled[item, 0][~foreign])
        filled = foreign.nonzero()
        assert (filled.amax(dim=0) - filled.amin(dim=0) + 1).prod() == len(filled)  # a box
