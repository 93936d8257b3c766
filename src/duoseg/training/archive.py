"""Whether a checkpoint file may be given to torch at all: told from its directory and opcodes, with nothing executed.

`torch.load` with ``weights_only=True`` runs no code of the file's, but it believes what the file announces: a storage
of 10^15 numbers, a compressed entry that swells, a call of an allowed function with a size of its own. Ours hold
tensors and plain values, stored uncompressed; whatever else a file holds, we did not write it.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ITEM_BYTES = {
    "torch.DoubleStorage": 8,
    "torch.FloatStorage": 4,
    "torch.HalfStorage": 2,
    "torch.BFloat16Storage": 2,
    "torch.LongStorage": 8,
    "torch.IntStorage": 4,
    "torch.ShortStorage": 2,
    "torch.CharStorage": 1,
    "torch.ByteStorage": 1,
    "torch.BoolStorage": 1,
}
_REBUILD = "torch._utils._rebuild_tensor_v2"
_ORDERED = "collections.OrderedDict"
_KNOWN = frozenset({*_ITEM_BYTES, _REBUILD, _ORDERED})
_NUMBERS_AND_WORDS = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"})
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MOST_PICKLE_BYTES = 2**28  # some 150 for each scan that is trained on
_MOST_AXES = 8


class UnsafeCheckpoint(Exception):
    """The file holds what no checkpoint of ours does."""


def require_plain_archive(path: Path) -> None:
    """Refuse a checkpoint that is not an archive of tensors and plain values of the sizes that it announces.

    Raises:
        UnsafeCheckpoint: says what it holds instead.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = _entry_sizes(archive, path.stat().st_size)
            folder = next(iter(sizes), "").partition("/")[0]
            name = f"{folder}/data.pkl"
            if not 0 < sizes.get(name, 0) <= _MOST_PICKLE_BYTES:
                raise UnsafeCheckpoint("it has no list of contents, or one of an impossible size")
            content = archive.read(name)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as fault:
        raise UnsafeCheckpoint(f"it is no intact archive: {fault}") from fault
    _Audit({key.removeprefix(f"{folder}/data/"): size for key, size in sizes.items()}).follow(content)


def _entry_sizes(archive: zipfile.ZipFile, file_bytes: int) -> dict[str, int]:
    entries = archive.infolist()
    sizes = {entry.filename: entry.file_size for entry in entries}
    # torch looks entries up without regard to case, in the folder of the first one.
    if len({name.lower() for name in sizes}) < len(entries) or len({name.partition("/")[0] for name in sizes}) > 1:
        raise UnsafeCheckpoint("it has two entries of one name")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or sum(sizes.values()) > file_bytes:
        raise UnsafeCheckpoint("its entries are larger than the file")
    return sizes


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Storage:
    numbers: int


_MARK = object()
_CONTAINER = object()
_TENSOR = object()


class _Audit:
    """Follows the instructions as torch will, with stand-ins for tensors, lists and mappings, whose contents it drops.

    Only the instructions that Python writes for ours are known (of the pickle protocol's version 2). Nothing is built
    that is larger than the instructions themselves, nothing is hashed, and nothing is called.
    """

    def __init__(self, entries: Mapping[str, int]) -> None:
        self._entries = entries
        self._stack: list[Any] = []
        self._memo: list[Any] = []

    def follow(self, content: bytes) -> None:
        """Go through the contents.

        Raises:
            UnsafeCheckpoint: they hold another instruction or name, a tensor is larger than the entry that it lies in,
                or something has another form.
        """
        try:
            for opcode, argument, _ in pickletools.genops(content):
                self._take(opcode.name, argument)
        except (ValueError, OverflowError, IndexError, TypeError) as fault:
            raise UnsafeCheckpoint(f"its list of contents is damaged: {fault}") from fault

    def _take(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _NUMBERS_AND_WORDS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append(_CONTAINER)
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT"):
            if argument != len(self._memo):
                raise UnsafeCheckpoint("it numbers more objects than it has, or in another order")
            self._memo.append(stack[-1])
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name in _TUPLES:
            stack.append(tuple(self._taken(_TUPLES[name])))
        elif name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name in ("APPEND", "APPENDS"):
            _ = self._taken(1) if name == "APPEND" else self._since_mark()
            self._require_container(keys=())
        elif name in ("SETITEM", "SETITEMS"):
            items = self._taken(2) if name == "SETITEM" else self._since_mark()
            self._require_container(keys=items[::2])
        elif name == "GLOBAL":
            stack.append(_known(str(argument).replace(" ", ".")))
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name == "REDUCE":
            function, arguments = self._taken(2)
            stack.append(_called(function, arguments))
        elif name not in ("PROTO", "STOP"):
            raise UnsafeCheckpoint(f"it holds the instruction {name}")

    def _taken(self, count: int) -> list[Any]:
        taken = self._stack[-count:]
        if len(taken) < count or any(value is _MARK for value in taken):
            raise UnsafeCheckpoint("its list of contents is damaged: a value is missing")
        del self._stack[-count:]
        return taken

    def _since_mark(self) -> list[Any]:
        taken = []
        while (value := self._stack.pop()) is not _MARK:
            taken.append(value)
        return taken[::-1]

    def _require_container(self, *, keys: Sequence[Any]) -> None:
        # A tuple of tuples of tuples, each twice the one before, would be hashed for ever.
        if self._stack[-1] is not _CONTAINER or any(type(key) not in (str, int) for key in keys):
            raise UnsafeCheckpoint("a mapping in it has other keys than words and whole numbers")

    def _storage(self, described: Any) -> _Storage:
        """Return a storage, whose numbers must fit into its entry."""
        kind, of, key, _, numbers = described
        if kind != "storage" or type(of) is not _Global or type(key) is not str or type(numbers) is not int:
            raise UnsafeCheckpoint("a storage in it has another form")
        if numbers < 0 or numbers * _ITEM_BYTES.get(of.name, 2**60) > self._entries.get(key, -1):
            raise UnsafeCheckpoint("it announces more numbers than it holds")
        return _Storage(numbers)


def _known(name: str) -> _Global:
    if name not in _KNOWN:
        raise UnsafeCheckpoint(f"it names {name[:80]}")
    return _Global(name)


def _called(function: Any, arguments: Any) -> object:
    """Return the stand-in for what a call of a known name makes."""
    if function == _Global(_ORDERED) and arguments == ():
        return _CONTAINER
    if function != _Global(_REBUILD) or type(arguments) is not tuple:
        raise UnsafeCheckpoint("it calls what is no function of ours")
    storage, offset, size, strides, *_ = arguments
    _require_room(storage, offset, size, strides)
    return _TENSOR


def _require_room(storage: Any, offset: Any, size: Any, strides: Any) -> None:
    plain = type(storage) is _Storage and type(size) is tuple and type(strides) is tuple
    if not plain or any(type(number) is not int for number in (offset, *size, *strides)):
        raise UnsafeCheckpoint("a tensor in it has another form")
    if len(size) != len(strides) or len(size) > _MOST_AXES or min((offset, *size, *strides)) < 0:
        raise UnsafeCheckpoint("a tensor in it has another form")
    reach = 1 + sum((side - 1) * stride for side, stride in zip(size, strides, strict=True))
    numbers = max(math.prod(size), reach) if 0 not in size else 0
    if offset + numbers > storage.numbers:
        raise UnsafeCheckpoint("a tensor in it is larger than its storage")
