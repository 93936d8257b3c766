"""How scans are divided: every labelled scan is scored once, and nobody is on two sides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duoseg.errors import InputError
from duoseg.scans.cases import Case
from duoseg.scans.dataset import Dataset, load_dataset
from duoseg.study.folds import divide, label_counts, person_texts

LETTERS = "abcdefgh"


def case(name: str, *, label: bool = True, person: str = "") -> Case:
    return Case(name, (Path(f"{name}.nii"),), Path(f"{name}-l.nii") if label else None, person or name, bool(person))


def dataset(train, test=(), holdout=()) -> Dataset:
    return Dataset(Path("data"), ("MR",), {"a": 1}, None, tuple(train), tuple(test), tuple(holdout))


scans = st.lists(st.tuples(st.booleans(), st.sampled_from(["", *LETTERS])), min_size=2, max_size=30)


@given(scans, st.integers(2, 5))
def test_folds_score_each_labelled_scan_once_and_divide_no_person(drawn, folds):
    cases = [case(f"s{i:02d}", label=label, person=person) for i, (label, person) in enumerate(drawn)]
    data = dataset(cases)
    labelled = [one for one in cases if one.label]
    persons = {one.person for one in labelled}
    if folds > len(persons):
        with pytest.raises(InputError, match="--folds"):
            divide(data, folds=folds)
        return
    parts = divide(data, folds=folds)
    assert sorted(one.name for part in parts for one in part.scored) == sorted(one.name for one in labelled)
    assert len(parts) == folds and all(part.scored for part in parts)
    for part in parts:
        scored = {one.person for one in part.scored}
        assert scored.isdisjoint(one.person for one in part.train)
        # Whoever is not scored is trained on, in the order of the data set.
        assert list(part.train) == [one for one in cases if one.person not in scored]
    assert parts == divide(data, folds=folds)


def test_folds_of_single_scans_are_dealt_out_and_of_about_equal_size():
    parts = divide(dataset([case(name) for name in LETTERS[:7]]), folds=3)
    assert [[one.name for one in part.scored] for part in parts] == [list("adg"), list("be"), list("cf")]


def test_holdout_scans_are_training_scans_of_folds_and_test_scans_are_out_of_reach():
    data = dataset([case(name) for name in "abcd"], [case("t")], ["a"])
    parts = divide(data, folds=2)
    assert sorted(one.name for part in parts for one in part.scored) == list("abcd")
    for part in parts:
        assert "t" not in {one.name for one in (*part.train, *part.scored)}


def test_the_holdout_is_scored_and_not_trained_on():
    (part,) = divide(dataset([case(name) for name in "abcd"], [case("t")], ["b", "d"]), on="holdout")
    assert [one.name for one in part.train] == ["a", "c"] and [one.name for one in part.scored] == ["b", "d"]


def test_the_test_scans_with_labels_are_scored():
    data = dataset([case(name) for name in "ab"], [case("t"), case("u", label=False)], ["a"])
    (part,) = divide(data)
    assert [one.name for one in part.scored] == ["t"] and [one.name for one in part.unscored] == ["u"]
    assert [one.name for one in part.train] == ["a", "b"]


def test_what_the_holdout_cannot_score_for_want_of_a_label_is_kept_apart():
    data = dataset([case("a"), case("b"), case("c", label=False), case("d", label=False)], [], ["b", "c"])
    (part,) = divide(data, on="holdout")
    assert [one.name for one in part.scored] == ["b"] and [one.name for one in part.unscored] == ["c"]
    assert [one.name for one in part.train] == ["a", "d"]


@pytest.mark.parametrize(
    ("data", "options", "told"),
    [
        (
            dataset([case("a"), case("b")], [case("t", label=False)], ["a"]),
            {},
            "--on holdout scores its 1 holdout scan",
        ),
        (dataset([case("a"), case("b")]), {}, "--folds 2 scores its labelled training scans in turn"),
        (dataset([case("a"), case("b")]), {"on": "holdout"}, "has no holdout scans with labels"),
        (dataset([case("a"), case("b", label=False)], holdout=["b"]), {"on": "holdout"}, "has no holdout scans"),
        (dataset([case("a"), case("b")]), {"folds": 3}, "give 2"),
        (dataset([case("a", person="p"), case("b", person="p")]), {"folds": 2}, "of two persons, and there is 1"),
        (
            dataset([case("a"), case("b")], holdout=["a"]),
            {"folds": 2, "on": "holdout"},
            "leave one of them out",
        ),
    ],
)
def test_what_cannot_be_scored_is_told_with_what_could_be(data, options, told):
    with pytest.raises(InputError) as refusal:
        divide(data, **options)
    assert told in str(refusal.value)


def test_label_counts_are_those_that_every_fold_has():
    parts = divide(dataset([case(name) for name in LETTERS[:7]]), folds=3)  # 4, 5 and 5 labels are left
    assert label_counts(None, parts) == (4,) and label_counts([1, "all", 4], parts) == (1, 4)
    for wrong in (0, 5, -1):
        with pytest.raises(InputError, match=f"--labelled {wrong}: there are 4 labelled training scans in every fold"):
            label_counts([wrong], parts)


def test_a_scan_called_like_another_scans_person_is_another_person():
    texts = person_texts([case("a", person="x"), case("x"), case("b", person="x"), case("c")])
    assert texts["a"] == texts["b"] == "x" and texts["x"] != "x" and texts["c"] == "c"
    assert len(set(texts.values())) == 3


def test_a_splits_file_takes_the_place_of_the_data_sets_own(phantoms, tmp_path):
    names = [one.name for one in load_dataset(phantoms).train]
    path = tmp_path / "chosen.json"
    path.write_text(json.dumps({"train": names[2:], "test": names[:1]}))
    divided = load_dataset(phantoms, splits=path)
    assert [one.name for one in divided.test] == names[:1] and [one.name for one in divided.train] == names[2:]


def test_a_missing_splits_file_is_told(phantoms, tmp_path):
    with pytest.raises(InputError, match=r"absent\.json: cannot be read"):
        load_dataset(phantoms, splits=tmp_path / "absent.json")
