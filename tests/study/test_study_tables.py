"""Tables for papers: what a paste into GitHub or LaTeX relies on."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from duoseg.errors import InputError
from duoseg.methods.registry import find_method
from duoseg.study.markup import Heading, PaperTable, escape_latex, escape_markdown, latex_table, markdown_table
from duoseg.study.reading import parse_study
from duoseg.study.sentences import definitions, entries_text, marked, p_text, scope, unfinished
from duoseg.study.summary import summarise_study
from duoseg.study.tables import latex, markdown, tables, write_tables
from study_cases import NAMES, make_cost, make_field, make_result, make_row, study_content

HOSTILE = r"a_b|50% \x {y} $z$ #1 ~^ & <i> [l]* `c`"


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    missing = ("cps-4-seed1", "bcp-8-seed0", "bcp-8-seed1", "bcp-8-seed2")
    failed = dict.fromkeys(missing, "out of memory") | {"cps-4-seed1": ""}
    return study_content(make_field(cases=8, missing=missing), against="supervised", failed=failed)


def cells(line: str) -> list[str]:
    """The cells of a row as GitHub reads them: a bar with a backslash before it is text."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_has_a_row_for_every_method_and_label_count_and_even_columns(content: dict[str, Any]) -> None:
    text = markdown(content)
    lines = text.splitlines()
    starts = [index for index, line in enumerate(lines) if set(line) <= set("|-: ") and "---" in line]
    assert len(starts) == len(tables(parse_study(content))) == 5
    for start in starts:
        width = len(cells(lines[start]))
        rows = []
        for line in lines[start + 1 :]:
            if not line.startswith("|"):
                break
            rows.append(cells(line))
        assert len(cells(lines[start - 1])) == width
        assert {len(row) for row in rows} == {width}
        assert [row[0].removesuffix(" †") for row in rows] == [*NAMES, *NAMES]
        assert [row[1] for row in rows] == ["4"] * 15 + ["8"] * 15


def test_the_main_row_says_what_the_study_says(content: dict[str, Any]) -> None:
    study = parse_study(content)
    mean, difference = study.mean("dtml", 8, "dice"), study.difference("dtml", 8, "dice")
    assert mean is not None and mean.low is not None and mean.high is not None and mean.mean is not None
    assert difference is not None and difference.low is not None
    main = tables(study)[0]
    row = next(row for row in main.rows if row[:2] == ["dtml", "8"])
    place = next(index for index, heading in enumerate(main.headings) if heading.text.startswith("Dice minus"))
    assert row[2] == f"{100 * mean.mean:.2f} ({100 * mean.low:.2f} to {100 * mean.high:.2f})"
    mark = {"better": "▲", "worse": "▼", "no difference shown": ""}[difference.verdict]
    assert row[place - 1] == mark
    assert row[place].startswith(f"{100 * difference.difference:+.2f}".replace("-", "−"))
    assert row[-1] == "1.40"


def test_incomplete_methods_are_marked_and_named(content: dict[str, Any]) -> None:
    text = markdown(content)
    assert "| cps † | 4 |" in text
    assert "| cps | 8 |" in text
    assert "| bcp † | 8 | – |" in text
    assert "bcp-8-seed0, bcp-8-seed1 and bcp-8-seed2 failed; cps-4-seed1 not done" in text


def test_what_another_entry_has_and_this_one_was_never_asked_for_is_missing_too() -> None:
    rows = [make_row(f"s{i}", 0.8) for i in range(6)]
    results = [make_result("a", rows, seed=seed, fold=fold) for seed in (0, 1) for fold in (0, 1)]
    results += [make_result("b", rows, seed=0, fold=fold) for fold in (0, 1)]
    results += [make_result("c", rows, labelled=8)]
    study = parse_study(study_content(results, against="a"))
    assert not study.is_incomplete("a", 4)
    assert study.is_incomplete("b", 4)
    # Nobody has another seed with 8 labelled scans.
    assert not study.is_incomplete("c", 8)
    assert [one.name for one in study.missing("b", 4)] == ["b-4-seed1-fold0", "b-4-seed1-fold1"]
    text = unfinished(study)
    assert "b-4-seed1-fold0 and b-4-seed1-fold1 not asked for" in text
    assert text in definitions(study)
    assert marked(study, "b", 4) == "b †"


