from __future__ import annotations

import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import planning_cases as make
import pytest

from duoseg.errors import InputError
from duoseg.planning import cache
from duoseg.planning.cache import prepare_cases
from duoseg.planning.frames import chunk_shape
from duoseg.planning.plan import Normalisation
from duoseg.planning.prepare import prepare_image, prepare_label

WHOLE = (slice(None), slice(None), slice(None))


@pytest.fixture
def cases(tmp_path: Path) -> list:
    return [make.write_case(tmp_path / "data", f"c{i}", seed=i, labelled=i < 2) for i in range(3)]


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.prepared")}


def test_cache_holds_what_preparing_gives(cases, tmp_path: Path) -> None:
    plan = make.plan(spacing=(1.5, 1.0, 1.0))
    first, _, last = prepare_cases(cases, plan, tmp_path / "cache")
    image, label = make.volume(0)
    expected, placement = prepare_image(image[None], make.grid(image.shape), plan)
    assert first.shape == expected.shape[1:] and first.placement == placement
    np.testing.assert_allclose(first.read_image(WHOLE), expected, atol=2e-3)  # float16 between -3 and 3
    assert first.read_image(WHOLE).dtype == np.float32
    assert np.array_equal(first.read_label(WHOLE), prepare_label(label, placement, plan))
    box = (slice(2, 7), slice(0, 3), slice(5, 11))
    assert np.array_equal(first.read_image(box), first.read_image(WHOLE)[(slice(None), *box)])
    assert not last.labelled
    with pytest.raises(ValueError, match="c2 is unlabelled"):
        last.read_label(WHOLE)


def test_foreground_voxels_belong_to_their_class_and_are_drawn_alike_each_time(cases, tmp_path: Path) -> None:
    drawn = [prepare_cases(cases[:1], make.plan(), tmp_path / name)[0] for name in ("a", "b")]
    label = drawn[0].read_label(WHOLE)
    for index, (here, there) in enumerate(zip(*(case.foreground for case in drawn), strict=True), start=1):
        assert here.dtype == np.int32 and np.array_equal(here, there)
        assert len(here) == min(5000, np.sum(label == index))
        assert (label[tuple(here.T)] == index).all()


