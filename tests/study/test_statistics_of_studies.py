"""Summary and comparisons of a study: what a reader of ``study.json`` relies on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

from duoseg.scores.statistics import summarise
from duoseg.study.records import Result
from duoseg.study.statistics import COMPARED, METRICS
from duoseg.study.summary import summarise_study
from study_cases import make_field, make_result, make_row

BASE = [0.70, 0.75, 0.80, 0.72, 0.78, 0.81, 0.69, 0.74]


def only(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1
    return found[0]


def of(method: str, dice: list[float], *, seed: int = 0, **options: Any) -> Result:
    return make_result(method, [make_row(f"scan-{i}", value) for i, value in enumerate(dice)], seed=seed, **options)


def test_a_method_equal_to_the_reference_differs_by_nothing() -> None:
    found = summarise_study([of("a", BASE), of("b", BASE)], against="a")["comparisons"]
    assert {row["metric"] for row in found} == set(COMPARED)
    for row in found:
        assert (row["difference"], row["low"], row["high"], row["p"], row["p_holm"]) == (0, 0, 0, 1, 1)
        assert row["verdict"] == "no difference shown"


def test_a_method_better_on_every_scan_is_better_in_overlap_and_distance() -> None:
    higher = [value + 0.02 + 0.001 * index for index, value in enumerate(BASE)]
    found = summarise_study([of("a", BASE), of("b", higher)], against="a")["comparisons"]
    assert {row["verdict"] for row in found} == {"better"}
    dice, hd95 = only(found, metric="dice"), only(found, metric="hd95_mm_ranked")
    assert dice["difference"] == pytest.approx(np.mean(higher) - np.mean(BASE))
    assert hd95["difference"] < 0
    # Eight of eight in one direction: two of 2**8 ways of giving signs.
    assert dice["p"] == pytest.approx(2 / 2**8)
    turned = summarise_study([of("a", BASE), of("b", higher)], against="b")["comparisons"]
    assert {row["verdict"] for row in turned} == {"worse"}


def seeds_of(gains: list[float]) -> list[Result]:
    """Two methods with a seed for each gain of the second, which is alike on all scans but for their order."""
    results = [of("a", BASE, seed=seed) for seed in range(len(gains))]
    for seed, gain in enumerate(gains):
        results.append(of("b", [value + gain + 0.001 * place for place, value in enumerate(BASE)], seed=seed))
    return results


def test_a_difference_that_one_seed_contradicts_is_not_shown() -> None:
    found = summarise_study(seeds_of([0.05, 0.04, -0.01]), against="a")["comparisons"]
    row = only(found, metric="dice")
    assert row["low"] > 0 and row["p_holm"] < 0.05
    assert row["seed_differences"] == pytest.approx({"0": 0.0535, "1": 0.0435, "2": -0.0065})
    assert row["difference"] == pytest.approx(np.mean(list(row["seed_differences"].values())))
    assert {one["verdict"] for one in found} == {"no difference shown"}
    agreeing = summarise_study(seeds_of([0.05, 0.04, 0.001]), against="a")["comparisons"]
    assert {one["verdict"] for one in agreeing} == {"better"}


def test_one_seed_alone_may_give_a_verdict_and_a_seed_without_any_difference_agrees_with_none() -> None:
    one = only(summarise_study(seeds_of([0.05]), against="a")["comparisons"], metric="dice")
    assert list(one["seed_differences"]) == ["0"] and one["verdict"] == "better"
    two = [*seeds_of([0.05]), of("a", BASE, seed=1), of("b", BASE, seed=1)]
    assert only(summarise_study(two, against="a")["comparisons"], metric="dice")["verdict"] == "no difference shown"


def test_a_seed_that_is_not_finished_has_its_say_since_its_scans_count() -> None:
    """As with folds, of which one seed lacks some."""
    results = [*seeds_of([0.05, 0.04]), of("b", [value - 0.1 for value in BASE], seed=2)]
    results += [make_result("a", [make_row("scan-0", BASE[0])], seed=2)]
    row = only(summarise_study(results, against="a")["comparisons"], metric="dice")
    assert row["seeds"] == [0, 1] and row["seed_differences"]["2"] == pytest.approx(-0.1)
    assert row["low"] > 0 and row["p_holm"] < 0.05 and row["verdict"] == "no difference shown"


@pytest.mark.parametrize(("persons", "expected"), [(5, "no difference shown"), (6, "better")])
def test_no_verdict_is_given_on_fewer_than_six_persons(persons: int, expected: str) -> None:
    higher = [value + 0.02 + 0.001 * index for index, value in enumerate(BASE)]
    rows = [
        [make_row(f"scan-{i}", value, person=f"person-{i % persons}") for i, value in enumerate(dice)]
        for dice in (BASE, higher)
    ]
    found = summarise_study([make_result("a", rows[0]), make_result("b", rows[1])], against="a")["comparisons"]
    row = only(found, metric="dice")
    assert row["low"] > 0
    assert row["verdict"] == expected


def test_equal_methods_are_seldom_called_better_or_worse() -> None:
    draw = np.random.default_rng(11)
    base = make_row("x", 0.5)
    dice = 0.5 + draw.normal(0, 0.05, (200, 6))
    results = [
        make_result(
            f"m{index}",
            [
                base.model_copy(update={"case": f"s{i}", "person": f"s{i}", "dice": float(value)})
                for i, value in enumerate(row)
            ],
        )
        for index, row in enumerate(dice)
    ]
    # Pairs of their own: methods that are all compared with one share its luck.
    pairs = [summarise_study(results[index : index + 2], against=f"m{index}") for index in range(0, 200, 2)]
    verdicts = [only(found["comparisons"], metric="dice")["verdict"] for found in pairs]
    assert np.mean([one != "no difference shown" for one in verdicts]) < 0.12


def test_of_many_equal_methods_seldom_any_is_called_better_or_worse() -> None:
    draw, called = np.random.default_rng(3), []
    for _ in range(30):
        results = [of(f"m{index}", draw.normal(0.6, 0.05, 12).tolist()) for index in range(15)]
        rows = [row for row in summarise_study(results, against="m0")["comparisons"] if row["metric"] == "dice"]
        called.append(any(row["verdict"] != "no difference shown" for row in rows))
    assert np.mean(called) <= 0.1


def test_a_missed_organ_worsens_the_ranked_distance_and_not_the_other() -> None:
    rows = [make_row(f"scan-{index}", value) for index, value in enumerate(BASE)]
    hardest = int(np.argmin(BASE))
    missed = make_row(f"scan-{hardest}", 0.0, hd95_mm=None, assd_mm=None, diagonal_mm=123.0)
    rows[hardest] = rows[hardest].model_copy(update={"diagonal_mm": 123.0})
    worse = [missed if index == hardest else row for index, row in enumerate(rows)]
    found = summarise_study([make_result("a", rows), make_result("b", worse)], against="a")
    good, bad = ({row["metric"]: row for row in found["summary"] if row["method"] == method} for method in ("a", "b"))
    assert bad["hd95_mm"]["mean"] < good["hd95_mm"]["mean"]
    assert bad["hd95_mm_ranked"]["mean"] > good["hd95_mm_ranked"]["mean"]
    distances = [20 * (1 - value) for index, value in enumerate(BASE) if index != hardest]
    assert bad["hd95_mm_ranked"]["mean"] == pytest.approx(np.mean([*distances, 123.0]))
    assert (bad["hd95_mm"]["n"], bad["hd95_mm"]["n_undefined"]) == (len(BASE) - 1, 1)
    assert bad["hd95_mm_ranked"]["n"] == len(BASE)
    assert only(found["comparisons"], metric="hd95_mm_ranked")["difference"] > 0


def test_a_surface_that_nobody_can_see_is_no_missed_organ() -> None:
    unseen = make_row("scan-8", 1.0, hd95_mm=None, assd_mm=None, nsd=None, diagonal_mm=123.0)
    rows = [*(make_row(f"scan-{index}", value) for index, value in enumerate(BASE)), unseen]
    found = summarise_study([make_result("a", rows)], against="a")["summary"]
    hd95, ranked = only(found, metric="hd95_mm"), only(found, metric="hd95_mm_ranked")
    assert ranked["mean"] == hd95["mean"] == pytest.approx(np.mean([20 * (1 - value) for value in BASE]))


def test_the_difference_over_classes_has_the_same_classes_on_both_sides() -> None:
    def rows(easy: float, hard: float, nsd: float | None) -> list[Any]:
        return [make_row("x", easy, label="easy"), make_row("x", hard, label="hard", nsd=nsd)]

    results = [make_result("a", rows(0.9, 0.5, 0.5)), make_result("b", rows(0.8, 0.4, None))]
    row = only(summarise_study(results, against="a")["comparisons"], **{"class": "all"}, metric="nsd")
    assert row["difference"] == pytest.approx(-0.1)


def test_seeds_are_averaged_per_scan_before_anything_else() -> None:
    draw = np.random.default_rng(0)
    seeds = [np.clip(np.array(BASE) + draw.normal(0, 0.05, len(BASE)), 0, 1).tolist() for _ in range(3)]
    row = only(
        summarise_study([of("a", dice, seed=s) for s, dice in enumerate(seeds)], against="a")["summary"], metric="dice"
    )
    alone = summarise(np.mean(seeds, axis=0).tolist())
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((alone.mean, alone.low, alone.high))
    means = np.mean(seeds, axis=1)
    assert list(row["seeds"].values()) == pytest.approx(means.tolist())
    assert row["seed_sd"] == pytest.approx(np.std(means, ddof=1))
    assert row["n_persons"] == len(BASE)


def test_persons_are_the_units_of_interval_and_test() -> None:
    persons = [f"person-{index // 2}" for index in range(len(BASE))]
    gain = [0.03, 0.01, -0.02, 0.04, 0.01, 0.02, 0.05, -0.01]
    first = [make_row(f"s{i}", v, person=p) for i, (v, p) in enumerate(zip(BASE, persons, strict=True))]
    second = [make_row(f"s{i}", v + g, person=p) for i, (v, g, p) in enumerate(zip(BASE, gain, persons, strict=True))]
    found = summarise_study([make_result("a", first), make_result("b", second)], against="a")
    row = only(found["comparisons"], metric="dice")
    assert row["n_persons"] == 4
    assert row["p"] == pytest.approx(stats.wilcoxon(np.reshape(gain, (4, 2)).mean(axis=1)).pvalue)
    expected = summarise(gain, units=persons)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))


def test_only_seeds_that_both_have_finished_are_compared() -> None:
    higher = [value + 0.1 for value in BASE]
    results = [of("a", BASE), of("a", higher, seed=1), of("b", BASE, seed=0)]
    found = summarise_study(results, against="a")
    row = only(found["comparisons"], metric="dice")
    assert row["difference"] == 0
    assert row["seeds"] == [0]
    assert only(found["summary"], metric="dice", method="b")["seeds"].keys() == {"0"}


def test_methods_without_a_common_seed_are_not_compared() -> None:
    found = summarise_study([of("a", BASE), of("b", BASE, seed=1)], against="a")
    assert found["comparisons"] == []
    assert {row["method"] for row in found["summary"]} == {"a", "b"}
    assert summarise_study([of("b", BASE)], against="a")["comparisons"] == []
    assert summarise_study([], against="a") == {"summary": [], "comparisons": []}


def test_holm_corrects_over_the_methods_of_one_label_count() -> None:
    draw = np.random.default_rng(1)

    def near() -> list[float]:
        return (np.array(BASE) + draw.normal(0.01, 0.02, len(BASE))).tolist()

    results = [of("a", BASE), of("b", near()), of("c", near()), of("a", BASE, labelled=8), of("b", near(), labelled=8)]
    found = [row for row in summarise_study(results, against="a")["comparisons"] if row["metric"] == "dice"]
    four = [row for row in found if row["labelled"] == 4]
    first, last = sorted(four, key=lambda row: row["p"])
    assert first["p_holm"] == pytest.approx(min(1, 2 * first["p"]))
    assert last["p_holm"] == pytest.approx(max(first["p_holm"], last["p"]))
    (eight,) = (row for row in found if row["labelled"] == 8)
    assert eight["p_holm"] == eight["p"]


def test_all_is_the_mean_over_classes_within_a_scan() -> None:
    rows = [make_row("x", 0.8, label="atrium"), make_row("x", 0.0, label="ventricle", hd95_mm=None, assd_mm=None)]
    found = summarise_study([make_result("a", rows)], against="a")["summary"]
    assert len(found) == 3 * len(METRICS)
    dice, hd95, ranked = (only(found, **{"class": "all"}, metric=m) for m in ("dice", "hd95_mm", "hd95_mm_ranked"))
    assert dice["mean"] == pytest.approx(0.4)
    assert hd95["mean"] == pytest.approx(4.0)
    assert hd95["n_undefined"] == 1
    assert ranked["mean"] == pytest.approx((4.0 + 100.0) / 2)
    alone = summarise_study([make_result("a", rows[:1])], against="a")["summary"]
    assert {row["class"] for row in alone} == {"atrium"}


def test_folds_of_a_seed_are_one_set_of_scans() -> None:
    def half(method: str, fold: int, gain: float) -> Result:
        rows = [make_row(f"scan-{i}", BASE[i] + gain) for i in range(fold * 4, fold * 4 + 4)]
        return make_result(method, rows, fold=fold)

    results = [half("a", 0, 0.0), half("a", 1, 0.0), half("b", 0, 0.1), half("b", 1, 0.1)]
    found = summarise_study(results, against="a")
    assert only(found["summary"], metric="dice", method="a")["n"] == len(BASE)
    row = only(found["comparisons"], metric="dice")
    assert (row["difference"], row["n_persons"]) == (pytest.approx(0.1), len(BASE))


def test_a_seed_that_lacks_a_fold_is_no_finished_seed() -> None:
    def half(fold: int, dice: float, seed: int) -> Result:
        return make_result("a", [make_row(f"scan-{fold}", dice)], fold=fold, seed=seed)

    found = summarise_study([half(0, 0.9, 0), half(1, 0.6, 0), half(0, 0.91, 1)], against="a")["summary"]
    row = only(found, metric="dice")
    assert row["seeds"] == {"0": pytest.approx(0.75)}
    assert row["seed_sd"] is None
    assert row["n"] == 2


def test_a_method_that_lacks_a_fold_in_every_seed_has_no_finished_seed() -> None:
    def half(method: str, fold: int, seed: int) -> Result:
        rows = [make_row(f"scan-{fold}-{i}", 0.6 + 0.1 * fold + 0.01 * i) for i in range(3)]
        return make_result(method, rows, fold=fold, seed=seed)

    results = [half("a", fold, seed) for fold in (0, 1) for seed in (0, 1)]
    results += [half("b", 0, seed) for seed in (0, 1)]
    found = summarise_study(results, against="a")
    assert only(found["summary"], metric="dice", method="b")["seeds"] == {}
    assert only(found["comparisons"], metric="dice")["seeds"] == []


def test_statistics_are_plain_values_and_do_not_depend_on_the_order_of_scans() -> None:
    results = make_field(("a", "b", "c"), labelled=(4,), seeds=2, cases=6)
    found = summarise_study(results, against="a")
    json.dumps(found, allow_nan=False)
    turned = [result.model_copy(update={"rows": tuple(sorted(result.rows, key=hash_of))}) for result in results]
    for key, rows in found.items():
        for row, other in zip(rows, summarise_study(turned, against="a")[key], strict=True):
            assert row == other


def hash_of(row: Any) -> tuple[str, str]:
    # Classes keep their order of appearance.
    return row.case[::-1], row.class_name