def test_a_complete_study_has_no_dagger() -> None:
    study = parse_study(study_content([make_result("a", [make_row("s", 0.8)])], against="a"))
    assert unfinished(study) == ""
    assert "†" not in " ".join(definitions(study))


def test_the_scope_counts_in_words_that_agree() -> None:
    content = study_content([make_result("a", [make_row("s", 0.8)], labelled=1)], against="a")
    assert "1 method and 1 seed (0) with 1 labelled scan: scored on 1 test scan." in scope(parse_study(content))
    content["data"] |= {"on": "folds", "folds": 4}
    assert "each scored once for each method and seed" in scope(parse_study(content))


@pytest.mark.parametrize(("persons", "told"), [(5, True), (6, False)])
def test_few_persons_are_told_of(persons: int, told: bool) -> None:
    rows = [make_row(f"s{i}", 0.8, person=f"p{i % persons}") for i in range(6)]
    study = parse_study(study_content([make_result("a", rows), make_result("b", rows)], against="a"))
    text = " ".join(definitions(study))
    assert ("With 5 persons no p of this test can fall below 0.0625" in text) == told


def test_more_rivals_than_so_few_persons_can_tell_apart_are_told_of() -> None:
    good, bad = ([make_row(f"s{i}", dice) for i in range(6)] for dice in (0.9, 0.5))
    results = [make_result("a", bad), make_result("b", good), make_result("c", good)]
    study = parse_study(study_content(results, against="a"))
    assert "With 6 persons and 2 rivals no p can fall below 0.062 after Holm" in " ".join(definitions(study))
    assert all(row.p_holm >= 0.05 for row in study.comparisons if row.metric == "dice")
    study = parse_study(study_content(results[:2], against="a"))
    assert "after Holm:" not in " ".join(definitions(study))


def test_one_training_each_is_told_of_and_who_has_no_more() -> None:
    rows = [make_row(f"s{i}", 0.8) for i in range(6)]
    results = [make_result("a", rows), make_result("b", rows)]
    told = "One training each does not show how much chance in training matters"
    content = study_content(results, against="a")
    assert told in markdown(content) and told in latex(content)
    results += [make_result("a", rows, seed=1), make_result("b", rows, seed=1), make_result("c", rows)]
    assert "One training each (c with 4 labelled) does not show" in markdown(study_content(results, against="a"))
    assert "One training each" not in markdown(study_content(results[:-1], against="a"))


def test_a_study_of_an_earlier_version_is_read_and_its_marks_are_explained_as_they_were_given() -> None:
    content = study_content(make_field(NAMES[:2], labelled=(4,), seeds=2, cases=6), against="supervised")
    assert "and the difference has one sign with every seed" in markdown(content)
    for row in content["comparisons"]:
        del row["seed_differences"]
    assert "one sign with every seed" not in markdown(content) and "One training each" not in markdown(content)


def test_settings_that_are_not_the_methods_own_are_told() -> None:
    results = [make_result(name, [make_row("s", 0.8)]) for name in ("dtml", "soft", "dtc")]
    content = study_content(results, against="dtc")
    usual = {name: find_method(name).Settings().model_dump(mode="json") for name in ("dtml", "dtc")}
    content["entries"]["dtml"]["settings"] = usual["dtml"] | {"k": 7.0, "predict": "mean"}
    content["entries"]["soft"] |= {"method": "dtml", "settings": usual["dtml"] | {"k": 3.0}}
    content["entries"]["dtc"]["settings"] = usual["dtc"]
    told = "dtml had k = 7.0 and predict = mean, which is not this version's default. soft is dtml with k = 3.0."
    assert entries_text(parse_study(content)) == f"Each training took 200 steps. {told}"