def test_second_run_writes_nothing_and_a_lost_file_alone_is_made_again(cases, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    prepare_cases(cases, make.plan(), folder)
    before = files(folder)
    prepare_cases(cases, make.plan(), folder)
    assert files(folder) == before
    lost = next(name for name in before if name.startswith("c1.label"))
    (folder / lost).unlink()
    prepare_cases(cases, make.plan(), folder)
    after = files(folder)
    assert after.keys() == before.keys()
    assert all(after[name] == before[name] for name in before if name != lost)


def test_label_that_comes_later_leaves_the_image_alone_and_fits_it(cases, tmp_path: Path) -> None:
    folder, plan = tmp_path / "cache", make.plan(spacing=(1.5, 1.0, 1.0))
    unlabelled = prepare_cases([cases[0].without_label()], plan, folder)[0]
    before = files(folder)
    later = prepare_cases(cases[:1], plan, folder)[0]
    assert files(folder)[unlabelled.image_path.name] == before[unlabelled.image_path.name]
    at_once = prepare_cases(cases[:1], plan, tmp_path / "other")[0]
    assert later.placement == at_once.placement
    assert later.label_path and at_once.label_path
    assert later.label_path.read_bytes() == at_once.label_path.read_bytes()


def test_half_written_files_are_removed_once_nobody_can_be_writing_them(cases, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    hour_ago = time.time() - 3700
    for name, moment in {
        ".0123abcd.c9.image.0123456789abcdef.prepared": hour_ago,
        ".0123abcd.c8.image.0123456789abcdef.prepared": time.time(),
        ".other.prepared": hour_ago,
        "c7.image.0123456789abcdef.prepared": hour_ago,
    }.items():
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (moment, moment))
    prepare_cases(cases[:1], make.plan(), folder)
    left = {name.partition(".image")[0] for name in files(folder)}
    assert left >= {".0123abcd.c8", ".other.prepared", "c7"} and ".0123abcd.c9" not in left


@pytest.mark.parametrize("harm", ["cut", "flipped", "emptied"])
def test_damaged_file_is_written_again(cases, tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "cache"
    prepared = prepare_cases(cases[:1], make.plan(), folder)[0]
    image, good = prepared.read_image(WHOLE), prepared.image_path.read_bytes()
    bad = {"cut": good[: len(good) // 2], "flipped": good[:200] + bytes(50) + good[250:], "emptied": b""}[harm]
    prepared.image_path.write_bytes(bad)
    again = prepare_cases(cases[:1], make.plan(), folder)[0]
    assert np.array_equal(again.read_image(WHOLE), image)


def test_only_changes_that_matter_make_new_files(cases, tmp_path: Path) -> None:
    def names(plan, folder: str = "cache") -> set[str]:
        found = prepare_cases(cases[:1], plan, tmp_path / folder)[0]
        return {found.image_path.name, str(found.label_path and found.label_path.name)}

    base = names(make.plan())
    assert names(make.plan(steps=99, patch=(8, 8, 8))) == base
    assert not names(make.plan(spacing=(2.0, 1.0, 1.0))) & base
    ct = Normalisation(channel="MRI", scheme="ct", window=(0, 1), mean=0.0, std=1.0)
    assert len(names(make.plan(normalisation=(ct,))) & base) == 1  # the label stays
    assert len(names(make.plan(classes={"tumour": 4, "organ": 1})) & base) == 1  # the image stays
    make.write_case(tmp_path / "data", "c0", seed=77)
    assert len(names(make.plan()) & base) == 0


def test_label_of_an_unlabelled_case_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make.dataset([make.write_case(tmp_path / "data", f"c{i}", seed=i) for i in range(3)])
    hidden = [case.label for case in data.train[1:]]
    for path in hidden:
        assert path is not None
        path.write_bytes(b"garbage")
    opened: list[Path | None] = []
    hash_source, read_label = cache.hash_source, cache.read_label
    monkeypatch.setattr(cache, "hash_source", lambda path: opened.append(path) or hash_source(path))
    monkeypatch.setattr(cache, "read_label", lambda case, *rest: opened.append(case.label) or read_label(case, *rest))

    split = data.split(labelled=1)
    prepared = prepare_cases([*split.labelled, *split.unlabelled], make.plan(), tmp_path / "cache")
    assert [case.labelled for case in prepared] == [True, False, False]
    assert data.train[0].label in opened and not set(hidden) & set(opened)
    with pytest.raises(InputError, match="c1_label"):
        prepare_cases(data.split(labelled=2).labelled, make.plan(), tmp_path / "cache")


def test_unusable_scan_is_named_and_leaves_no_file_of_its_own(cases, tmp_path: Path) -> None:
    cases[1].images[0].write_bytes(b"not a scan")
    with pytest.raises(InputError, match="c1_0000"):
        prepare_cases(cases, make.plan(), tmp_path / "cache")
    assert not [name for name in files(tmp_path / "cache") if name.startswith(("c1", "."))]


def test_label_on_another_grid_is_refused_with_the_distance(cases, tmp_path: Path) -> None:
    shifted = make.write_case(tmp_path / "shifted", "c0", spacing=(1.0, 1.0, 1.1))
    crossed = type(cases[0])("c0", cases[0].images, shifted.label, "c0")
    with pytest.raises(InputError, match=r"c0_label.*up to 1\.7 mm \(1\.7 voxels\)"):
        prepare_cases([crossed], make.plan(), tmp_path / "cache")


def test_a_label_in_another_axis_order_is_prepared_as_the_same_label(cases, tmp_path: Path) -> None:
    (before,) = prepare_cases(cases[:1], make.plan(), tmp_path / "cache")
    label = nib.nifti1.load(cases[0].label)
    nib.save(label.as_reoriented(np.array([[1, 1], [0, -1], [2, 1]])), cases[0].label)
    (after,) = prepare_cases(cases[:1], make.plan(), tmp_path / "cache")
    assert after.label_path != before.label_path
    whole = tuple(slice(0, side) for side in before.shape)
    np.testing.assert_array_equal(after.read_label(whole), before.read_label(whole))


def test_workers_give_the_same_files_in_the_order_asked_for(cases, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    one = prepare_cases(cases, make.plan(), tmp_path / "one")
    two = prepare_cases(
        cases, make.plan(), tmp_path / "two", workers=2, progress=lambda done, of: seen.append((done, of))
    )
    assert [case.name for case in two] == ["c0", "c1", "c2"] and seen == [(1, 3), (2, 3), (3, 3)]
    assert [a.image_path.read_bytes() for a in one] == [b.image_path.read_bytes() for b in two]


def test_prepared_case_pickles_and_is_read_by_many_threads(cases, tmp_path: Path) -> None:
    case = pickle.loads(pickle.dumps(prepare_cases(cases[:1], make.plan(), tmp_path / "cache")[0]))
    whole = case.read_image(WHOLE)
    with ThreadPoolExecutor(8) as pool:
        assert all(np.array_equal(whole, read) for read in pool.map(case.read_image, [WHOLE] * 40))


def test_patch_is_read_without_the_rest_of_the_scan(tmp_path: Path) -> None:
    shape = (96, 96, 96)
    case = make.write_case(tmp_path / "data", "big", shape=shape)
    prepared = prepare_cases([case], make.plan(patch=(32, 32, 32)), tmp_path / "cache")[0]
    box = (slice(40, 60), slice(40, 60), slice(40, 60))
    expected, whole = prepared.read_image(box), prepared.read_image(WHOLE)
    chunk, block = chunk_shape(prepared.shape, (32, 32, 32))
    assert chunk == block == (32, 32, 32)
    # blind the part of the file that holds the first chunks: a far patch does not notice, the whole does
    content = bytearray(prepared.image_path.read_bytes())
    content[2000:20000] = bytes(18000)
    prepared.image_path.write_bytes(content)
    assert np.array_equal(prepared.read_image(box), expected)
    try:
        noticed = not np.array_equal(prepared.read_image(WHOLE), whole)
    except RuntimeError:
        noticed = True
    assert noticed


def test_sheared_scans_alone_are_prepared_anew_where_the_way_of_preparing_them_changes(
    cases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make.write_case(tmp_path / "data", "sheared")
    for path in (*case.images, case.label):
        image = nib.nifti1.load(path)
        affine = make.affine()
        affine[1, 2] = 0.3
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)
    folder, both = tmp_path / "cache", [cases[0], case]
    upright, sheared = prepare_cases(both, make.plan(), folder)
    assert sheared.placement.shear is not None
    before = files(folder)
    assert [one.image_path for one in prepare_cases(both, make.plan(), folder)] == [
        upright.image_path,
        sheared.image_path,
    ]
    assert files(folder) == before
    monkeypatch.setattr(cache, "SHEARED_FORMAT", cache.SHEARED_FORMAT + 1)
    kept, anew = prepare_cases(both, make.plan(), folder)
    assert kept == upright
    assert anew.image_path != sheared.image_path and anew.label_path != sheared.label_path
    assert len(files(folder)) == len(before) + 2
