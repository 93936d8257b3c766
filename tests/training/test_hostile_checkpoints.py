"""Checkpoints and weights made to run code or to eat the memory: refused before anything is allocated."""

from __future__ import annotations

import io
import json
import pickle
import resource
import struct
import time
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

import duoseg
from duoseg.errors import InputError
from duoseg.training.checkpoint import WEIGHTS, load_checkpoint, load_weights, save_checkpoint, save_weights

STATE = {
    "step": 7,
    "seconds": 1.5,
    "waited": 0.0,
    "method": {"w": torch.arange(6.0).reshape(2, 3), "half": torch.ones(3, dtype=torch.bfloat16), "n": torch.tensor(4)},
    "optimiser": {"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]},
    "precision": {},
    "identity": {"config": {"seed": 0, "name": None}, "contents": {"image of a": "x"}},
}


class Payload:
    """What unpickling would call."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED) -> None:
    """Change the entries of a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    change(entries)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def pickled(entries: dict[str, bytes], old: bytes, new: bytes) -> None:
    name = next(name for name in entries if name.endswith("data.pkl"))
    assert old in entries[name]
    entries[name] = entries[name].replace(old, new)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path, STATE)
    return tmp_path


def refused(folder: Path, reason: str = "") -> None:
    with pytest.raises(InputError, match=rf"checkpoint\.pt: the checkpoint cannot be read.*{reason}"):
        load_checkpoint(folder)


def test_own_checkpoints_are_read_unchanged(folder: Path) -> None:
    state = load_checkpoint(folder)
    assert state["step"] == 7 and state["identity"] == STATE["identity"]
    for name, value in STATE["method"].items():
        assert torch.equal(state["method"][name], value) and state["method"][name].dtype == value.dtype


def test_tensors_in_any_layout_and_shared_storage_are_ours_too(tmp_path: Path) -> None:
    whole = torch.randn(2, 4, 3, 3, 3)
    method = {"a": whole.contiguous(memory_format=torch.channels_last_3d), "b": whole[1:], "c": whole.transpose(0, 1)}
    save_checkpoint(tmp_path, {**STATE, "method": method | {"empty": torch.empty(0)}})
    read = load_checkpoint(tmp_path)["method"]
    assert all(torch.equal(read[name], value) for name, value in method.items())


@pytest.mark.parametrize("where", ["step", "method", "identity"])
def test_code_in_a_checkpoint_never_runs(tmp_path: Path, where: str) -> None:
    mark = tmp_path / "ran"
    torch.save({**STATE, where: Payload(mark)}, tmp_path / "checkpoint.pt")
    refused(tmp_path, "it names")
    assert not mark.exists()


def test_a_bare_pickle_is_refused_unopened(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "checkpoint.pt").write_bytes(pickle.dumps(Payload(mark)))
    refused(tmp_path, "no intact archive")
    legacy = io.BytesIO()
    torch.save({"step": Payload(mark)}, legacy, _use_new_zipfile_serialization=False)
    (tmp_path / "checkpoint.pt").write_bytes(legacy.getvalue())
    refused(tmp_path, "no intact archive")
    assert not mark.exists()


@pytest.mark.parametrize(
    "function",
    [
        b"cbuiltins\nbytearray\n(J\x00\x00\x00\x7ftR",
        b"cbuiltins\neval\n(X\x03\x00\x00\x001+1tR",
        b"ctorch.storage\n_load_from_bytes\n(C\x01atR",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93",
    ],
)
def test_even_functions_that_torch_allows_are_refused(folder: Path, function: bytes) -> None:
    def change(entries: dict[str, bytes]) -> None:
        name = next(name for name in entries if name.endswith("data.pkl"))
        entries[name] = b"\x80\x02" + function + b"."

    rewritten(folder / "checkpoint.pt", change)
    refused(folder, "it (names|holds the instruction)")


def test_a_storage_cannot_announce_more_numbers_than_it_has(folder: Path) -> None:
    # 6 numbers of 4 bytes become 2^31 - 1: torch itself would read beyond the end of its buffer.
    rewritten(folder / "checkpoint.pt", lambda entries: pickled(entries, b"K\x06t", b"J\xff\xff\xff\x7ft"))
    refused(folder, "more numbers than it holds")


