"""What a study computes: names, entries, label counts and seeds, and what is wrong with them."""

from __future__ import annotations

import pytest

from duoseg.errors import InputError
from duoseg.study.grid import Combination, EntrySettings, find_entries, make_grid

DEFINED = {
    "twice": EntrySettings(method="supervised", steps=2.0),
    "soft": EntrySettings(method="dtml", settings={"k": 9}),
}


def test_every_combination_is_there_once_and_named_after_its_parts():
    entries = find_entries(["dtml", "twice"], DEFINED)
    grid = make_grid(entries, [4, 8], [0, 7], [None])
    assert [one.name for one in grid] == [
        *("dtml-4-seed0", "dtml-4-seed7", "twice-4-seed0", "twice-4-seed7"),
        *("dtml-8-seed0", "dtml-8-seed7", "twice-8-seed0", "twice-8-seed7"),
    ]
    assert Combination.of("dtml", 4, 0, 2).name == "dtml-4-seed0-fold2"


def test_an_entry_is_a_method_with_its_own_steps_and_settings():
    plain, twice, soft = find_entries(["dtml", "twice", "soft"], DEFINED)
    assert [entry.method for entry in (plain, twice, soft)] == ["dtml", "supervised", "dtml"]
    assert [entry.steps(75) for entry in (plain, twice, soft)] == [75, 150, 75]
    assert dict(soft.settings) == {"k": 9} and dict(plain.settings) == {}


@pytest.mark.parametrize(
    ("factor", "steps", "wanted"), [(0.5, 75, 38), (1.5, 75, 112), (0.001, 6, 1), (2.0, 1500, 3000)]
)
def test_the_steps_of_an_entry_are_rounded_and_never_none(factor, steps, wanted):
    (entry,) = find_entries(["x"], {"x": EntrySettings(method="dtml", steps=factor)})
    assert entry.steps(steps) == wanted


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["supervized"], "no method or entry 'supervized'. Did you mean 'supervised'?"),
        (["twise"], "Did you mean 'twice'?"),
        (["dtml", "dtml"], "names dtml more than once"),
        ([], "names no method"),
    ],
)
def test_wrong_methods_are_told_with_the_nearest_name(names, told):
    with pytest.raises(InputError) as refusal:
        find_entries(names, DEFINED)
    assert told in str(refusal.value)


@pytest.mark.parametrize(
    ("defined", "told"),
    [
        (
            {"dtml": EntrySettings(method="supervised")},
            r"\[entries.dtml\]: is also the name of a method",
        ),
        ({"a/b": EntrySettings(method="dtml")}, "folders are called after entries"),
        ({"x": EntrySettings(method="dtlm")}, r"\[entries.x\]: there is no method 'dtlm'. Did you mean 'dtml'"),
    ],
)
def test_wrong_entries_are_told(defined, told):
    with pytest.raises(InputError, match=told):
        find_entries(["supervised"], defined)


@pytest.mark.parametrize(
    ("labelled", "seeds", "told"),
    [
        ([4, 4], [0], "--labelled: names 4 more than once"),
        ([4], [1, 1], "--seeds: names 1 more than once"),
        ([4], [], "--seeds: give one or more"),
        ([4], [-1], "--seeds: give one or more"),
    ],
)
def test_repeated_counts_and_impossible_seeds_are_told(labelled, seeds, told):
    with pytest.raises(InputError, match=told):
        make_grid(find_entries(["dtml"], {}), labelled, seeds, [None])
