"""Many scans into one folder: going on after an end, several processes at once, and what is done side by side."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import duoseg
from duoseg.commands.predict import Incomplete
from duoseg.commands.predicting import outputs
from duoseg.commands.predicting.manifest import JOURNALS, PREDICTIONS, Manifest
from duoseg.commands.predicting.overlap import overlapped
from duoseg.errors import InputError
from duoseg.prediction.model import Model
from duoseg.scans.cases import Case
from duoseg.scans.formats import read_scan, write
from duoseg.scans.side_by_side import Room

QUIETLY = {"device": "cpu", "threads": 1}


@pytest.fixture
def scans(phantoms, tmp_path):
    return shutil.copytree(phantoms / "imagesTs", tmp_path / "scans")


def predicted(*words, **options) -> list[str]:
    return [scan.case for scan in duoseg.predict(*words, **QUIETLY, **options)]


def listed(folder) -> set[str]:
    return {entry["case"] for entry in json.loads((folder / PREDICTIONS).read_text())["scans"]}


def names(scans) -> list[str]:
    return sorted(path.name.split("_0000")[0] for path in scans.iterdir())


def test_resuming_leaves_out_what_is_done(trained, scans, tmp_path):
    first = min(scans.iterdir())
    assert predicted(trained, first, tmp_path / "masks") == names(scans)[:1]
    assert predicted(trained, scans, tmp_path / "masks", resume=True) == names(scans)[1:]
    assert predicted(trained, scans, tmp_path / "masks", resume=True) == []
    assert listed(tmp_path / "masks") == set(names(scans))


def test_resuming_counts_the_masks_that_are_there_as_done(trained, scans, tmp_path, run):
    told = []
    predicted(trained, min(scans.iterdir()), tmp_path / "masks")
    predicted(trained, scans, tmp_path / "masks", resume=True, progress=lambda *said: told.append(said[1:3]))
    count = len(names(scans))
    assert told == [(done, count) for done in range(1, count + 1)]
    status, said, _ = run("predict", trained, scans, "--out", tmp_path / "masks", "--resume", "--device", "cpu")
    assert status == 0 and "No scan was left to predict; the masks are in" in said


def test_resuming_makes_masks_again_that_would_be_others_now(trained, scans, tmp_path):
    out, all_names = tmp_path / "masks", names(scans)
    first = min(scans.iterdir())
    predicted(trained, scans, out)
    assert predicted(trained, scans, out, resume=True, mirror=True) == all_names
    assert predicted(trained, scans, out, resume=True, mirror=True, probabilities=True) == all_names
    again = {"resume": True, "mirror": True, "probabilities": True}
    assert predicted(trained, scans, out, **again) == []
    next((out / "probabilities").glob(f"{all_names[0]}.*")).unlink()
    assert predicted(trained, scans, out, **again) == all_names[:1]
    again |= {"uncertainty": True}
    assert predicted(trained, scans, out, **again) == all_names
    assert predicted(trained, scans, out, **again) == []
    next((out / "uncertainty").glob(f"{all_names[0]}.*")).unlink()
    assert predicted(trained, scans, out, **again) == all_names[:1]
    assert predicted(trained, scans, out, mirror=True) == all_names  # and the maps of other masks are gone
    assert not list((out / "uncertainty").iterdir()) and not list((out / "probabilities").iterdir())
    assert predicted(trained, scans, out, **again) == all_names
    os.utime(first, (time.time() + 5, time.time() + 5))
    assert predicted(trained, scans, out, **again) == all_names[:1]
    os.utime(first, (0, 0))
    run = shutil.copytree(trained, tmp_path / "run")
    weights = run / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert predicted(run, scans, out, **again) == all_names


def test_resuming_notices_a_scan_that_was_replaced_by_an_older_one(trained, scans, tmp_path):
    one, other = sorted(scans.iterdir())[:2]
    predicted(trained, scans, tmp_path / "masks")
    older = other.stat().st_mtime_ns - 10**12
    shutil.copy(other, one)
    os.utime(one, ns=(older, older))
    assert predicted(trained, scans, tmp_path / "masks", resume=True) == names(scans)[:1]
    assert predicted(trained, scans, tmp_path / "masks", resume=True) == []


def test_resuming_does_the_others_where_a_scan_was_damaged_since(trained, scans, tmp_path):
    for path in list(scans.iterdir()):
        scan = read_scan(path)
        write(scans / f"{path.name.split('_0000')[0]}.nrrd", scan.voxels, grid=scan.grid)
        path.unlink()
    last = max(scans.iterdir())
    apart = last.rename(tmp_path / last.name)
    predicted(trained, scans, tmp_path / "masks")
    min(scans.iterdir()).write_bytes(b"NRRD0004\n")
    apart.rename(last)
    with pytest.raises(InputError, match=rf"{min(scans.iterdir()).name}") as caught:
        predicted(trained, scans, tmp_path / "masks", resume=True)
    assert [scan.case for scan in caught.value.scans] == [last.name.removesuffix(".nrrd")]


def test_masks_and_maps_of_two_files_are_whole_or_made_again_and_leave_nothing_behind(trained, scans, tmp_path):
    out, path = tmp_path / "masks", min(scans.iterdir())
    scan = read_scan(path)
    write(tmp_path / "a.mhd", scan.voxels, grid=scan.grid)
    asked = {"probabilities": True, "uncertainty": True}
    assert predicted(trained, tmp_path / "a.mhd", out, **asked) == ["a"]
    assert predicted(trained, tmp_path / "a.mhd", out, resume=True, **asked) == []
    for lost in (out / "a.zraw", next((out / "probabilities").glob("*.zraw"))):
        lost.unlink()
        assert predicted(trained, tmp_path / "a.mhd", out, resume=True, **asked) == ["a"]
        assert lost.is_file()
    predicted(trained, tmp_path / "a.mhd", out, format="nii.gz")
    kept = {path.name for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")}
    assert kept == {"a.nii.gz", PREDICTIONS}
    (out / "uncertainty" / "a.zraw").write_text("mine")
    with pytest.raises(InputError, match=r"a\.zraw: is already there and was not written by"):
        predicted(trained, tmp_path / "a.mhd", out, uncertainty=True)


def test_a_mask_that_was_corrected_by_hand_is_never_replaced(trained, scans, tmp_path):
    out, first = tmp_path / "masks", names(scans)[0]
    predicted(trained, scans, out)
    mask = next(out.glob(f"{first}.*"))
    corrected = mask.read_bytes() + b"\0"
    mask.write_bytes(corrected)
    for asked in ({}, {"format": "nrrd"}):
        with pytest.raises(InputError, match=r"has been changed since `duoseg predict` wrote it.*by --resume"):
            predicted(trained, scans, out, **asked)
    assert predicted(trained, scans, out, resume=True) == []
    with pytest.raises(Incomplete, match=r"wrote it.*is another one now: move it away") as left:
        predicted(trained, scans, out, resume=True, mirror=True)
    assert [scan.case for scan in left.value.scans] == names(scans)[1:]  # the others are done
    assert mask.read_bytes() == corrected
    mask.rename(tmp_path / mask.name)
    assert predicted(trained, scans, out) == names(scans)


def test_masks_of_a_version_that_kept_no_state_are_done_where_they_are_newer_than_their_scans(trained, scans, tmp_path):
    out = tmp_path / "masks"
    predicted(trained, scans, out)
    content = json.loads((out / PREDICTIONS).read_text())
    for entry in content["scans"]:
        del entry["state"], entry["written"]
    (out / PREDICTIONS).write_text(json.dumps(content))
    assert predicted(trained, scans, out, resume=True) == []
    touched = min(scans.iterdir())
    os.utime(touched)
    assert predicted(trained, scans, out, resume=True) == names(scans)[:1]


def test_a_mask_that_was_cut_short_is_not_done(trained, scans, tmp_path):
    predicted(trained, scans, tmp_path / "masks")
    mask = next((tmp_path / "masks").glob(f"{names(scans)[0]}.*"))
    mask.write_bytes(mask.read_bytes()[:200])
    with pytest.raises(Incomplete, match=rf"{mask.name}: has been changed since"):
        predicted(trained, scans, tmp_path / "masks", resume=True)
    mask.unlink()
    assert predicted(trained, scans, tmp_path / "masks", resume=True) == names(scans)[:1]


def test_another_owner_or_other_rights_of_a_scan_are_no_other_scan(trained, scans, tmp_path):
    predicted(trained, scans, tmp_path / "masks")
    for scan in scans.iterdir():
        scan.chmod(0o640)
    assert predicted(trained, scans, tmp_path / "masks", resume=True) == []


def test_an_out_that_can_be_no_folder_is_refused(trained, scans, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"no folder can be made here .*choose another --out"):
            predicted(trained, scans, out)


def test_scans_come_in_the_order_of_their_names(trained, scans, tmp_path):
    rows = [f"{path},,test" for path in sorted(scans.iterdir(), reverse=True)]
    (tmp_path / "table.csv").write_text("\n".join(["image,label,split", *rows]) + "\n")
    assert predicted(trained, tmp_path / "table.csv", tmp_path / "masks") == names(scans)


def test_a_scan_is_known_by_its_place_and_not_by_how_it_was_named(trained, scans, tmp_path, monkeypatch):
    out, (one, other) = tmp_path / "masks", sorted(scans.iterdir())
    for folder, scan in (("a", one), ("b", other)):
        (tmp_path / folder).mkdir()
        shutil.copy(scan, tmp_path / folder / "t1.nii.gz")
    monkeypatch.chdir(tmp_path / "a")
    assert predicted(trained, "t1.nii.gz", "../masks") == ["t1"]
    before = (out / "t1.nii.gz").read_bytes()
    monkeypatch.chdir(tmp_path / "b")
    for resume in (False, True):
        with pytest.raises(InputError, match="of another scan"):
            predicted(trained, "t1.nii.gz", "../masks", resume=resume)
    assert (out / "t1.nii.gz").read_bytes() == before
    monkeypatch.chdir(tmp_path)
    assert predicted(trained, "a/t1.nii.gz", "masks", resume=True) == []


@pytest.mark.parametrize("place", ["uncertainty/{}.nii.gz", "probabilities/{}.background.nii.gz", "{}.seg.nrrd"])
def test_a_file_that_predict_did_not_write_is_never_replaced(trained, scans, tmp_path, place):
    out = tmp_path / "masks"
    asked = {"uncertainty": True, "probabilities": True, "format": "nrrd" if "nrrd" in place else "same"}
    predicted(trained, scans, out)
    foreign = out / place.format(names(scans)[0])
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("mine")
    with pytest.raises(InputError, match=r"was not written by `duoseg predict`"):
        predicted(trained, scans, out, **asked)
    assert foreign.read_text() == "mine"


def test_a_part_does_not_mind_the_masks_of_other_parts(trained, scans, tmp_path, monkeypatch):
    """Those that another job writes after this one has read which masks there are."""
    out = tmp_path / "masks"
    read = Manifest.__enter__

    def overtaken(manifest):
        found = read(manifest)
        monkeypatch.setattr(Manifest, "__enter__", read)
        predicted(trained, scans, out, part=(1, 2))
        return found

    monkeypatch.setattr(Manifest, "__enter__", overtaken)
    assert predicted(trained, scans, out, part=(2, 2)) == names(scans)[1:]
    assert listed(out) == set(names(scans))


def test_an_earlier_mask_is_not_taken_for_one_whose_writing_was_stopped(trained, scans, tmp_path, monkeypatch):
    out = tmp_path / "masks"
    predicted(trained, scans, out)

    def stopped(*given, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("duoseg.commands.predicting.outputs.write_like", stopped)
        predicted(trained, scans, out, mirror=True)
    assert predicted(trained, scans, out, resume=True, mirror=True) == names(scans)


def test_parts_are_all_scans_and_each_once(run, trained, scans, tmp_path):
    one, both = tmp_path / "one", []
    for number in (1, 2):
        both += predicted(trained, scans, one, part=(number, 2))
    assert sorted(both) == names(scans)
    assert listed(one) == set(both)
    assert predicted(trained, scans, one, part=(99, 100)) == []
    for wrong in ("3/2", "0/2", "1", "a/b"):
        status, _, err = run("predict", trained, scans, "--out", one, "--part", wrong)
        assert status == 2 and "2/5" in err


def process(trained, scans, out, *words, **environment) -> subprocess.Popen:
    command = [sys.executable, "-m", "duoseg", "predict", trained, scans, "--out", out, "--device", "cpu"]
    return subprocess.Popen(
        [*map(str, command), "--threads", "1", "--quiet", *words],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_processes_that_were_started_together_share_the_scans(trained, scans, tmp_path, launcher):
    out, expected = tmp_path / "masks", tmp_path / "expected"
    predicted(trained, scans, expected)
    told = [
        {"TORCHELASTIC_RUN_ID": "x", "RANK": str(rank), "LOCAL_RANK": str(rank)}
        | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        if launcher == "torchrun"
        else {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        for rank in range(2)
    ]
    started = [process(trained, scans, out, **own) for own in told]
    for one in started:
        assert one.wait() == 0, one.stderr.read()
    assert listed(out) == set(names(scans))
    assert {path.name for path in out.iterdir()} == {path.name for path in expected.iterdir()}
    for path in expected.glob("*.nii.gz"):
        assert (out / path.name).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_what_a_killed_process_had_done_counts(trained, scans, tmp_path):
    out = tmp_path / "masks"
    for index in range(40):
        shutil.copy(min(scans.iterdir()), scans / f"copy{index:02d}_0000.nii.gz")
    killed = process(trained, scans, out)
    while len(list(out.glob("copy*.nii.gz"))) < 2:
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert list(out.glob(JOURNALS)) and not (out / PREDICTIONS).exists()
    done = {path.name.split(".")[0] for path in out.glob("copy*.nii.gz")}
    (out / ".0123abcd.copy00.nii.gz").write_bytes(b"half")  # in case that the end came between two masks
    (out / ".0123abcd.mine.nii.gz").write_bytes(b"of somebody else")
    rest = predicted(trained, scans, out, resume=True)
    assert rest and len(done & set(rest)) <= 1  # the end can come between a mask and the record that it is complete
    assert listed(out) == set(names(scans))
    assert [path.name for path in out.glob(".*")] == [".0123abcd.mine.nii.gz"]


def test_the_records_of_a_process_at_work_stay_its_own(tmp_path):
    with Manifest(tmp_path) as first:
        with first.recorded("a", {"case": "a", "mask": "a.nii"}):
            pass
        with Manifest(tmp_path) as second:
            assert second.get("a") is not None
            with second.recorded("b", {"case": "b", "mask": "b.nii"}):
                pass
        assert len(list(tmp_path.glob(JOURNALS))) == 1
        with first.recorded("c", {"case": "c", "mask": "c.nii"}):
            pass
    assert listed(tmp_path) == {"a", "b", "c"}
    assert [path.name for path in tmp_path.iterdir()] == [PREDICTIONS]


def test_a_record_is_taken_back_where_its_mask_cannot_be_written(tmp_path):
    old = {"case": "a", "mask": "old.nii"}
    with Manifest(tmp_path) as manifest, manifest.recorded("a", old):
        pass
    with Manifest(tmp_path) as manifest:
        for case in ("a", "b"):
            with pytest.raises(InputError), manifest.recorded(case, {"case": case, "mask": "new.nii"}):
                raise InputError("full")
        assert manifest.get("a") == old and manifest.get("b") is None
    assert json.loads((tmp_path / PREDICTIONS).read_text())["scans"] == [old]


def test_a_line_that_a_killed_process_did_not_finish_is_no_record(tmp_path):
    line = json.dumps({"case": "a", "entry": {"case": "a", "mask": "a.nii"}})
    (tmp_path / JOURNALS.replace("*", "dead")).write_text(f"{line}\n{line[:20]}")
    with Manifest(tmp_path) as manifest:
        assert manifest.get("a") is not None
    assert listed(tmp_path) == {"a"}


ROOMY: dict[str, Any] = {"room": Room(3), "size": lambda item: 1}


def test_items_wait_until_there_is_room_for_them_and_one_that_is_larger_has_it_alone():
    sizes, held, most = [2, 2, 3, 9, 1, 1, 5, 2], [], []

    def read(item):
        held.append(item)
        most.append((len(held), sum(sizes[one] for one in held)))
        return item

    def write(item, made):
        time.sleep(0.002)
        held.remove(item)
        if item == 4:
            raise InputError("full")

    def make(item, given):
        if item == 1:
            held.remove(item)
            raise InputError("wrong")

    found = list(overlapped(list(range(8)), read, make, write, room=Room(4), size=lambda item: sizes[item]))
    assert [item for item, _ in found] == list(range(8))
    assert all(total <= 4 or count == 1 for count, total in most) and max(count for count, _ in most) > 1


def test_an_interruption_while_a_scan_is_read_ends_all():
    """Its share of the room is nobody's then: the next scan must not wait for it."""

    def read(item):
        time.sleep(0.5)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell may have switched off
    stopper = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        list(overlapped([0, 1, 2], read, lambda *_: None, lambda *_: None, room=Room(10), size=lambda item: 8))
    stopper.join()
    signal.signal(signal.SIGINT, before)


