"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from cyclopts import Parameter, Token, validators

from duoseg.methods import method_names


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Computing:
    """Options of every command; those that run no network compute on CPUs whatever `device` says."""

    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], Parameter(help="Where to compute.")] = "auto"
    threads: Annotated[
        int | None,
        Parameter(validator=validators.Number(gte=1), help="CPU threads; all cores, or OMP_NUM_THREADS, where absent."),
    ] = None
    quiet: Annotated[bool, Parameter(negative="", help="Print results, warnings and errors only.")] = False


EVERYWHERE = Computing()
METHODS = f"One of {', '.join(method_names())}"
Labelled = Annotated[
    int | None, Parameter(help="Use the labels of the first N training scans; all there are where absent.")
]
Steps = Annotated[int | None, Parameter(help="Training steps; the plan's choice where absent.")]
ConfigFile = Annotated[Path | None, Parameter(help="A TOML file of settings, such as a protocol; options win.")]
Cache = Annotated[Path | None, Parameter(help="Folder for prepared scans; by default in DATA.")]
Data = Annotated[Path, Parameter(help="Data set: a folder (nnU-Net or plain layout) or a CSV table.")]


def three(kind: type, tokens: Sequence[Token]) -> tuple:
    """Read "X,Y,Z" into the annotated kind of numbers."""
    number = int if int in get_args(kind) else float
    try:
        x, y, z = (number(part) for part in tokens[0].value.split(","))
    except ValueError as fault:
        example = "64,64,48" if number is int else "1,1,2.5"
        raise ValueError(f"give three numbers with commas between them, such as {example}") from fault
    return x, y, z


def share(kind: type, tokens: Sequence[Token]) -> tuple[int, int]:
    """Read "2/5" into the number of a part and how many there are."""
    number, _, count = tokens[0].value.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ValueError("give which part of how many, such as 2/5")
    return int(number), int(count)


def names(kind: type, tokens: Sequence[Token]) -> list[str]:
    """Read "a,b,c" into a list."""
    values = [part.strip() for token in tokens for part in token.value.split(",")]
    if not all(values):
        raise ValueError("give names with commas between them, such as supervised,duo")
    return values


def numbers(kind: type, tokens: Sequence[Token]) -> list[int]:
    """Read "0,1,2" into a list of whole numbers."""
    try:
        return [int(value) for value in names(kind, tokens)]
    except ValueError as fault:
        raise ValueError("give whole numbers with commas between them, such as 0,1,2") from fault


def counts(kind: type, tokens: Sequence[Token]) -> list[int | Literal["all"]]:
    """Read "4,8,all" into a list of whole numbers and the word "all"."""
    try:
        return ["all" if value == "all" else int(value) for value in names(kind, tokens)]
    except ValueError as fault:
        raise ValueError("give whole numbers, or all, with commas between them, such as 4,8,all") from fault
