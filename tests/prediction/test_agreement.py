"""How far students agree is the Dice that their masks have with each other, as a Dice with the truth is taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from duoseg.planning.slabs import Slabs
from duoseg.prediction.agreement import Agreement
from duoseg.scores.evaluate import score_masks
from duoseg.scores.results import CaseScores

LABELS = {"organ": 1, "tumour": 2}


def agreed(*masks: np.ndarray) -> float:
    """How far members of these masks, (X, Y, Z) class indices, agree; they come in slabs."""
    opinions = [torch.nn.functional.one_hot(torch.from_numpy(mask).long(), 3).movedim(-1, 0).float() for mask in masks]
    volume = torch.cat([torch.stack(opinions).mean(dim=0), *opinions])
    agreement = Agreement(3, len(masks))
    slabs = Slabs(masks[0].shape, 0, volume.split(5, dim=1))
    assert agreement.watch(slabs).whole().shape == (3, *masks[0].shape)
    return agreement.dice


def organ(start: int, stop: int) -> np.ndarray:
    mask = np.zeros((20, 4, 4), np.uint8)
    mask[start:stop] = 1
    return mask


def test_agreement_is_what_the_same_masks_score_where_the_truth_lacks_a_class() -> None:
    one, other = organ(0, 10), organ(3, 13)
    scored = CaseScores("a", score_masks(one, other, (1.0, 1.0, 1.0), LABELS))
    assert agreed(one, other) == pytest.approx(0.7) == scored.dice_of_present


def test_agreement_is_the_mean_over_pairs_and_the_classes_that_one_of_them_found() -> None:
    one, other, third = organ(0, 10), organ(3, 13), organ(0, 10)
    third[15:] = 2
    pairs = [0.7, (1.0 + 0.0) / 2, (0.7 + 0.0) / 2]
    entries = [0.7, 1.0, 0.0, 0.7, 0.0]
    assert agreed(one, other, third) == pytest.approx(np.mean(entries))
    assert [agreed(one, other), agreed(one, third), agreed(other, third)] == pytest.approx(pairs)


def test_members_that_find_nothing_agree_on_nothing() -> None:
    assert agreed(organ(0, 0), organ(0, 0)) == 0.0