def test_scans_that_could_not_be_scored_are_told_beside_the_number_of_those_that_were() -> None:
    content = study_content([make_result("a", [make_row("s", 0.8)])], against="a")
    content["data"]["unscored"] = ["x", "y"]
    assert "scored on 1 test scan; 2 more have no label (x, y)." in markdown(content)


def test_several_codes_of_a_method_are_told() -> None:
    content = study_content([make_result("a", [make_row("s", 0.8)])], against="a")
    content["computed_with"] = ["duoseg 1, torch 2, cpu, 1 thread", "2 codes of mtcps"]
    text = " ".join(definitions(parse_study(content)))
    assert "cpu, 1 thread and 2 codes of mtcps: figures may differ in their last digits, and by more between" in text


@pytest.mark.parametrize(("p", "text"), [(0.0497, "0.0497"), (0.0503, "0.0503"), (0.049, "0.049"), (0.0004, "<0.001")])
def test_a_p_shows_on_which_side_of_the_level_it_lies(p: float, text: str) -> None:
    assert p_text(p) == text


def test_few_persons_are_told_of_the_entries_that_have_them_alone() -> None:
    rows = [make_row(f"s{i}", 0.8) for i in range(8)]
    results = [make_result("a", rows), make_result("b", rows), make_result("c", rows[:3])]
    text = " ".join(definitions(parse_study(study_content(results, against="a"))))
    assert "With 3 persons no p" in text
    assert "allow no verdict: that is so of c with 4 labelled." in text


def test_every_seed_is_shown_and_a_missing_one_is_a_dash(content: dict[str, Any]) -> None:
    study = parse_study(content)
    seeds = tables(study)[1]
    assert [heading.text for heading in seeds.headings] == [
        *("Method", "Labelled", "Seed 0", "Seed 1", "Seed 2", "Mean", "SD")
    ]
    row = next(row for row in seeds.rows if row[0].startswith("cps") and row[1] == "4")
    mean = study.mean("cps", 4, "dice")
    assert mean is not None
    assert row[2:5] == [f"{100 * (mean.seeds['0'] or 0):.2f}", "–", f"{100 * (mean.seeds['2'] or 0):.2f}"]


def test_undefined_distances_are_shown_in_both_versions_where_there_are_any() -> None:
    rows = [make_row(f"s{i}", 0.8, label=label) for i in range(4) for label in ("a", "b")]
    whole = study_content([make_result("x", rows)], against="x")
    missed = [*rows[:-1], make_row("s3", 0.0, label="b", hd95_mm=None, assd_mm=None)]
    lacking = study_content([make_result("x", missed)], against="x")
    assert "HD95 found" not in markdown(whole)
    assert "there is none here" in markdown(whole)
    by_name = {table.name: table for table in tables(parse_study(lacking))}
    titles = [heading.text for heading in by_name["class-2"].headings]
    row = dict(zip(titles, by_name["class-2"].rows[0], strict=True))
    assert (row["HD95 found"], row["HD95"]) == ("4.00", f"{(3 * 4 + 100) / 4:.2f}")
    assert "1 distance is undefined" in markdown(lacking)


def test_with_one_class_the_main_table_shows_both_versions_of_a_distance() -> None:
    rows = [make_row(f"s{i}", 0.8) for i in range(3)]
    missed = [*rows, make_row("s3", 0.0, hd95_mm=None, assd_mm=None)]
    main = tables(parse_study(study_content([make_result("x", missed)], against="x")))[0]
    row = dict(zip([heading.text for heading in main.headings], main.rows[0], strict=True))
    assert (row["HD95 found"], row["HD95"], row["ASSD found"]) == ("4.00", f"{(3 * 4 + 100) / 4:.2f}", "1.00")
    assert "HD95 found" not in markdown(study_content([make_result("x", rows)], against="x"))


