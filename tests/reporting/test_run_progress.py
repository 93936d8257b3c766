"""How a training goes, in words: true to the log, and silent where nothing is wrong."""

from __future__ import annotations

import pytest
from markupsafe import escape

from duoseg.reporting.page import render
from duoseg.reporting.records import RunSummary
from duoseg.reporting.run_progress import dice_curves, loss_names, progress_sentences, warnings


def a_run(steps=400, planned=1000, *, seconds=100.0, waited=1.0, **values) -> RunSummary:
    """A log of so many steps; values are functions of the share of the steps done."""
    given = {"region": lambda t: 1 - 0.8 * t, "training_dice/a": lambda t: 0.9 * t, **values}
    records = [
        {
            "step": step,
            **{name: of(step / steps) for name, of in given.items()},
            "waited_seconds": waited * step / steps,
        }
        for step in range(1, steps + 1)
    ]
    terms = ("region", "boundary", "map")
    return RunSummary("r", "duo", steps, seconds, records=records, plan={"steps": planned}, labelled_terms=terms)


def test_a_training_says_how_far_it_is_and_how_long_it_will_take():
    first, second = progress_sentences(a_run())
    assert first == "Step 400 of 1,000 (40%) after 1 min 40 s; about 2 min 30 s to go."
    assert "a 0.90" in second and "not how good it is" in second
    assert progress_sentences(a_run(1000))[0] == "Trained for 1,000 steps in 1 min 40 s."
    assert progress_sentences(RunSummary("r", "duo", 0, 0.0, plan={"steps": 5})) == ["Training has not begun."]


def test_scores_of_patches_are_no_loss_terms():
    records = a_run(mutual=lambda t: 0.1).records
    assert loss_names(records) == ["region", "mutual"]
    assert [line.name for line in dice_curves(records)] == ["a"]


def test_a_training_that_goes_well_has_no_warning():
    assert warnings(a_run()) == []
    assert warnings(a_run(unlabelled=lambda t: 0.5)) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"region": lambda t: 1.0, "training_dice/a": lambda t: 0.1}, "does not fall (1 in the first quarter"),
        ({"training_dice/b": lambda t: 0.0}, "b was not found"),
        ({"mutual": lambda t: 4.0}, "The term mutual is 17 times what annotated patches teach"),
        ({"waited": 30.0}, "30% of the time went by waiting for patches"),
    ],
)
def test_what_goes_wrong_is_said_once_and_on_the_page(changes, said):
    run = a_run(**changes)
    (found,) = warnings(run)
    assert said in found
    assert escape(found) in render(title="t", runs=[run])
    assert warnings(a_run(50, **changes)) == []  # too early to say


def test_a_flat_loss_of_what_is_well_learned_is_no_warning():
    assert warnings(a_run(region=lambda t: 0.05, **{"training_dice/a": lambda t: 0.95})) == []


def test_a_page_that_is_written_again_and_again_loads_itself_anew():
    assert '<meta http-equiv="refresh" content="30">' in render(title="t", runs=[a_run()], refresh_seconds=30)
    assert 'http-equiv="refresh"' not in render(title="t", runs=[a_run()])