def test_a_tensor_cannot_be_larger_than_its_storage(folder: Path) -> None:
    huge = b"K\x00J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
    rewritten(folder / "checkpoint.pt", lambda entries: pickled(entries, b"K\x00K\x02K\x03\x86", huge))
    refused(folder, "larger than its storage")


def test_a_tensor_expanded_out_of_one_number_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {**STATE, "method": {"w": torch.zeros(1).expand(10**12)}})
    refused(tmp_path, "larger than its storage")


def test_compressed_entries_are_refused(folder: Path) -> None:
    def swell(entries: dict[str, bytes]) -> None:
        name = next(name for name in entries if name.endswith("data/0"))
        entries[name] = bytes(2**26)

    rewritten(folder / "checkpoint.pt", swell, zipfile.ZIP_DEFLATED)
    assert (folder / "checkpoint.pt").stat().st_size < 2**17
    refused(folder, "larger than the file")


def test_entries_that_differ_only_in_case_are_refused(folder: Path) -> None:
    def double(entries: dict[str, bytes]) -> None:
        name = next(name for name in entries if name.endswith("data.pkl"))
        entries[name.upper()] = entries[name]

    rewritten(folder / "checkpoint.pt", double)
    refused(folder, "two entries of one name")


def contents(folder: Path, instructions: bytes) -> None:
    """Replace a checkpoint's list of contents."""

    def change(entries: dict[str, bytes]) -> None:
        name = next(name for name in entries if name.endswith("data.pkl"))
        entries[name] = b"\x80\x02" + instructions + b"."

    rewritten(folder / "checkpoint.pt", change)


def refused_at_once(folder: Path, reason: str) -> None:
    """Within a second and a few megabytes beside what the archive itself takes."""
    before = time.monotonic()
    tracemalloc.start()
    try:
        refused(folder, reason)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.monotonic() - before < 5 and peak < 2**25


@pytest.mark.parametrize("put", [b"r\xff\xff\xff\xff", b"r\x00\x00\x00\x40", b"q\x07", b"p150000000\n", b"p0\n"])
def test_a_memo_of_many_places_is_refused(folder: Path, put: bytes) -> None:
    rewritten(folder / "checkpoint.pt", lambda entries: pickled(entries, b"}q\x00", b"}" + put))
    refused_at_once(folder, "more objects than it has|the instruction PUT")


STORAGE = b"(X\x07\x00\x00\x00storage%sX\x01\x00\x00\x000X\x03\x00\x00\x00cpu%stQ"
FLOAT, WORD = b"ctorch\nFloatStorage\n", b"X\x01\x00\x00\x00x"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(%sK\x00%s%s\x89ccollections\nOrderedDict\n)RtR"
HUGE = b"J\x00\x94\x35\x77"  # 2 000 000 000


@pytest.mark.parametrize(
    "instructions",
    [
        STORAGE % (WORD, HUGE),  # a word repeated
        STORAGE % (b"(K\x01K\x02t", HUGE),
        STORAGE % (b"K\x00", HUGE),
        STORAGE % (FLOAT, WORD),
        STORAGE % (FLOAT, b"\x88"),
        TENSOR % (STORAGE % (FLOAT, b"K\x01"), WORD, b"K\x01\x85"),
        TENSOR % (STORAGE % (FLOAT, b"K\x01"), WORD + b"\x85", b"K\x01\x85"),
        TENSOR % (STORAGE % (FLOAT, b"K\x01"), b"\x88\x85", b"K\x01\x85"),
        TENSOR % (WORD, b"K\x01\x85", b"K\x01\x85"),
        TENSOR % (b"K\x01", b"K\x01\x85", b"K\x01\x85"),
    ],
)
def test_sizes_that_are_no_numbers_are_refused_before_any_reckoning(folder: Path, instructions: bytes) -> None:
    contents(folder, instructions)
    refused_at_once(folder, "has another form")


def test_a_tensor_cannot_reach_beyond_its_storage_by_its_strides(folder: Path) -> None:
    contents(folder, TENSOR % (STORAGE % (FLOAT, b"K\x06"), b"K\x02\x85", HUGE + b"\x85"))
    refused_at_once(folder, "larger than its storage")


