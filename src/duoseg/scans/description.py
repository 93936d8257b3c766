"""``dataset.json``: the names of channels and classes, as nnU-Net writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from duoseg.errors import InputError
from duoseg.files import read_json
from duoseg.scans.cases import Problem
from duoseg.scans.names import has_control, shown
from duoseg.scans.strays import nearest_key
from duoseg.scans.texts import some_text
from duoseg.scans.values import MAX_CLASSES

LARGEST_VALUE = 2**31 - 1
"""Label files hold no larger whole numbers that all readers understand."""

MOST_CHANNELS = 100
"""Images of a case; scanners make a dozen."""

LONGEST_NAME = 100
"""Characters of the name of a class or channel."""

CT_WORDS = frozenset({"ct", "cta", "cbct", "ldct"})
"""A channel with one of these words in its name holds CT numbers (Hounsfield units)."""


_KEYS = ("channel_names", "modality", "labels", "file_ending")
_FOREIGN = frozenset({"name", "dataset_name", "training", "test", "tensorImageSize", "numTraining", "numTest"})
"""What others write into the file, which means nothing here and is no slip."""


_BACKGROUND = frozenset(
    {"background", "bg", "back", "unlabeled", "unlabelled", "none", "nothing", "clear", "empty", "air", "outside"}
    | {"hintergrund", "fond", "fondo", "sfondo"}
)
"""Words by which the value 0 is called."""


@dataclass(frozen=True)
class Description:
    """What ``dataset.json`` says; empty where it is absent or silent.

    Attributes:
        channels: channel names in the order of their numbers.
        classes: foreground class name -> value in the label files, by increasing value.
        ignore_value: the value of voxels that nobody annotated.
        file_ending: the ending of all image and label files.
        problems: keys that look like slips of known ones, and a class that would not be learned.
    """

    channels: tuple[str, ...] = ()
    classes: dict[str, int] = field(default_factory=dict)
    ignore_value: int | None = None
    file_ending: str | None = None
    problems: tuple[Problem, ...] = ()


def default_channels(count: int) -> tuple[str, ...]:
    """Return names for channels that nobody named."""
    return tuple(f"channel {number}" for number in range(count))


def require_channels(found: tuple[str, ...], meant: tuple[str, ...], where: object, of: str) -> None:
    """Refuse channels that are called otherwise, or in another order, than a plan's; those without names may be any.

    Args:
        found: the channels of a data set.
        meant: those of the plan.
        where: the data set, for the message.
        of: whose plan it is, for the message.

    Raises:
        InputError: they differ.
    """
    unnamed = {default_channels(len(found)), default_channels(len(meant))}
    if found != meant and not (len(found) == len(meant) and {found, meant} & unnamed):
        raise InputError(
            f"{where}: has the channels {', '.join(found)}, and {of} is for {', '.join(meant)}; give the images of "
            "these, in this order, or mend channel_names in dataset.json."
        )


def require_classes(found: Mapping[str, int], meant: Mapping[str, int], where: object, of: str) -> None:
    """Refuse classes that are called otherwise, or have other values, than a plan's; where none is named, any may be.

    Args:
        found: class name -> value, of a data set.
        meant: those of the plan.
        where: the data set, for the message.
        of: whose plan it is, for the message.

    Raises:
        InputError: they differ.
    """
    if found and dict(found) != dict(meant):
        declared, own = (some_text([f"{name} ({value})" for name, value in one.items()]) for one in (found, meant))
        raise InputError(
            f"{where}: declares the classes {declared}, and {of} is for {own}; give the data set that it is for, or "
            "mend labels in dataset.json."
        )


def is_ct(channel: str) -> bool:
    """Return whether a channel's name has a word for CT: "CT", "CTA_portal", but not "T1ct"."""
    return not CT_WORDS.isdisjoint(re.split("[^0-9a-z]+", channel.lower()))


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises:
        InputError: it is too large, is not valid JSON, or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold one JSON object {{...}}, but holds a {type(content).__name__}.")
    return content


def read_description(folder: Path) -> Description:
    """Read ``dataset.json`` in ``folder``; an empty description where there is none.

    Raises:
        InputError: it is malformed, has region labels (a class made of several values), a class called "all", or a name
            or value that none can have.
    """
    path = folder / "dataset.json"
    if not path.is_file():
        return Description()
    content = read_json_object(path)
    labels = _by_name(path, _object(path, content, "labels"))
    classes, ignore_value = _labels(path, labels)
    ending = content.get("file_ending")
    if ending is not None and not isinstance(ending, str):
        raise InputError(f'{path}: "file_ending" must be text such as ".nii.gz", not {shown(ending)}.')
    # "modality" is what nnU-Net's first version and the Medical Segmentation Decathlon call the channels.
    channels = _channels(path, _object(path, content, "channel_names") or _object(path, content, "modality"))
    problems = (*_slips(path, content), *_unlearned(path, labels))
    return Description(channels, classes, ignore_value, ending, problems)


