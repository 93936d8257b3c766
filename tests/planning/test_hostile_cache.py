"""Cache files that were damaged on purpose, or come from somebody else: made anew, and nothing in them runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import blosc2
import numpy as np
import planning_cases as make
import pytest

from duoseg.planning import frames
from duoseg.planning.cache import PreparedCase, prepare_cases
from duoseg.planning.frames import holds_array, open_frame, read_metadata, write_frame

WHOLE = (slice(None), slice(None), slice(None))


@pytest.fixture
def case(tmp_path: Path):
    return make.write_case(tmp_path / "data", "c", seed=0, labelled=True)


def prepared(case, tmp_path: Path) -> PreparedCase:
    return prepare_cases([case], make.plan(), tmp_path / "cache")[0]


def forged(path: Path, meta: dict[str, bytes], frame: bytes) -> None:
    """Write a file whose digest is right, as anybody can."""
    described = frames._packed(meta)
    position = frames.DIGEST_BYTES + frames.POSITION_BYTES + len(described)
    rest = position.to_bytes(frames.POSITION_BYTES, "little") + described + frame
    path.write_bytes(hashlib.sha256(rest).digest() + rest)


def is_made_anew(case, tmp_path: Path, path: Path) -> None:
    bad = path.read_bytes()
    again = prepared(case, tmp_path)
    assert path.read_bytes() != bad
    expected = prepare_cases([case], make.plan(), tmp_path / "fresh")[0]
    np.testing.assert_array_equal(again.read_image(WHOLE), expected.read_image(WHOLE))
    np.testing.assert_array_equal(again.read_label(WHOLE), expected.read_label(WHOLE))
    assert again.placement == expected.placement


def function_frame(array: np.ndarray, mark: Path) -> bytes:
    """A frame that blosc2 rebuilds into a function of the writer's, with the key that marks it."""
    stored = blosc2.asarray(array, meta={"LazyArray": {"expression": f"open({str(mark)!r}, 'w')", "operands": {}}})
    return stored.to_cframe()


def test_a_frame_that_holds_a_function_is_never_opened(case, tmp_path: Path) -> None:
    image = prepared(case, tmp_path)
    mark = tmp_path / "ran"
    array = np.zeros(open_frame(image.image_path).shape, np.float16)
    forged(image.image_path, read_metadata(image.image_path), function_frame(array, mark))
    with pytest.raises(ValueError, match="one array and nothing else"):
        open_frame(image.image_path)
    is_made_anew(case, tmp_path, image.image_path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda array: np.zeros((*array.shape[:-1], array.shape[-1] + 1), np.float16),
        lambda array: np.zeros((2, *array.shape[1:]), np.float16),
        lambda array: np.zeros(array.shape, np.float32),
        lambda array: np.zeros(array.shape[1:], np.float16),
        lambda array: np.zeros(array.size, np.float16),
    ],
    ids=["side", "channels", "type", "axes", "flat"],
)
def test_an_array_of_another_shape_or_type_is_made_anew(
    case, tmp_path: Path, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    image = prepared(case, tmp_path)
    other = change(np.asarray(open_frame(image.image_path)[:]))
    forged(image.image_path, read_metadata(image.image_path), blosc2.asarray(other).to_cframe())
    is_made_anew(case, tmp_path, image.image_path)


def test_an_array_that_announces_terabytes_is_made_anew(case, tmp_path: Path) -> None:
    image = prepared(case, tmp_path)
    sides = (1, 2**14, 2**14, 2**14)
    huge = blosc2.uninit(sides, np.float16, chunks=(1, 2**10, 2**10, 2**10 - 32), blocks=(1, 32, 32, 32)).to_cframe()
    forged(image.image_path, read_metadata(image.image_path), huge)
    assert image.image_path.stat().st_size < 10**6
    assert not holds_array(image.image_path, sides, np.dtype(np.float16))  # chunks of 2 GiB
    is_made_anew(case, tmp_path, image.image_path)


@pytest.mark.parametrize("blocks", [(1, 20, 20, 20), (1, 64, 64, 64)])
def test_blocks_of_an_unusual_size_are_refused(tmp_path: Path, blocks: tuple[int, ...]) -> None:
    array = np.zeros((1, 64, 64, 64), np.float16)
    stored = blosc2.asarray(array, chunks=array.shape, blocks=blocks)
    forged(tmp_path / "x.prepared", {"key": b"k"}, stored.to_cframe())
    assert holds_array(tmp_path / "x.prepared", array.shape, array.dtype) == (max(blocks) <= frames.BLOCK_SIDE)


@pytest.mark.parametrize(
    "placement",
    [
        b"",
        b"[]",
        b"{}",
        b'{"shape": 1}',
        b"[" * 100_000,
        {"prepared": [10**9, 10**9, 10**9]},
        {"crop": [[-5, 4], [0, 4], [0, 4]]},
        {"crop": [[0, 10**9], [0, 4], [0, 4]]},
        {"permutation": [0, 0, 2]},
        {"permutation": [0, 1, 7]},
        {"flips": [True]},
        {"shape": ["a", "b", "c"]},
        {"shape": [10**400, 1, 1]},
    ],
)
def test_an_impossible_placement_is_made_anew(case, tmp_path: Path, placement: bytes | dict) -> None:
    image = prepared(case, tmp_path)
    meta = read_metadata(image.image_path)
    if isinstance(placement, dict):
        placement = json.dumps({**json.loads(meta["placement"]), **placement}).encode()
    frame = np.asarray(open_frame(image.image_path)[:])
    forged(image.image_path, {**meta, "placement": placement}, blosc2.asarray(frame).to_cframe())
    is_made_anew(case, tmp_path, image.image_path)


@pytest.mark.parametrize("voxels", [[[0, 0, 10**6]], [[-1, 0, 0]], None, b"abc", b"x" * 12 * 5001])
def test_foreground_outside_the_volume_is_made_anew(case, tmp_path: Path, voxels: object) -> None:
    label = prepared(case, tmp_path).label_path
    assert label is not None
    meta = read_metadata(label)
    if voxels is None:
        del meta["foreground_1"]
    else:
        meta["foreground_1"] = voxels if isinstance(voxels, bytes) else np.array(voxels, np.int32).tobytes()
    frame = np.asarray(open_frame(label)[:])
    write_frame(label, frame, key=meta.pop("key").decode(), meta=meta, patch=(16, 16, 16))
    is_made_anew(case, tmp_path, label)


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"\xff" * 8,
        (40).to_bytes(8, "little"),
        (2**60).to_bytes(8, "little") + b"{}\n",
        (43).to_bytes(8, "little") + b'{"key": 99999999999999}\n',
        (45).to_bytes(8, "little") + b"[" * 100_000,
    ],
)
def test_a_file_of_another_form_with_a_right_digest_is_made_anew(case, tmp_path: Path, rest: bytes) -> None:
    image = prepared(case, tmp_path).image_path
    image.write_bytes(hashlib.sha256(rest).digest() + rest)
    is_made_anew(case, tmp_path, image)


def test_a_cache_file_that_is_a_link_elsewhere_is_replaced_and_its_target_left(case, tmp_path: Path) -> None:
    image = prepared(case, tmp_path).image_path
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    image.unlink()
    image.symlink_to(elsewhere)
    prepared(case, tmp_path)
    assert elsewhere.read_bytes() == b"precious" and not image.is_symlink()