def test_keys_of_nested_tuples_are_refused_unhashed(folder: Path) -> None:
    nested = b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (number, number, number + 1) for number in range(60))
    contents(folder, b"}" + nested + b"K\x01s")
    refused_at_once(folder, "other keys than words and whole numbers")


def test_a_known_name_cannot_be_called_with_contents_to_copy(folder: Path) -> None:
    pairs = b"(" + b"K\x01K\x02\x86" * 10_000 + b"tq\x00"
    contents(folder, pairs + b"ccollections\nOrderedDict\n(h\x00tR" * 2000)
    refused_at_once(folder, "no function of ours")


@pytest.mark.parametrize(
    "instructions", [b"0", b"}b", b"}}b", b"K\x01s", b"(K\x01K\x02u", b"h\x07", b"R", b"t", b"(\x85"]
)
def test_instructions_that_ours_never_hold_or_that_lack_values_are_refused(folder: Path, instructions: bytes) -> None:
    contents(folder, instructions)
    refused_at_once(folder, "")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"step": "7"}, "'step' is of another kind"),
        ({"step": -1}, "impossible"),
        ({"seconds": float("nan")}, "impossible"),
        ({"method": None}, "'method'"),
        ({"more": 1}, "other things"),
        ({"identity": {"a": [0] * 1_000_001}}, "more than 1000000 values"),
    ],
)
def test_a_state_of_another_form_is_refused(tmp_path: Path, changes: dict, reason: str) -> None:
    save_checkpoint(tmp_path, {**STATE, **changes})
    refused(tmp_path, reason)


def test_values_that_contain_each_other_many_times_are_refused(tmp_path: Path) -> None:
    laugh: list = ["ha"]
    for _ in range(40):  # 2^40 words when written out
        laugh = [laugh, laugh]
    save_checkpoint(tmp_path, {**STATE, "identity": {"config": laugh}})
    refused(tmp_path, "more than 1000000 values")


def test_ordered_mappings_are_plain_values(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {**STATE, "optimiser": OrderedDict(a=1)})
    assert load_checkpoint(tmp_path)["optimiser"] == {"a": 1}


@pytest.mark.parametrize("size", [100, 10_000, 300_000])
def test_a_full_disk_is_told_with_the_file_and_leaves_the_last_checkpoint(folder: Path, size: int) -> None:
    large = {**STATE, "method": {str(number): torch.ones(1000) for number in range(100)}}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            save_checkpoint(folder, large)
        with pytest.raises(OSError, match="File too large") as of_weights:
            save_weights(folder, Weighty())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.filename == str(folder / "checkpoint.pt")
    assert of_weights.value.filename == str(folder / WEIGHTS)
    assert [path.name for path in folder.iterdir()] == ["checkpoint.pt"]
    assert load_checkpoint(folder)["step"] == 7


class Weighty(nn.Module):
    """What is saved takes 400 kB."""

    def inference_modules(self) -> dict[str, nn.Module]:
        return {"region": nn.Linear(1000, 100)}


class OneLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Linear(3, 2)

    def inference_modules(self) -> dict[str, nn.Module]:
        return {"student": self.student}


def write_safetensors(path: Path, header: object, data: bytes = b"", *, announced: int | None = None) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if announced is None else announced) + text + data)


def entry(shape: list[int], end: int, *, start: int = 0, kind: str = "F32") -> dict:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize("announced", [2**63, 2**32, 2**25])
def test_weights_with_an_impossible_header_are_refused(tmp_path: Path, announced: int) -> None:
    write_safetensors(tmp_path / WEIGHTS, {}, announced=announced)
    with pytest.raises(InputError, match=rf"model\.safetensors: the weights are damaged.*{announced}"):
        load_weights(tmp_path / WEIGHTS, OneLayer())


@pytest.mark.parametrize(
    "header",
    [
        {"student.weight": entry([2, 3], 24), "student.bias": entry([2], 2**40, start=24)},
        {"student.weight": entry([10**9, 10**9], 24), "student.bias": entry([2], 32, start=24)},
        {"student.weight": entry([2, 3], 24), "student.bias": entry([2], 20, start=12)},
        {"student.weight": "text"},
        [],
    ],
)
def test_weights_larger_than_their_file_or_overlapping_are_refused(tmp_path: Path, header: object) -> None:
    write_safetensors(tmp_path / WEIGHTS, header, bytes(32))
    with pytest.raises(InputError, match=r"model\.safetensors: the weights are damaged"):
        load_weights(tmp_path / WEIGHTS, OneLayer())


