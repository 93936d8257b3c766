"""What a batch offers to methods: views whose labels go with them."""

from __future__ import annotations

import numpy as np
import pytest
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


def test_a_pasted_view_carries_classes_of_all_its_patches_and_nothing_else():
    view = a_batch(labelled=1, total=3, dtype=torch.float32).pasted_view()
    for wrong in (torch.zeros(1, 8, 8, 8), torch.zeros(2, 2, 8, 8, 8)):
        with pytest.raises(ValueError, match="a label of shape"):
            view.apply(wrong)


def test_a_lone_patch_without_any_annotated_one_stays_as_it_is():
    batch = a_batch(labelled=0, total=1, dtype=torch.float32)
    view = batch.pasted_view()
    assert torch.equal(view.image, batch.image) and (view.apply(torch.full((1, 8, 8, 8), 3)) == 3).all()


def test_a_note_is_one_number():
    batch = a_batch()
    batch.note("share", 0.25)
    assert batch.notes["share"] == 0.25
    with pytest.raises(ValueError, match=r"batch\.note\('share', \.\.\.\) takes one number"):
        batch.note("share", torch.ones(2))


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
