"""How a training goes, in words: how far it is, what it has learned, and what to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, median

from duoseg.reporting.charts import Line
from duoseg.reporting.records import RunSummary
from duoseg.scans.texts import duration_text
from duoseg.training.log import NOTED, TRAINING_DICE, is_loss

YOUNG = 100
"""Steps before which nothing is said of a training."""
LAST_LOOKS = 5
FLAT = 0.97
WELL_LEARNED = 0.7
HEAVY = 5.0
STARVING = 0.2

Records = Sequence[Mapping[str, float]]


def is_finished(run: RunSummary) -> bool:
    """Whether the run has taken all steps of its plan."""
    return run.steps >= int(run.plan.get("steps") or 0)


def loss_names(records: Records) -> list[str]:
    """The sum and its terms, in order of appearance; the sum is left out where it is the only term said twice."""
    names = list(dict.fromkeys(name for record in records for name in record if is_loss(name)))
    return [name for name in names if name != "loss"] if len(names) == 2 and "loss" in names else names


def curve(records: Records, name: str, title: str = "") -> Line:
    """One value of the log by step, where it is there."""
    points = [(record["step"], record[name]) for record in records if name in record]
    return Line(title or name, [x for x, _ in points], [y for _, y in points])


def dice_curves(records: Records) -> list[Line]:
    """Dice of each class on training patches, by step."""
    return _curves(records, TRAINING_DICE)


def noted_curves(records: Records) -> list[Line]:
    """What the method has noted, by step."""
    return _curves(records, NOTED)


def _curves(records: Records, prefix: str) -> list[Line]:
    names = dict.fromkeys(name for record in records for name in record if name.startswith(prefix))
    return [curve(records, name, name.removeprefix(prefix)) for name in names]


def progress_sentences(run: RunSummary) -> list[str]:
    """How far the training is, and what it has learned of its own patches so far."""
    steps, planned = run.steps, int(run.plan.get("steps") or 0)
    if not run.records:
        return ["Training has not begun."]
    if is_finished(run):
        said = [f"Trained for {steps:,} steps in {duration_text(run.seconds)}."]
    else:
        left = run.seconds * (planned - steps) / steps
        said = [
            f"Step {steps:,} of {planned:,} ({steps / planned:.0%}) after {duration_text(run.seconds)}; about "
            f"{duration_text(left)} to go."
        ]
    learned = [f"{line.name} {mean(line.y[-LAST_LOOKS:]):.2f}" for line in dice_curves(run.records) if line.y]
    if learned:
        said.append(
            f"Dice on the patches that it last learned from: {', '.join(learned)}. That says whether it learns, not "
            "how good it is on other scans."
        )
    return said


def warnings(run: RunSummary) -> list[str]:
    """What may be going wrong, in words, with what to do; nothing in the first steps."""
    if run.steps < max(YOUNG, int(run.plan.get("steps") or 0) // 10):
        return []
    return [*_flat(run), *_never_predicted(run.records), *_heavy(run), *_starving(run)]


def _flat(run: RunSummary) -> list[str]:
    """The loss of annotated patches does not fall, though they are not learned; of a stage that has such a loss."""
    if not run.records or _labelled(run.records[-1], run) is None:
        return []
    totals = [total for record in run.records if (total := _labelled(record, run)) is not None]
    quarter = len(totals) // 4
    scores = [value for line in dice_curves(run.records) for value in line.y[-LAST_LOOKS:]]
    if not quarter or not scores or mean(scores) >= WELL_LEARNED:
        return []
    first, last = median(totals[:quarter]), median(totals[-quarter:])
    if last < FLAT * first:
        return []
    return [
        f"The loss on annotated patches does not fall ({first:.3g} in the first quarter of the steps so far, "
        f"{last:.3g} in the last). Check that labels lie on their scans (`duoseg check`), or lower the learning rate."
    ]


def _never_predicted(records: Records) -> list[str]:
    looks = {line.name: line.y[-LAST_LOOKS:] for line in dice_curves(records)}
    return [
        f"{name} was not found in the last {LAST_LOOKS} looks at annotated patches that show it. If that stays so, it "
        "is too small for this spacing and patch, or too rare: raise `foreground_share`, or plan a finer `--spacing`."
        for name, values in looks.items()
        if len(values) == LAST_LOOKS and not any(values)
    ]


def _heavy(run: RunSummary) -> list[str]:
    """A term that is not of annotated patches outweighs all that are."""
    late = [record for record in run.records[-max(1, len(run.records) // 10) :] if _labelled(record, run)]
    if not late:
        return []
    base = mean(_labelled(record, run) or 0.0 for record in late)
    others = dict.fromkeys(name for record in late for name in record if is_loss(name))
    said = []
    for name in others:
        weight = mean(record.get(name, 0.0) for record in late)
        if name not in (*run.labelled_terms, *run.apart_terms, "loss") and weight > HEAVY * base:
            said.append(
                f"The term {name} is {weight / base:.0f} times what annotated patches teach. Where it stays so, the "
                "students follow each other and no annotation: lower its weight in the method's settings."
            )
    return said


def _starving(run: RunSummary) -> list[str]:
    waited = run.records[-1].get("waited_seconds", 0.0)
    if not run.seconds or waited < STARVING * run.seconds:
        return []
    return [
        f"{waited / run.seconds:.0%} of the time went by waiting for patches: the disk that holds the prepared scans "
        "is slower than the device. Put them on a faster one by `--cache`."
    ]


def _labelled(record: Mapping[str, float], run: RunSummary) -> float | None:
    """The sum of the terms that annotated patches alone make; None where the step had none."""
    terms = [record[name] for name in run.labelled_terms if name in record]
    return sum(terms) if terms else None
