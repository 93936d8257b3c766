"""Which scans the page of a study shows, and of which trainings."""

from __future__ import annotations

import pytest

from duoseg.commands.comparing.pictured import chosen_scans
from duoseg.study.grid import Combination
from duoseg.study.reading import parse_study
from study_cases import make_result, make_row, study_content


def chosen(results, *, against="supervised"):
    study = parse_study(study_content(results, against=against))
    return chosen_scans(study, [(result.combination, row) for result in results for row in result.rows])


def of(method, dice, *, labelled=4, seed=0, fold=None, first=0):
    rows = [make_row(f"scan-{first + index}", value) for index, value in enumerate(dice)]
    return make_result(method, rows, labelled=labelled, seed=seed, fold=fold)


def test_they_are_ranked_by_the_best_method_and_shown_beside_the_one_compared_with():
    found = chosen([of("supervised", [0.9, 0.8, 0.7]), of("dtml", [0.6, 0.7, 0.8]), of("duo", [0.7, 0.9, 0.95])])
    assert [place for place, _, _ in found] == ["best", "median", "worst"]
    assert [case for _, case, _ in found] == ["scan-2", "scan-1", "scan-0"]
    assert [[(about.method, dice) for about, dice in shown] for _, _, shown in found] == [
        [("duo", 0.95), ("supervised", 0.7)],
        [("duo", 0.9), ("supervised", 0.8)],
        [("duo", 0.7), ("supervised", 0.9)],
    ]


def test_where_the_one_compared_with_is_the_best_the_second_best_stands_beside_it():
    found = chosen([of("supervised", [0.9, 0.8]), of("dtml", [0.6, 0.7]), of("duo", [0.7, 0.75])])
    assert {about.method for _, _, shown in found for about, _ in shown} == {"supervised", "duo"}


def test_it_is_the_fewest_labels_and_the_first_seed():
    places = [(method, labelled, seed) for method in ("supervised", "duo") for labelled in (8, 2) for seed in (3, 1)]
    results = [of(method, [0.5, 0.6], labelled=labelled, seed=seed) for method, labelled, seed in places]
    assert {about for _, _, shown in chosen(results) for about, _ in shown} == {
        Combination.of(method, 2, 1) for method in ("supervised", "duo")
    }


def test_of_folds_each_scan_is_shown_as_the_models_that_had_not_seen_it_have_it():
    results = [
        of(method, [low + 0.2 * fold, low + 0.1 + 0.2 * fold], fold=fold, first=2 * fold)
        for method, low in (("supervised", 0.3), ("duo", 0.4))
        for fold in (0, 1)
    ]
    folds = {case: {about.fold for about, _ in shown} for _, case, shown in chosen(results)}
    assert folds == {"scan-3": {1}, "scan-1": {0}, "scan-0": {0}}


def test_a_scan_without_a_dice_of_one_method_is_left_out_and_an_undefined_class_does_not_count():
    results = [of("supervised", [0.5, None, 0.7]), of("duo", [0.6, 0.7, 0.8])]
    assert [case for _, case, _ in chosen(results)] == ["scan-2", "scan-0"]
    both = [make_row("scan-0", 0.8, label="organ"), make_row("scan-0", None, label="lesion")]
    ((_, _, shown),) = chosen([make_result("supervised", both, labelled=4, seed=0)])
    assert [dice for _, dice in shown] == [0.8]


@pytest.mark.parametrize("dice", [[], [None, None]])
def test_a_study_without_any_dice_shows_none(dice):
    assert chosen([of("supervised", dice)]) == []
