"""Tables of accuracy: every seed, the means, and differences scan by scan."""

from __future__ import annotations

from collections.abc import Hashable
from statistics import mean

from duoseg.scores.statistics import summarise

BASELINE = "supervised"
Row = dict
Groups = dict[tuple[str, int], list[Row]]


def as_markdown(rows: list[Row], *, heading: str, subjects: dict[str, Hashable]) -> str:
    """The table of all seeds, their means, the differences to the baseline, and what it was made with."""
    if not rows:
        return "Nothing is finished yet.\n"
    classes = [name for name in rows[0]["mean"] if name != "all" or len(rows[0]["mean"]) > 2]
    groups: Groups = {}
    for row in rows:
        groups.setdefault((row["method"], row["labelled"]), []).append(row)
    machines = "; ".join(sorted({row["made_with"] for row in rows}))
    steps = "; ".join(sorted({f"{row['steps']} steps" for row in rows}))
    parts = [f"{heading} {steps}; {machines}.", *_scores(groups, classes), *_differences(groups, subjects)]
    return "\n\n".join(parts) + "\n"


def _scores(groups: Groups, classes: list[str]) -> list[str]:
    heads = [f"{name} Dice | {name} HD95 (mm)" for name in classes]
    lines = [
        f"| method | labelled | seed | {' | '.join(heads)} | no surface | wall (s) | CPU (s) | peak (MiB) |",
        "| --- |" + " ---: |" * (6 + 2 * len(classes)),
    ]
    for (method, labelled), group in groups.items():
        lines += [_line(method, labelled, str(row["seed"]), [row], classes) for row in group]
        if len(group) > 1:
            lines.append(_line(f"**{method}**", labelled, f"mean of {len(group)}", group, classes))
    return ["\n".join(lines), "'No surface' counts pairs of scan and class without a distance."]


def _differences(groups: Groups, subjects: dict[str, Hashable]) -> list[str]:
    """Dice against the baseline of as many labels: seeds averaged per scan, persons drawn as units."""
    lines = []
    for (method, labelled), group in groups.items():
        baseline = groups.get((BASELINE, labelled))
        if method == BASELINE or baseline is None:
            continue
        cases = list(group[0]["dice"])
        values = [mean(r["dice"][case] for r in group) - mean(r["dice"][case] for r in baseline) for case in cases]
        found = summarise(values, units=[subjects[case] for case in cases])
        lines.append(f"| {method} | {labelled} | {found.mean:+.4f} | {found.low:+.4f} to {found.high:+.4f} |")
    if not lines:
        return []
    head = f"| method | labelled | Dice minus {BASELINE} | 95% interval |\n| --- | ---: | ---: | ---: |\n"
    note = "Seeds are averaged per scan first; the bootstrap draws persons. It does not cover the choice of seeds."
    return [head + "\n".join(lines), note]


def _line(method: str, labelled: int, seed: str, group: list[Row], classes: list[str]) -> str:
    cells = []
    for name in classes:
        cells.append(_mean([row["mean"][name]["dice"] for row in group], 4))
        cells.append(_mean([row["mean"][name]["hd95_mm"] for row in group], 2))
    cells.append(str(sum(row["mean"]["all"]["n_undefined"] for row in group)))
    for kind in ("wall_s", "cpu_s", "peak_mib"):
        cells.append(_mean([row["train"] and row["train"][kind] for row in group], 0))
    return f"| {method} | {labelled} | {seed} | {' | '.join(cells)} |"


def _mean(values: list[float | None], decimals: int) -> str:
    """The mean, or a dash where a value is missing: a mean of the others would flatter."""
    known = [value for value in values if value is not None]
    return f"{mean(known):.{decimals}f}" if len(known) == len(values) else "–"