def test_a_table_alone_says_the_tolerance_of_nsd() -> None:
    rows = [make_row(f"s{i}", 0.8) for i in range(3)]
    assert "NSD has a tolerance of 1 mm." in markdown(study_content([make_result("x", rows)], against="x"))


def test_unknown_costs_are_dashes_and_a_gpu_has_a_column() -> None:
    rows = [make_row(f"s{i}", 0.8) for i in range(3)]
    unknown = make_cost(None, gpu_peak_mib=2048.0)
    row = tables(parse_study(study_content([make_result("x", rows, cost=unknown)], against="x")))[0]
    by_title = dict(zip([heading.text for heading in row.headings], row.rows[0], strict=True))
    assert (by_title["CPU"], by_title["Wall"], by_title["GPU"]) == ("–", "–", "2048")


def test_latex_escapes_what_has_a_meaning_there() -> None:
    assert escape_latex("mean_teacher 5% a&b #1 {x} $") == r"mean\_teacher 5\% a\&b \#1 \{x\} \$"
    assert escape_latex("a\\b~^") == r"a\textbackslash{}b\textasciitilde{}\textasciicircum{}"
    assert escape_latex("−0.1 ▲ †") == r"$-$0.1 $\uparrow$ $^\dagger$"


def test_markdown_escapes_what_has_a_meaning_there_and_leaves_names_readable() -> None:
    assert escape_markdown("mean_teacher") == "mean_teacher"
    assert escape_markdown("a|b *c* _d_ <e> [f]") == r"a\|b \*c\* \_d\_ \<e\> \[f\]"
    table = PaperTable("t", HOSTILE, [Heading(HOSTILE, is_text=True), Heading("x")], [[HOSTILE, "1"]])
    rows = [line for line in markdown_table(table).splitlines() if line.startswith("|")]
    assert {len(cells(row)) for row in rows} == {2}


def test_latex_is_balanced_and_every_row_has_all_columns(content: dict[str, Any]) -> None:
    text = latex(content)
    found = re.findall(r"\\begin\{tabular\}\{@\{\}(\w+)@\{\}\}\n(.*?)\\end\{tabular\}", text, re.DOTALL)
    assert len(found) == 8
    for columns, body in found:
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) >= 31
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
    exotic = r"\\(cmidrule|multirow|makecell|resizebox|rowcolor|adjustbox|textquotedbl)"
    assert not re.findall(exotic, text)
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(labels) == len(set(labels)) == 8


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
@pytest.mark.slow
def test_latex_compiles_with_booktabs_alone_within_the_width_of_a_page(content: dict[str, Any], tmp_path: Path) -> None:
    hostile = PaperTable("t", HOSTILE, [Heading(HOSTILE), Heading("[x]")], [["1", "2"], ["[3]", HOSTILE + "\"'"]])
    body = latex(content) + latex_table(hostile)
    page = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{body}\\end{{document}}\n"
    (tmp_path / "page.tex").write_text(page, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull \\hbox" not in done.stdout


def test_a_case_of_two_persons_is_refused_by_name() -> None:
    first, second = (
        make_result("a", [make_row("x", 0.8, person="p")]),
        make_result("b", [make_row("x", 0.7, person="q")]),
    )
    with pytest.raises(InputError, match="x: is of 'p' in some results and of 'q' in others"):
        summarise_study([first, second], against="a")


def test_files_are_written_beside_the_study_and_the_same_each_time(content: dict[str, Any], tmp_path: Path) -> None:
    write_tables(content, tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_tables(content, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert first.keys() == {"tables.md", "tables.tex"}


@pytest.mark.parametrize(
    ("change", "named"),
    [({"against": "nobody"}, "nobody"), ({"summary": [{"method": 3}]}, r"summary\.0"), ({"seeds": "x"}, "seeds")],
)
def test_what_is_no_study_is_refused_by_the_field_at_fault(
    content: dict[str, Any], change: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        markdown(content | change)
