"""Which scans a study trains on and which it scores: test scans, holdout scans, or the labelled ones in turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from duoseg.errors import InputError
from duoseg.scans.cases import Case
from duoseg.scans.dataset import Dataset
from duoseg.scans.texts import count_text

On = Literal["test", "holdout"]
Scored = Literal["test", "holdout", "folds"]
"""What a study scores; "folds" are the labelled training scans in turn."""

Labelled = int | Literal["all"]


@dataclass(frozen=True)
class Part:
    """One way to divide the scans of a data set.

    Attributes:
        fold: its number, None where there are no folds.
        train: cases to train on, in order; of which with a label is up to the label count.
        scored: cases to score, all with labels.
        unscored: cases that would be scored, too, if they had labels.
    """

    fold: int | None
    train: tuple[Case, ...]
    scored: tuple[Case, ...]
    unscored: tuple[Case, ...] = ()

    @property
    def labels(self) -> int:
        """How many of the training cases have labels."""
        return sum(case.label is not None for case in self.train)


def divide(dataset: Dataset, *, on: On = "test", folds: int | None = None) -> tuple[Part, ...]:
    """The parts of a study.

    With folds, each labelled training scan is scored in one of them, the persons being dealt out in the data set's
    order, those with most scans first; holdout scans are training scans like others, and test scans are not touched.

    Raises:
        InputError: there is nothing to score, or there are too few persons for so many folds.
    """
    if folds is not None:
        if on == "holdout":
            raise InputError("--folds and --on holdout score different scans: leave one of them out.")
        return _folded(dataset, folds)
    if on == "holdout":
        held = [case for case in dataset.train if case.name in dataset.holdout]
        scored, unscored = _by_label(held)
        if not scored:
            raise InputError(
                f'{dataset.root}: has no holdout scans with labels. Name some training cases under "holdout" in '
                "splits.json, or use --folds."
            )
        return (Part(None, tuple(case for case in dataset.train if case not in held), scored, unscored),)
    scored, unscored = _by_label(dataset.test)
    if not scored:
        raise InputError(f"{dataset.root}: has no test scans with labels to score. {_instead(dataset)}")
    return (Part(None, dataset.train, scored, unscored),)


def label_counts(
    asked: Sequence[Labelled] | None, parts: Sequence[Part], *, source: str = "--labelled"
) -> tuple[int, ...]:
    """The label counts asked for as numbers, each once; "all", and no count at all, are as many as every part has.

    Args:
        asked: the counts.
        parts: of the data set.
        source: where they come from, for the message.

    Raises:
        InputError: there are not so many labels, or a count is no count.
    """
    most = min(part.labels for part in parts)
    where = " in every fold" if len(parts) > 1 else ""
    if most < 1:
        raise InputError(f"There is no labelled training scan{where}: a study needs one at least.")
    counts = []
    for count in asked or ["all"]:
        number = most if count == "all" else count
        if not 1 <= number <= most:
            raise InputError(
                f"{source} {count}: there are {count_text(most, 'labelled training scan')}{where}; give a number "
                f"from 1 to {most}, or all."
            )
        counts.append(number)
    return tuple(dict.fromkeys(counts))  # a number and "all" may be the same


def unscored_names(parts: Iterable[Part]) -> list[str]:
    """The cases that would be scored, too, if they had labels."""
    return [case.name for part in parts for case in part.unscored]


def person_texts(cases: Iterable[Case]) -> dict[str, str]:
    """What tables call the person of each case: equal for the scans of one person, and for no others."""
    cases = list(cases)
    given = {case.subject for case in cases if case.subject_given}
    return {
        case.name: case.subject if case.subject_given or case.subject not in given else f"{case.subject} (scan)"
        for case in cases
    }


def _by_label(cases: Sequence[Case]) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """The cases with a label, and those without."""
    return tuple(case for case in cases if case.label is not None), tuple(case for case in cases if case.label is None)


def _folded(dataset: Dataset, folds: int) -> tuple[Part, ...]:
    labelled = [case for case in dataset.train if case.label is not None]
    scans = Counter(case.person for case in labelled)
    if not 2 <= folds <= len(scans):
        raise InputError(
            f"--folds {folds}: the labelled training scans are of {count_text(len(scans), 'person')}; give "
            f"{'2' if len(scans) == 2 else f'a number from 2 to {len(scans)}'}."
            if len(scans) > 1
            else f"--folds {folds}: folds need labelled training scans of two persons, and there "
            f"{'is' if len(scans) == 1 else 'are'} {len(scans)}."
        )
    held: list[list[Hashable]] = [[] for _ in range(folds)]
    sizes = [0] * folds
    for person, count in scans.most_common():  # equal counts stay in the order of the data set
        fold = sizes.index(min(sizes))
        held[fold].append(person)
        sizes[fold] += count
    return tuple(
        Part(
            fold,
            tuple(case for case in dataset.train if case.person not in persons),
            tuple(case for case in labelled if case.person in persons),
        )
        for fold, persons in enumerate(held)
    )


def _instead(dataset: Dataset) -> str:
    ways = []
    if dataset.holdout:
        ways.append(f"--on holdout scores its {count_text(len(dataset.holdout), 'holdout scan')}")
    persons = {case.person for case in dataset.train if case.label is not None}
    if len(persons) > 1:
        ways.append(f"--folds {min(5, len(persons))} scores its labelled training scans in turn")
    return (
        f"{' and '.join(ways)}." if ways else "Add labels for some, and see the data set layouts in the documentation."
    )
