"""What callers of `duoseg.compare` may give for methods, label counts and seeds, and the note below its table."""

from __future__ import annotations

import numpy as np
import pytest

import duoseg
from duoseg.commands.comparing.given import counts_given, names_given, seeds_given
from duoseg.commands.comparing.table import overview
from duoseg.errors import InputError
from study_cases import make_result, make_row, study_content


def test_one_alone_is_taken_as_one():
    assert names_given("duo") == ("duo",) and names_given(["duo", "dtml"]) == ("duo", "dtml")
    assert counts_given(2) == (2,) and counts_given("all") == ("all",) and counts_given([4, "all"]) == (4, "all")
    assert counts_given(None) == () and counts_given(0) == (0,)  # which no data set has
    assert seeds_given(0) == (0,) and seeds_given(range(3)) == (0, 1, 2) and seeds_given(np.arange(2)) == (0, 1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"labelled": ["2"]}, "labelled: '2' was given; give a whole number, \"all\", or a list"),
        ({"labelled": 2.0}, "labelled: 2.0 was given"),
        ({"labelled": [True]}, "labelled: True was given"),
        ({"seeds": "0,1"}, "seeds: '0,1' was given; give a whole number, or a list of them, such as [0, 1, 2]"),
        ({"seeds": None}, "seeds: None was given"),
        ({"seeds": [0, 0.5]}, "seeds: 0.5 was given"),
        ({"methods": "supervised,duo"}, "methods: 'supervised,duo' is no name; give one, or a list of them"),
        ({"methods": [3]}, "methods: 3 is no name"),
    ],
)
def test_what_is_no_count_seed_or_name_is_told(phantoms, tmp_path, options, told):
    with pytest.raises(InputError) as refusal:
        duoseg.compare(phantoms, tmp_path / "out", **{"methods": "supervised", **options})
    assert told in str(refusal.value)


def test_the_note_below_the_table_says_what_one_training_each_cannot_show():
    rows = [make_row(f"s{i}", 0.8) for i in range(6)]
    results = [make_result(name, rows, seed=seed) for seed in (0, 1) for name in ("a", "b")]
    assert overview(study_content(results, against="a"))[2] == ""
    assert overview(study_content(results[:2], against="a"))[2].startswith("One training each does not show")