def test_a_mask_that_the_system_refuses_fails_alone(trained, scans, tmp_path, monkeypatch):
    write = outputs.write_like

    def refused(path, *arguments, **options):
        if path.name.startswith(first):
            raise OSError(36, "File name too long", str(path))
        return write(path, *arguments, **options)

    first, *others = names(scans)
    told = []
    monkeypatch.setattr(outputs, "write_like", refused)
    with pytest.raises(Incomplete, match=rf"{first}.*cannot be written \(File name too long\)") as failed:
        predicted(trained, scans, tmp_path / "masks", progress=lambda *said: told.append(said[1:3]))
    assert [scan.case for scan in failed.value.scans] == others == sorted(listed(tmp_path / "masks"))
    assert told[-1] == (len(others) + 1, len(others) + 1)


def test_a_scan_behind_a_link_is_named_by_its_own_place(trained, scans, tmp_path, monkeypatch):
    (tmp_path / "real" / "tables").mkdir(parents=True)
    scans.rename(tmp_path / "real" / "images")
    image = min((tmp_path / "real" / "images").iterdir())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("tables").symlink_to(tmp_path / "real" / "tables")
    predicted(trained, Path("tables") / ".." / "images" / image.name, tmp_path / "masks")
    (entry,) = json.loads((tmp_path / "masks" / PREDICTIONS).read_text())["scans"]
    assert entry["images"] == [str(image)]


