"""Which class names speak of a side of the body: where they do, left and right must not be mirrored."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_SIDE = re.compile(
    "left|right|l|r|lt|rt"
    "|sin|sinister|sinistr(a|um|i|ae|o|e)|dex|dexter|dextr(a|um|i|ae|o|e)|destr(a|o|i|e)"
    "|links|linke[rnsm]?|rechts|rechte[rnsm]?|li|re"
    "|gauches?|droite?s?"
    "|izquierd[ao]s?|derech[ao]s?"
)
"""English, Latin and Italian, German, French, Spanish; whole words, without accents, in lower case."""

_PAIRS = (("lv", "rv"), ("la", "ra"))
"""Ventricles and atria: "LA" alone is also an abbreviation of other things."""

_OTHER_DIRECTIONS = frozenset(
    {"anterior", "posterior", "ventral", "dorsal", "front", "back", "medial", "lateral", "inner", "outer"}
    | {"superior", "inferior", "cranial", "caudal", "upper", "lower", "top", "bottom", "proximal", "distal"}
)


def words(name: str) -> list[str]:
    """Return a name's words in lower case, without accents, cut at everything but letters and inside CamelCase."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    return [word.lower() for word in re.findall("[A-Z]+(?![a-z])|[A-Z]?[a-z]+", plain)]


def speak_of_sides(names: Iterable[str]) -> bool:
    """Return whether a word of any class name speaks of left or right, or two of them are a pair such as LV and RV."""
    present = {word for name in names for word in words(name)}
    return any(_SIDE.fullmatch(word) for word in present) or any(present.issuperset(pair) for pair in _PAIRS)


def may_be_a_side(name: str) -> bool:
    """Return whether a class may be the left or right of an organ: its name tells no other direction apart."""
    return _OTHER_DIRECTIONS.isdisjoint(words(name))
