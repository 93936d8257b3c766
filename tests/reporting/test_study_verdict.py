"""What a study's page says in words: who is better, who is not, and what must not be concluded."""

from __future__ import annotations

from typing import Any

from duoseg.reporting.study_verdict import verdict
from duoseg.study.reading import parse_study
from study_cases import make_result, make_row, study_content

BASE = [0.70, 0.75, 0.80, 0.72, 0.78, 0.81, 0.69, 0.74]


def of(method: str, dice: list[float], *, labelled: int = 4, seed: int = 0) -> Any:
    rows = [make_row(f"scan-{index}", value) for index, value in enumerate(dice)]
    return make_result(method, rows, labelled=labelled, seed=seed)


def test_the_verdict_names_better_worse_and_unclear_methods_and_warns_of_the_choice() -> None:
    up, down = [value + 0.03 for value in BASE], [value - 0.03 for value in BASE]
    unclear = [value + change for value, change in zip(BASE, [0.05, -0.05] * 4, strict=True)]
    results = [of("base", BASE), of("good", up), of("bad", down), of("odd", unclear)]
    text = " ".join(verdict(parse_study(study_content(results, against="base"))))
    assert text.startswith("With 4 labelled scans, good has the highest mean Dice: 77.88%")
    assert "better: good (+3.00 points, p 0.023); worse: bad (−3.00 points, p 0.023); no difference shown: odd." in text
    assert "hint" not in text
    assert "These are test scans" in text
    assert "One training each does not show how much chance in training matters" in text


def test_the_verdict_calls_a_difference_that_the_correction_does_not_bear_a_hint() -> None:
    nearly = [
        value + gain for value, gain in zip(BASE, [0.04, 0.03, 0.02, 0.05, 0.01, 0.03, -0.001, -0.002], strict=True)
    ]
    others = [of(f"same_{index}", BASE) for index in range(8)]
    content = study_content([of("base", BASE), of("nearly", nearly), *others], against="base")
    text = " ".join(verdict(parse_study(content)))
    assert "better: none" in text
    assert (
        "a hint at most, with an interval off 0 that does not stand the correction (p of 0.05 or more): nearly" in text
    )


def test_the_verdict_names_what_one_seed_contradicts_and_nothing_else() -> None:
    gains = [0.05, 0.04, -0.01]
    results = [of("base", BASE, seed=seed) for seed in range(3)]
    results += [of("torn", [value + gain for value in BASE], seed=seed) for seed, gain in enumerate(gains)]
    text = " ".join(verdict(parse_study(study_content(results, against="base"))))
    assert "better: none; worse: none; not with each seed: torn (+2.67 points, −1.00 with seed 2, p 0.008)." in text
    assert "hint" not in text and "lean" not in text


def test_the_verdict_leaves_incomplete_entries_out_of_the_highest() -> None:
    up = [value + 0.03 for value in BASE]
    results = [of("base", BASE, seed=seed) for seed in (0, 1)] + [of("lucky", up, seed=0)]
    text = " ".join(verdict(parse_study(study_content(results, against="base"))))
    assert text.startswith("With 4 labelled scans, base has the highest mean Dice: 74.88% (95% interval")
    assert "of the complete entries; lucky † is incomplete and left out of this" in text
    assert "better: lucky † (+3.00 points" in text
    assert "lucky-4-seed1 not asked for" in text
    lone = study_content([of("base", BASE, seed=0), of("lucky", up, seed=1)], against="base")
    assert "no entry is complete, so none is called the highest" in " ".join(verdict(parse_study(lone)))


def test_the_verdict_names_a_small_p_beside_an_interval_over_zero() -> None:
    lost = [value + 0.02 + 0.001 * index for index, value in enumerate([*BASE, *BASE])]
    lost[3] -= 0.4
    content = study_content([of("base", [*BASE, *BASE]), of("odd", lost)], against="base")
    study = parse_study(content)
    row = study.difference("odd", 4, "dice")
    assert row is not None and row.verdict == "no difference shown" and row.p_holm < 0.05
    text = " ".join(verdict(study))
    assert f"no difference of means shown, though the ranks of the scans lean one way: odd (p {row.p_holm:.3f})" in text


def test_the_verdict_warns_of_few_persons() -> None:
    text = " ".join(verdict(parse_study(study_content([of("base", BASE[:3]), of("x", BASE[:3])], against="base"))))
    assert "With 3 persons no p of this test can fall below 0.25" in text
    assert "fewer than 6 allow no verdict" in text


def test_the_verdict_says_where_the_reference_has_no_result() -> None:
    results = [of("base", BASE), of("other", BASE), of("other", BASE, labelled=8)]
    content = study_content(results, against="base", failed={"base-8-seed0": "no memory"})
    text = " ".join(verdict(parse_study(content)))
    assert "base has no result there, so nothing is compared with it" in text
    assert "base-8-seed0 failed" in text