def test_probabilities_of_classes_with_like_or_long_names_have_files_of_their_own(trained, scans, tmp_path):
    classes = {"2_a_b": 1, "a b": 2, "a_b": 3, "A_B": 4, "\u5fc3" * 40: 5}
    model = duoseg.load(trained, device="cpu")
    model.plan = model.plan.model_copy(update={"classes": classes})
    asked = outputs.Outputs(tmp_path, [trained], model, "same", ["0"], None, True, False)
    image = min(scans.iterdir())
    files = asked.maps(Case("c" * 180, (image,), None, "person"))
    assert len({file.name.casefold() for file in files}) == len(classes) + 1
    assert all(len(file.name.encode()) + 10 < 256 for file in files)  # with the beginning of a temporary name


def test_a_part_that_is_none_is_refused(trained, scans, tmp_path):
    for part in ((0, 5), (6, 5)):
        with pytest.raises(InputError, match=f"no part {part[0]} of 5"):
            predicted(trained, scans, tmp_path / "masks", part=part)


@pytest.mark.parametrize("fault", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 bytes")])
def test_a_scan_that_memory_cannot_hold_fails_alone(trained, phantoms, tmp_path, monkeypatch, fault):
    prepare = Model.prepare

    def too_large(model, voxels, grid, *, name):
        if files[0] in name:
            raise fault
        return prepare(model, voxels, grid, name=name)

    files = sorted(path.name for path in (phantoms / "imagesTs").iterdir())
    monkeypatch.setattr(Model, "prepare", too_large)
    with pytest.raises(Incomplete, match=f"{files[0]}: there is not enough memory") as failed:
        duoseg.predict(trained, phantoms / "imagesTs", tmp_path / "masks", device="cpu", threads=1)
    assert len(failed.value.scans) == len(files) - 1


def test_what_another_process_has_written_since_is_no_foreign_file(trained, phantoms, tmp_path, monkeypatch):
    def predict():
        return duoseg.predict(trained, phantoms / "imagesTs", tmp_path / "masks", device="cpu", threads=1)

    enter = Manifest.__enter__

    def entered(manifest):
        enter(manifest)
        monkeypatch.setattr(Manifest, "__enter__", enter)
        predict()  # by another process, after this one has read the list
        return manifest

    monkeypatch.setattr(Manifest, "__enter__", entered)
    assert len(predict()) == len(listed(tmp_path / "masks"))


def test_neighbours_are_read_made_and_written_at_the_same_time():
    meeting = threading.Barrier(3, timeout=30)

    def meet(item, own):
        if item + own == 3:  # item 3 is read while 2 is made and 1 written
            meeting.wait()

    outcomes = overlapped(
        list(range(5)),
        lambda item: meet(item, 0) or item * 10,
        lambda item, given: meet(item, 1) or given + 1,
        lambda item, made: meet(item, 2) or made,
        **ROOMY,
    )
    assert list(outcomes) == [(item, item * 10 + 1) for item in range(5)]


def test_a_failure_of_any_step_is_its_own_items():
    def step(name):
        def work(item, *given):
            if item == name:
                raise InputError(name)
            return item

        return work

    items = ["a", "read", "make", "write", "read", "b"]
    outcomes = list(overlapped(items, step("read"), step("make"), step("write"), **ROOMY))
    assert [item for item, _ in outcomes] == items
    assert [str(outcome) for _, outcome in outcomes] == items
    assert [isinstance(outcome, InputError) for _, outcome in outcomes] == [False, True, True, True, True, False]


def test_no_more_than_three_items_are_at_hand():
    begun, ended, most = [], [], []

    def read(item):
        begun.append(item)
        most.append(len(begun) - len(ended))

    def write(item, made):
        time.sleep(0.002)
        ended.append(item)

    assert len(list(overlapped(list(range(20)), read, lambda item, given: None, write, **ROOMY))) == 20
    assert max(most) <= 3


def test_side_work_uses_as_many_threads_as_the_rest():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        seen = overlapped(
            [0], lambda _: torch.get_num_threads(), lambda _, n: n, lambda _, n: (n, torch.get_num_threads()), **ROOMY
        )
        assert list(seen) == [(0, (1, 1))]
    finally:
        torch.set_num_threads(before)


def test_scans_of_one_size_and_time_that_change_places_are_predicted_again(trained, scans, tmp_path):
    for path in list(scans.iterdir()):
        scan = read_scan(path)
        write(scans / f"{path.name.split('_0000')[0]}.nii", scan.voxels, grid=scan.grid)
        path.unlink()
    one, other, *_ = sorted(scans.iterdir())
    shutil.copy(one, tmp_path / "kept.nii")
    kept = read_scan(one)
    write(other, kept.voxels[::-1].copy(), grid=kept.grid)  # of the same size
    for path in (one, other):
        os.utime(path, ns=(10**18, 10**18))
    predicted(trained, scans, tmp_path / "masks")
    one.rename(tmp_path / "aside.nii")
    other.rename(one)
    (tmp_path / "aside.nii").rename(other)
    assert predicted(trained, scans, tmp_path / "masks", resume=True) == [one.stem, other.stem]


def test_scans_beside_a_damaged_list_of_predictions_are_predicted_with_a_warning(trained, scans, tmp_path, caplog):
    everyone = names(scans)
    assert predicted(trained, scans, tmp_path / "masks") == everyone and PREDICTIONS not in caplog.text
    (scans / PREDICTIONS).write_text("{")
    assert predicted(trained, scans, tmp_path / "others") == everyone
    assert caplog.text.count(f"{scans / PREDICTIONS}: cannot be read as a list of predictions") == 1