@pytest.mark.parametrize("numbers", [2**20, 2**38])
def test_weights_of_another_shape_are_refused_before_they_are_read(tmp_path: Path, numbers: int) -> None:
    path = tmp_path / WEIGHTS  # 4 MiB or a TiB in a sparse file: the latter may not even be mapped
    write_safetensors(path, {"student.weight": entry([numbers], 4 * numbers)})
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size + 4 * numbers)
    with pytest.raises(InputError, match=r"do not fit this network|the weights are damaged"):
        load_weights(path, OneLayer())


def test_foreign_tensors_beside_the_weights_are_never_read(tmp_path: Path) -> None:
    method = OneLayer()
    weights = {f"student.{key}": value.numpy() + 1 for key, value in method.student.state_dict().items()}
    save_file({**weights, "elsewhere": np.zeros(9, np.float32)}, tmp_path / WEIGHTS)
    load_weights(tmp_path / WEIGHTS, method)
    np.testing.assert_array_equal(method.student.bias.detach().numpy(), weights["student.bias"])


def test_a_run_folder_with_foreign_files_is_refused_by_the_file(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).mkdir()
    with pytest.raises(InputError, match="no trained weights"):
        load_weights(tmp_path / WEIGHTS, OneLayer())
    (tmp_path / WEIGHTS).rmdir()
    (tmp_path / WEIGHTS).write_bytes(pickle.dumps({"student.weight": 1}))
    with pytest.raises(InputError, match="damaged"):
        load_weights(tmp_path / WEIGHTS, OneLayer())


def train(data: Path, out: Path, protocol: Path, **options: object) -> object:
    return duoseg.train(
        data,
        out,
        config=protocol,
        method="supervised",
        steps=2,
        cache=out.parent / "cache",
        device="cpu",
        threads=1,
        **options,
    )


def changed_identity(run: Path, **changes: object) -> None:
    state = load_checkpoint(run)
    identity = {key: value for key, value in {**state["identity"], **changes}.items() if value is not None}
    save_checkpoint(run, {**state, "identity": identity})


def test_a_run_of_another_version_is_told_as_such(phantoms: Path, tiny_protocol: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(phantoms, run, tiny_protocol)
    identity = load_checkpoint(run)["identity"]
    changed_identity(run, cache_format=identity["cache_format"] + 1)
    with pytest.raises(InputError, match=r"run: its scans were prepared by another version .* use that version"):
        train(phantoms, run, tiny_protocol, resume=True)

    changed_identity(run, revision=identity["revision"] + 1)
    with pytest.raises(InputError, match=r"run: its method has been changed since it began \(revision \d, now \d\)"):
        train(phantoms, run, tiny_protocol, resume=True)
    changed_identity(run, revision=identity["revision"])

    # Earlier versions did not record it.
    changed_identity(run, cache_format=None, revision=None)
    train(phantoms, run, tiny_protocol, resume=True)
    others = {key: f"{value}0" for key, value in identity["contents"].items()}
    changed_identity(run, cache_format=None, contents=others)
    with pytest.raises(InputError, match="prepared by another version"):
        train(phantoms, run, tiny_protocol, resume=True)
    (first, *_) = identity["contents"]
    for known in (None, identity["cache_format"]):
        changed_identity(run, cache_format=known, contents={**identity["contents"], first: "other"})
        with pytest.raises(InputError, match=f"the {first} has changed"):
            train(phantoms, run, tiny_protocol, resume=True)


def test_only_a_new_run_looks_for_copies_and_tells_how_far_it_is(
    phantoms: Path, tiny_protocol: Path, tmp_path: Path
) -> None:
    told: list[str] = []

    def progress(what: str, done: int, total: int, detail: str = "") -> None:
        told.append(what)

    train(phantoms, tmp_path / "run", tiny_protocol, progress=progress)
    assert "look for copies" in told
    told.clear()
    train(phantoms, tmp_path / "run", tiny_protocol, resume=True, progress=progress)
    assert told and "look for copies" not in told
