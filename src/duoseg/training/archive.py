"""Whether a checkpoint file may be given to torch at all: told from its directory and opcodes, with nothing executed.

`torch.load` with ``weights_only=True`` runs no code of the file's, but it believes what the file announces: a storage
of 10^15 numbers, a compressed entry that swells, a call of an allowed function with a size of its own. Ours hold
tensors and plain values, stored uncompressed; whatever else a file holds, we did not write it.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
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
_REFUSED_OPCODES = frozenset({"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"})
_MOST_PICKLE_BYTES = 2**26
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
    _require_plain_opcodes(content)
    _Auditor(content, {key.removeprefix(f"{folder}/data/"): size for key, size in sizes.items()}).audit()


def _entry_sizes(archive: zipfile.ZipFile, file_bytes: int) -> dict[str, int]:
    entries = archive.infolist()
    sizes = {entry.filename: entry.file_size for entry in entries}
    # torch looks entries up without regard to case, in the folder of the first one.
    if len({name.lower() for name in sizes}) < len(entries) or len({name.partition("/")[0] for name in sizes}) > 1:
        raise UnsafeCheckpoint("it has two entries of one name")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or sum(sizes.values()) > file_bytes:
        raise UnsafeCheckpoint("its entries are larger than the file")
    return sizes


def _require_plain_opcodes(content: bytes) -> None:
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in _REFUSED_OPCODES:
                raise UnsafeCheckpoint(f"it holds the instruction {opcode.name}")
            if opcode.name == "GLOBAL" and str(argument).replace(" ", ".") not in _KNOWN:
                raise UnsafeCheckpoint(f"it names {str(argument).replace(' ', '.')[:80]}")
            if opcode.name == "LONG_BINPUT" and isinstance(argument, int) and argument > len(content):
                raise UnsafeCheckpoint("it numbers more objects than it has")
    except (ValueError, OverflowError) as fault:
        raise UnsafeCheckpoint(f"its list of contents is damaged: {fault}") from fault


class _Auditor(pickle.Unpickler):
    """Builds the contents with stand-ins for tensors, and compares their sizes with those of the entries.

    Only names that passed `_require_plain_opcodes` come here, and none leads to a function of the file's choice.
    """

    def __init__(self, content: bytes, entries: Mapping[str, int]) -> None:
        super().__init__(io.BytesIO(content))
        self._entries = entries

    def audit(self) -> None:
        """Go through the contents.

        Raises:
            UnsafeCheckpoint: a tensor is larger than the entry that it lies in, or something has another form.
        """
        try:
            self.load()
        except UnsafeCheckpoint:
            raise
        except Exception as fault:
            raise UnsafeCheckpoint(f"its list of contents is damaged: {type(fault).__name__}") from fault

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return a stand-in for one of the few known names."""
        name = f"{module_name}.{global_name}"
        if name == _ORDERED:
            return OrderedDict
        return _require_room if name == _REBUILD else _ITEM_BYTES[name]

    def persistent_load(self, pid: Any, /) -> int:
        """Return how many numbers a storage has, which must fit into its entry."""
        _, item_bytes, key, _, numbers = pid
        if not isinstance(numbers, int) or numbers < 0 or numbers * item_bytes > self._entries.get(key, -1):
            raise UnsafeCheckpoint("it announces more numbers than it holds")
        return numbers


def _require_room(storage: int, offset: int, size: tuple[int, ...], *_: Any) -> None:
    if len(size) > _MOST_AXES or offset < 0 or min(size, default=0) < 0 or offset + math.prod(size) > storage:
        raise UnsafeCheckpoint("a tensor in it is larger than its storage")