def too_high_a_channel(image: Path, number: int) -> InputError:
    """Return what to say of an image whose name has the number of no channel, where nobody named channels."""
    return InputError(
        f"{image}: by its name it is channel {number} of its case, and a case has at most {MOST_CHANNELS} channels; "
        "name it <case>_0000, <case>_0001, ... or take it out."
    )


def _slips(path: Path, content: Mapping[str, Any]) -> Iterator[Problem]:
    for key in content:
        meant = None if key in _FOREIGN or key in _KEYS else nearest_key(key, _KEYS)
        if meant is not None:
            yield Problem("warning", path, f'the key "{key}" means nothing here', f'call it "{meant}" if it is that')


def _unlearned(path: Path, labels: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a class that counts from 0, which is the background's value."""
    for name, value in labels.items():
        if (_integer(value) == 0 or value == [0]) and not _BACKGROUND & {*re.split("[^a-z]+", name.lower())}:
            yield Problem(
                "warning",
                path,
                f"the label '{name}' has the value 0, which is the background's, so it is not learned",
                "give it another value, in the label files, too, if it is a class",
            )


def _object(path: Path, content: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key, {})
    if not isinstance(value, dict):
        raise InputError(f'{path}: "{key}" must be an object {{...}}, not {shown(value)}.')
    return value


def _channels(path: Path, names: Mapping[str, Any]) -> tuple[str, ...]:
    if len(names) > MOST_CHANNELS:
        raise InputError(
            f"{path}: names {len(names)} channels; at most {MOST_CHANNELS} are supported, so leave some out."
        )
    numbers = [_integer(number) for number in names]
    if sorted(number for number in numbers if number is not None) != list(range(len(names))):
        raise InputError(
            f'{path}: the channels must be numbered "0", "1", ... without gaps, but are '
            f"{some_text([shown(name) for name in names])}."
        )
    channels = tuple(names[key] if isinstance(names[key], str) else shown(names[key]) for key in sorted(names, key=int))
    for channel in channels:
        _require_name(path, "channel", channel)
    return channels


def _by_name(path: Path, labels: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values by their names; the Decathlon has the names by their values."""
    if not labels or not all(_integer(key) is not None and _is_name(value) for key, value in labels.items()):
        return labels
    names = [*labels.values()]
    if len({*names}) < len(names):
        raise InputError(f"{path}: two values of 'labels' have one name ({some_text(names)}); name each apart.")
    return {name: key for key, name in labels.items()}


def _labels(path: Path, labels: Mapping[str, Any]) -> tuple[dict[str, int], int | None]:
    regions = [name for name, value in labels.items() if isinstance(value, list) and len(value) != 1]
    if regions:
        raise InputError(
            f"{path}: the label{'s' if len(regions) > 1 else ''} {some_text([shown(name) for name in regions])} "
            "are regions made of several values, which cannot be trained on yet; give each class one value."
        )
    if "all" in labels:
        raise InputError(f"{path}: a class cannot be called 'all', the name of the mean over classes; rename it.")
    for name in labels:
        _require_name(path, "label", name)
    values = {name: _label_value(path, name, value) for name, value in labels.items()}
    taken: dict[int, str] = {}
    for name, value in values.items():
        if value in taken:
            raise InputError(f"{path}: the labels '{taken[value]}' and '{name}' both have the value {value}.")
        taken[value] = name
    ignore_value = values.pop("ignore", None)
    if ignore_value == 0:
        raise InputError(f"{path}: 'ignore' has the value 0, that of the background; give it one of its own.")
    if values.get("background", 0) != 0:
        raise InputError(f"{path}: 'background' has the value {values['background']}; it must be 0.")
    foreground = {name: value for name, value in values.items() if value != 0}
    if len(foreground) > MAX_CLASSES:
        raise InputError(
            f"{path}: names {len(foreground)} classes, and at most {MAX_CLASSES} are supported; merge some, or leave "
            "some out."
        )
    return dict(sorted(foreground.items(), key=lambda item: item[1])), ignore_value


def _label_value(path: Path, name: str, value: Any) -> int:
    number = _integer(value[0] if isinstance(value, list) else value)
    if number is None or not 0 <= number <= LARGEST_VALUE:
        raise InputError(
            f"{path}: the label '{name}' has the value {shown(value)}; it must be a whole number from 0 to "
            f"{LARGEST_VALUE}."
        )
    return number


def _require_name(path: Path, kind: str, name: str) -> None:
    if not 0 < len(name) <= LONGEST_NAME or has_control(name):
        raise InputError(
            f"{path}: a {kind} is called {shown(name)}; a name has 1 to {LONGEST_NAME} characters, none of them "
            "a control character."
        )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _integer(value) is None


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if isinstance(value, str) or number == value else None
