"""A run's settings as one TOML file: each wing's own settings, joined. Protocol files have the same form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from duoseg.errors import InputError
from duoseg.files import read_toml, write_text
from duoseg.methods.registry import find_method
from duoseg.planning.overrides import require_known
from duoseg.prediction.model import PredictionSettings
from duoseg.scans.texts import some_text
from duoseg.study.grid import EntrySettings
from duoseg.training.settings import TrainingSettings

CONFIG = "config.toml"
DEFAULT_METHOD = "duo"

LONGEST_KEY = 100
"""Characters of a wrong key that are repeated in a message."""

Model = TypeVar("Model", bound=BaseModel)


class Config(BaseModel):
    """Everything that an experiment fixes besides its data.

    Attributes:
        method: name of the method.
        labelled: keep the labels of so many training scans; all where absent.
        steps: training steps; the plan's choice where absent.
        plan: replaces values of the automatic plan, section by section.
        methods: settings of methods, by method name.
        entries: what ``duoseg compare`` may compare besides the methods, by name; a single run has no use for them.
        training: seed, precision, checkpoints.
        prediction: mirroring, largest component.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str = DEFAULT_METHOD
    labelled: Annotated[int, Field(ge=1)] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    plan: dict[str, Any] = {}
    methods: dict[str, dict[str, Any]] = {}
    entries: dict[str, EntrySettings] = {}
    training: TrainingSettings = TrainingSettings()
    prediction: PredictionSettings = PredictionSettings()

    def with_options(
        self,
        *,
        method: str | None = None,
        labelled: int | None = None,
        steps: int | None = None,
        seed: int | None = None,
    ) -> Config:
        """These settings, with those options replaced that were given."""
        given = {"method": method, "labelled": labelled, "steps": steps}
        changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        if seed is not None:
            changes["training"] = {**self.training.model_dump(), "seed": seed}
        return parse(Config, {**self.model_dump(), **changes}, source="options")


def load_config(path: Path) -> Config:
    """Read a run's ``config.toml`` or a protocol file.

    Raises:
        InputError: the file is missing, too large or no TOML, a key is unknown (the nearest known one is named), or a
            value wrong.
    """
    return parse(Config, read_toml(path), source=str(path))


def load_checked_config(path: Path) -> Config:
    """A file that a person wrote: every method and setting that it names must be there, used now or not.

    Raises:
        InputError: the file cannot be read, or names what there is not, or has a wrong value; the message names the
            file, the section and the setting.
    """
    config = load_config(path)
    with _naming(f"{path}: [plan]"):
        require_known(config.plan)
    for name, values in config.methods.items():
        with _naming(f"{path}: [methods.{name}]"):
            settings = find_method(name).Settings
        parse(settings, values, source=f"{path}: [methods.{name}]")
    for name, entry in config.entries.items():
        with _naming(f"{path}: [entries.{name}]"):
            settings = find_method(entry.method).Settings
        values = {**config.methods.get(entry.method, {}), **entry.settings}
        parse(settings, values, source=f"{path}: [entries.{name}]")
    return config


@contextmanager
def _naming(source: str) -> Iterator[None]:
    try:
        yield
    except InputError as fault:
        raise InputError(f"{source}: {fault}") from fault


def save_config(path: Path, config: Config) -> None:
    """Write a run's settings as TOML; what is absent there has its default."""
    write_text(path, tomli_w.dumps(config.model_dump(mode="json", exclude_none=True, exclude={"entries"})))


def parse(model: type[Model], values: dict[str, Any], *, source: str) -> Model:
    """Validate values into a settings model.

    Raises:
        InputError: names the source, each wrong key or value, and the nearest known key.
    """
    try:
        return model.model_validate(values)
    except RecursionError as fault:
        raise InputError(f"{source}: is nested too deeply.") from fault
    except ValidationError as fault:
        problems = some_text([_describe(model, error) for error in fault.errors()], separator="; ")
        raise InputError(f"{source}: {problems}{'' if problems.endswith('?') else '.'}") from fault


def _describe(model: type[BaseModel], error: Any) -> str:
    *parents, key = [str(part)[:LONGEST_KEY] for part in error["loc"]] or [""]
    where = ".".join([*parents, key])
    if error["type"] != "extra_forbidden":
        return f"'{where}': {error['msg'].lower()}"
    known = list(_section(model, parents).model_fields)
    near = get_close_matches(key, known, n=1)
    return f"unknown setting '{where}'" + (
        f", did you mean '{near[0]}'?" if near else f" (known: {', '.join(known) or 'none'})"
    )


def _section(model: type[BaseModel], parents: list[str]) -> type[BaseModel]:
    """The settings in which a key stands, in sections and tables of sections with names of their own."""
    kind: Any = model
    for parent in parents:
        named = get_args(kind)  # of a table: its keys, its values
        kind = named[-1] if named else kind.model_fields[parent].annotation
    return kind
